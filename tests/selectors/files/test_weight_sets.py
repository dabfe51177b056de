"""Which set of weights of a file is taken, the line about it, and the option for the other one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from ltrp_bench.selectors.checkpoints import read_weights
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.weight_sets import unwrap
from ltrp_bench.selectors.registry import create_selector, option_types, selector_names
from ltrp_bench.selectors.vit.backbones import load_backbone

TELL = (r"blocks\.0\.w", "pos_embed")


def filled(value: float, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": torch.full((1,), value) for key in ("blocks.0.w", "pos_embed")}


def taken(path: Path, ema: bool | None = None) -> tuple[float, str]:
    found = read_weights(path, ema).under(*TELL)
    return float(found.state["pos_embed"]), found.note


@pytest.mark.parametrize(
    ("content", "default"),
    [
        ({"model": filled(0), "model_ema": filled(1)}, 0),
        ({"state_dict": filled(0), "state_dict_ema": filled(1, "module.")}, 0),
        ({"model": filled(0), "ema": {"model": filled(1)}}, 0),
        ({"params": filled(0), "params_ema": filled(1)}, 0),
        ({"student": filled(0, "backbone."), "teacher": filled(1, "backbone.")}, 1),
        ({"state_dict": {**filled(0, "model."), **filled(1, "ema_model.module.")}}, 1),
        ({"state_dict": {**filled(0, "net."), **filled(1, "net_ema.")}}, 1),
        ({"state_dict": {**filled(0, "module.base_encoder."), **filled(1, "module.momentum_encoder.")}}, 0),
        ({"state_dict": {**filled(0, "encoder_q."), **filled(1, "encoder_k.")}}, 0),
        # mmengine saves the average as the model.
        ({"meta": {"mmengine_version": "0.10"}, "state_dict": filled(1), "ema_state_dict": filled(0, "module.")}, 1),
    ],
)
def test_a_model_and_its_average(tmp_path: Path, content: dict[str, Any], default: int) -> None:
    path = tmp_path / "w.pth"
    torch.save({**content, "epoch": 3}, path)
    value, note = taken(path)
    assert value == default and "w.pth holds two sets of weights" in note
    assert ("; took " in note and ", not the moving average: ema=true" in note) == (default == 0)
    assert (", the moving average: ema=false takes the other" in note) == (default == 1)
    for ema in (True, False):
        assert taken(path, ema)[0] == float(ema)


def test_one_set_alone_has_no_note_and_no_other(tmp_path: Path) -> None:
    torch.save({"model": filled(3), "ema": {"decay": 0.9}}, tmp_path / "w.pth")
    assert taken(tmp_path / "w.pth") == (3, "")
    save_file(filled(4, "teacher."), tmp_path / "w.safetensors")
    assert taken(tmp_path / "w.safetensors") == (4, "") and taken(tmp_path / "w.safetensors", True) == (4, "")
    for name, ema in (("w.pth", True), ("w.pth", False), ("w.safetensors", False)):
        with pytest.raises(UsageError, match=f"ema={str(ema).lower()}: {name} holds one set of weights alone"):
            taken(tmp_path / name, ema)


def test_keys_of_wrappers_that_are_not_known(tmp_path: Path) -> None:
    state = {"a": torch.ones(1), "b": torch.ones(1)}
    extras = {"optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}, "loss": {"center": torch.zeros(2)}, "epoch": 1}
    found = unwrap({"generator": state, **extras}, tmp_path)
    assert list(found.state) == ["a", "b"] and found.beside["epoch"] == 1
    with pytest.raises(InputError, match="holds several state dicts .left, right.: save one of them alone"):
        unwrap({"left": state, "right": state}, tmp_path)
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.zeros((2, 2), np.float16)}
    assert unwrap(arrays, tmp_path).state["a"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="no state dict inside .keys names."):
        unwrap({"names": np.array(["a"])}, tmp_path)


def test_two_equal_models_are_refused(tmp_path: Path) -> None:
    torch.save({**filled(0, "left."), **filled(1, "right.")}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"holds several models \(left\.\*, right\.\*\): save the state dict of one"):
        taken(tmp_path / "w.pth")


def test_every_selector_with_weights_has_the_option() -> None:
    without = {name for name in selector_names() if "weights" in (own := option_types(name)) and "ema" not in own}
    assert without == {"gfnet"}  # its files have parts of fixed names


def test_selectors_take_the_set_that_is_asked_for_and_say_which(tmp_path: Path) -> None:
    def vit(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        net = VisionTransformer(img_size=32, patch_size=16, embed_dim=192, depth=4, num_heads=3, num_classes=1000)
        return net.state_dict()

    path = tmp_path / "w.pth"
    torch.save({"model": vit(0), "model_ema": vit(1)}, path)
    for name in ("attention-rollout", "evit", "tome", "dpc-knn", "patch-norm", "gradcam"):
        selector = create_selector(name, path)
        assert "took model, not the moving average: ema=true" in selector.assumptions[0], name
        assert "took model_ema, the moving average" in create_selector(name, path, ema=True).assumptions[0], name
    for ema, seed in ((None, 0), (False, 0), (True, 1)):
        assert torch.equal(load_backbone(path, ema=ema).model.state_dict()["head.weight"], vit(seed)["head.weight"])
