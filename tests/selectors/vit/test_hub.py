"""Weights of timm models from the hub: which file is asked for, and one line where there is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
import timm.models._hub
import torch
from hub_cache import cached_repository
from huggingface_hub.errors import EntryNotFoundError

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import resolve
from ltrp_bench.selectors.vit import hub
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.hub import checkpoint_file, hub_file, located

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def test_the_file_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def download(*arguments: Any, **_: Any) -> str:
        calls.append(arguments)
        return "/cache/model.safetensors"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert hub_file(f"timm:{NAME}", "gradcam") == Path("/cache/model.safetensors")
    assert hub_file("timm:vit_tiny_patch16_224", "gradcam") == Path("/cache/model.safetensors")
    assert calls == [(f"timm/{NAME}", "model.safetensors")] * 2


def test_the_file_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        hf_hub_id, hf_hub_filename, url = None, None, "https://example.org/w.pth"

    monkeypatch.setattr("ltrp_bench.selectors.vit.hub.timm.get_pretrained_cfg", lambda name: Known)
    monkeypatch.setattr("ltrp_bench.selectors.vit.hub.timm_name", lambda name: NAME)
    monkeypatch.setattr(timm.models._hub, "download_cached_file", lambda url, progress: f"/cache/{Path(url).name}")
    assert hub_file(f"timm:{NAME}", "gradcam") == Path("/cache/w.pth")


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(InputError) as caught:
        hub_file(f"timm:{NAME}", "gradcam")
    assert str(caught.value) == (
        f"cannot fetch the weights of timm:{NAME} (ConnectionError); without a network give the file, under the "
        f"model's name: --weights gradcam={NAME}.safetensors"
    )


def test_models_without_weights() -> None:
    with pytest.raises(UsageError, match="timm has no pretrained weights for 'test_vit4'|timm has no model"):
        hub_file("timm:vit_tiny_patch16_18", "gradcam")


def test_a_repository_and_what_lies_beside_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of a repository are found under any usual name, and its config.json says which model they are of."""
    net = timm.create_model("vit_tiny_patch16_224", depth=12, img_size=32, num_classes=5)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 5, "pretrained_cfg": {"tag": "augreg_in21k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def download(repository: str, file: str, **_: Any) -> str:
        assert repository == "lab/vit"
        if not (tmp_path / file).exists():
            raise EntryNotFoundError(file)
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "check_repository", lambda *_: None)
    assert hub_file("hf-hub:lab/vit") == tmp_path / "pytorch_model.bin"
    assert resolve("gradcam", weights="hf-hub:lab/vit").weights == tmp_path / "pytorch_model.bin"
    found = load_backbone("hf-hub:lab/vit", label_set="mine")
    assert found.image_size == (32, 32) and found.classes == 5 and found.supervision.label_sets == ("mine",)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"hf-hub:lab/vit \(EntryNotFoundError\); without a network .* name: vit.safe"):
        hub_file("hf-hub:lab/vit")
    with pytest.raises(UsageError, match="hf-hub:vit: write a repository as hf-hub:OWNER/NAME"):
        hub_file("hf-hub:vit")


def test_weights_named_after_a_timm_model_are_of_that_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224", img_size=32).state_dict(), tmp_path / "model.safetensors.pth")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(tmp_path / "model.safetensors.pth"))
    found = load_backbone("timm:vit_tiny_patch16_224")
    assert found.supervision.label_sets == ("imagenet21k", "imagenet1k") and found.mean == (0.5, 0.5, 0.5)


def test_offline_the_cache_alone_is_asked() -> None:
    """In a process of its own: the variable is read once, at import."""
    code = "from ltrp_bench.selectors.vit.hub import hub_file; hub_file('hf-hub:timm/nothing-of-that-name')"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert "cannot fetch the weights of hf-hub:timm/nothing-of-that-name" in run.stderr
    assert "LocalEntryNotFoundError" in run.stderr or "OfflineModeIsEnabled" in run.stderr


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a repository with these files into an otherwise empty cache of the hub, which is not asked."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return lambda name, **files: cached_repository(tmp_path, name, files)


def test_a_checkpoint_of_any_form_is_the_only_one_of_its_repository(offline: Callable[..., Path]) -> None:
    folder = offline("lab/det", **{"rtmdet.pth": b"1", "README.md": b"", "config.py": b""})
    assert checkpoint_file("hf-hub:lab/det") == folder / "rtmdet.pth"
    assert checkpoint_file("hf-hub:lab/det/rtmdet.pth") == folder / "rtmdet.pth"
    folder = offline("lab/both", **{"pytorch_model.bin": b"1", "model.safetensors": b"1"})
    assert checkpoint_file("hf-hub:lab/both") == folder / "model.safetensors"
    assert checkpoint_file("hf-hub:lab/both/pytorch_model.bin") == folder / "pytorch_model.bin"
    assert located("hf-hub:lab/both/pytorch_model.bin") == folder / "pytorch_model.bin"
    assert checkpoint_file(folder / "x.pth") == folder / "x.pth"


def test_which_of_several_checkpoints_is_not_guessed(offline: Callable[..., Path]) -> None:
    offline("lab/zoo", **{"s.pth": b"1", "m.pth": b"1", "model.safetensors": b"1"})
    several = "several files of weights (m.pth, model.safetensors, s.pth)"
    message = f"hf-hub:lab/zoo has {several}: name one, as hf-hub:lab/zoo/FILE"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        checkpoint_file("hf-hub:lab/zoo")
    offline("lab/text", **{"README.md": b""})
    with pytest.raises(UsageError, match=r"^hf-hub:lab/text has no file of weights \(.pth, "):
        checkpoint_file("hf-hub:lab/text")
    with pytest.raises(UsageError, match="^hf-hub:lab: write a repository as hf-hub:OWNER/NAME"):
        checkpoint_file("hf-hub:lab")


@pytest.mark.parametrize("find", [checkpoint_file, located])
def test_a_missing_repository_is_said_at_once(offline: Callable[..., Path], find: Callable[..., Path]) -> None:
    offline("lab/det", **{"a.pth": b"1"})
    begun = time.monotonic()
    with pytest.raises(InputError, match="^HF_HUB_OFFLINE is set, and lab/none is not in the hub's cache: give "):
        find("hf-hub:lab/none")
    with pytest.raises(InputError, match=r"^cannot fetch the weights of hf-hub:lab/det.* give the file"):
        find("hf-hub:lab/det/b.pth")
    assert time.monotonic() - begun < 20  # the hub is asked for half a minute otherwise
