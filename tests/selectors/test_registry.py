"""Names, tags, options and weights: found, or refused in one line that says what there is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ltrp_bench.selectors import checkpoints, registry
from ltrp_bench.selectors.base import Selector, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import create_selector, identity, resolve, selector_names, shipped_tags


class Stripes(Selector):
    """A third party's selector."""

    name = "stripes"
    supervision = Supervision.labels("imagenet1k")
    patch_size = 8

    def __init__(self, period: int = 2) -> None:
        self.period = period

    def _scores(self, images: Tensor, context: object) -> Tensor:
        columns = torch.arange(images.shape[3] // 8) % self.period
        return columns.float().expand(len(images), images.shape[2] // 8, -1)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    """This module, importable by name as a third party's would be."""
    monkeypatch.setitem(sys.modules, "third_party", sys.modules[__name__])
    return "third_party:Stripes"


def test_all_controls_and_ltrp_are_installed() -> None:
    wanted = {"full", "random", "center", "variance", "downsample", "oracle", "ltrp", "ltrp-cluster", "ltrp-teacher"}
    assert wanted <= set(selector_names())


def test_a_third_partys_class_by_path(here: str) -> None:
    selector = create_selector(here, period=3)
    assert selector.scores(torch.zeros(1, 3, 8, 32)).tolist() == [[[0, 1, 2, 0]]]
    assert identity(here, None, {"period": 3})["options"] == {"period": 3}
    assert identity(here) != identity(here, None, {"period": 3})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("randm", "did you mean 'random'"),
        ("third_party:Nothing", "has no 'Nothing'"),
        ("no_such_package.module:Class", "cannot import"),
        ("a b:C", "package.module:Class"),
        ("random.photos", "no weights, so no tag"),
        ("ltrp", "needs weights"),
    ],
)
def test_names_that_do_not_exist(here: str, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        create_selector(name)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class Mine:\n  x = (\n", "SyntaxError"),
        ("undefined_name\n", "NameError: name 'undefined_name'"),
        ("import sys\nsys.nothing_here\n", "AttributeError: module 'sys' has no attribute 'nothing_here'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_to_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    (tmp_path / "broken_file.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="importing module 'broken_file' failed") as error:
        create_selector("broken_file:Mine")
    assert says in str(error.value) and "\n" not in str(error.value)


def test_values_of_options_are_checked_against_the_annotations(here: str) -> None:
    for value in ("abc", [1], 2.0, True, None):
        with pytest.raises(
            UsageError, match="selector 'third_party:Stripes': period must be a whole number, got"
        ) as error:
            create_selector(here, period=value)
        assert "\n" not in str(error.value)
    for value in (0, -1):
        with pytest.raises(UsageError, match=f"'variance': patch_size must be a whole number from 1 on, got {value}"):
            create_selector("variance", patch_size=value)
    with pytest.raises(UsageError, match="'ltrp-teacher.shapes': hide must be one of decoder, encoder_decoder, got 1"):
        create_selector("ltrp-teacher.shapes", hide=1)


def test_numbers_of_numpy_are_stored_as_numbers() -> None:
    stored = identity("variance", options={"patch_size": np.int64(4)})
    assert json.dumps(stored) == json.dumps(identity("variance", options={"patch_size": 4}))


def test_an_error_inside_a_constructor_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    class Buggy(Stripes):
        def __init__(self, period: int = 2) -> None:
            super().__init__(int("x"))

    monkeypatch.setattr(sys.modules[__name__], "Buggy", Buggy, raising=False)
    monkeypatch.setitem(sys.modules, "third_party", sys.modules[__name__])
    with pytest.raises(ValueError, match="invalid literal"):
        create_selector("third_party:Buggy", period=3)


def test_options_weights_and_tags_that_do_not_fit(here: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its options: period"):
        create_selector(here, colour="red")
    with pytest.raises(InputError, match="no file"):
        create_selector("ltrp", weights=tmp_path / "absent.pth")
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(UsageError, match="takes no weights"):
        create_selector("random", weights=tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"no bundled weights named 'ltrp.nowhere' \(bundled: photos, shapes\)"):
        create_selector("ltrp.nowhere")
    with pytest.raises(UsageError, match=r"'ltrp.photo' \(bundled: photos, shapes\); did you mean 'ltrp.photos'\?"):
        create_selector("ltrp.photo")


def test_text_is_not_true_or_false() -> None:
    with pytest.raises(UsageError, match="selector 'ltrp.shapes': any_size must be true or false, got 'no'"):
        create_selector("ltrp.shapes", any_size="no")
    assert create_selector("ltrp.shapes", any_size=True).input_size is None


def test_supervised_weights_go_by_the_tasks_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tag in ("vit.shapes0", "vit.shapes1"):
        (tmp_path / f"{tag}.safetensors").write_bytes(tag.encode())
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.setattr(checkpoints, "WEIGHTS", tmp_path)
    for fold in (0, 1):
        spec = resolve("gradcam", domain=("shapes", f"shapes{fold}"))
        assert spec.name == f"gradcam.shapes{fold}" and spec.weights == tmp_path / f"vit.shapes{fold}.safetensors"
    with pytest.raises(UsageError, match="selector 'gradcam' has no weights for photos .*shapes0, shapes1.*--weights"):
        resolve("gradcam", domain=("photos",))


def test_timm_names_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def no_network(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    with pytest.raises(InputError, match=f"without a network give the file.*--weights gradcam={name}.safetensors"):
        resolve("gradcam", weights=f"timm:{name}")
    with pytest.raises(UsageError, match="timm has no model 'vit_huge_of_mine'"):
        resolve("gradcam", weights="timm:vit_huge_of_mine")
    # A file in the hub's cache is found; the name of its model is passed to selectors with an option `model`.
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(tmp_path / "model.safetensors"))
    assert resolve("gradcam", weights=f"timm:{name}").options == {"model": f"timm:{name}"}
    assert resolve("dino", weights="timm:vit_small_patch16_224.dino").options == {}
    # A backbone alone brings its weights, in the place of bundled ones too; a file of weights stays.
    for selector in ("clip", "evit"):
        spec = resolve(selector, domain="shapes", model=f"timm:{name}", label_set="x")
        assert spec.name == selector and spec.weights == tmp_path / "model.safetensors"
        assert spec.options == {"model": f"timm:{name}", "label_set": "x"}
    assert resolve("clip", model="hf-hub:lab/tower").options == {}
    (tmp_path / "mine.pth").write_bytes(b"")
    assert resolve("clip", tmp_path / "mine.pth", model=f"timm:{name}").weights == tmp_path / "mine.pth"


def test_plain_names_take_the_weights_of_the_tasks_domain() -> None:
    assert set(shipped_tags("ltrp")) >= {"photos", "shapes"}
    for domain in ("shapes", "photos"):
        spec = resolve("ltrp", domain=domain)
        assert spec.name == f"ltrp.{domain}" and spec.identity()["weights"] is not None
        assert spec.identity() == resolve(f"ltrp.{domain}").identity()
    assert resolve("ltrp", domain="shapes").identity() != resolve("ltrp", domain="photos").identity()


def test_controls_on_shapes_take_its_patches() -> None:
    assert create_selector("variance", domain="shapes").patch_size == 8
    assert create_selector("variance", domain="photos").patch_size == 16


def test_an_object_that_lacks_what_is_needed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "Half", type("Half", (), {"name": "half"}), raising=False)
    monkeypatch.setitem(sys.modules, "third_party", sys.modules[__name__])
    with pytest.raises(UsageError, match="lacks supervision, mean, std, scores"):
        create_selector("third_party:Half")
