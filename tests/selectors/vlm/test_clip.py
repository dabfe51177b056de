from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, save_vit, small_vit
from towers import save_tower

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.vlm.clip import ClipSelector

CLIP: dict[str, Any] = {"pre_norm": True, "layer_norm_eps": 1e-5, "classes": 0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_attention_of_every_head_equals_the_reference(golden: Any, tmp_path: Path) -> None:
    meta, expected, fill = golden("clip_b16")
    selector = ClipSelector(save_tower(tmp_path, meta, fill))
    assert str(selector.supervision) == "captions" and selector.input_size == (224, 224)
    assert list(selector.mean) == meta["normalisation"]["mean"] and list(selector.std) == meta["normalisation"]["std"]
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    with torch.inference_mode():
        np.testing.assert_allclose(selector.attention(images), expected["attention"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(selector.patch_scores(images), expected["score_sum"] / 12, rtol=1e-4, atol=1e-7)


def test_transformers_5_leaves_the_prefix_out(golden: Any, tmp_path: Path) -> None:
    meta, expected, fill = golden("clip_b16")
    state = fill.state_dict(meta["shapes"], meta["seed"])
    torch.save({key.removeprefix("vision_model."): v for key, v in state.items()}, tmp_path / "clip.bin")
    selector = ClipSelector(tmp_path / "clip.bin", activation="quick_gelu")
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"] + meta["image_offset"])
    assert str(selector.supervision) == "captions"
    with torch.inference_mode():
        np.testing.assert_allclose(selector.attention(images), expected["attention"], rtol=1e-4, atol=1e-6)


def test_the_activation_is_said_by_an_option_a_file_or_the_name(tmp_path: Path) -> None:
    tower = small_vit(**CLIP)
    file = tmp_path / "clip.pth"
    torch.save(tower.state_dict(), file)
    with pytest.raises(InputError, match="GELU or QuickGELU: give model=TIMM_NAME .or activation="):
        ClipSelector(file, heads=4)
    images = make_images()
    quick, exact = (ClipSelector(file, heads=4, activation=one) for one in ("quick_gelu", "gelu"))  # type: ignore[arg-type]
    assert not torch.allclose(quick.patch_scores(images), exact.patch_scores(images), atol=1e-4)
    with pytest.raises(UsageError, match="activation must be one of gelu, gelu_tanh, quick_gelu, got 'relu'"):
        ClipSelector(file, heads=4, activation="relu")  # type: ignore[arg-type]
    beside = {"model_type": "clip_vision_model", "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(beside))
    assert torch.equal(ClipSelector(file).patch_scores(images), quick.patch_scores(images))
    assert torch.equal(ClipSelector(file, activation="gelu").patch_scores(images), exact.patch_scores(images))


def test_any_vit_does_with_its_own_supervision(weights: Path) -> None:
    for name in ("clip", "visionzip", "prumerge", "divprune"):
        selector = create_selector(name, weights)
        assert str(selector.supervision) == "shapes-seen/0" and selector.mean == (0.5, 0.5, 0.5)
        assert str(create_selector(name, weights, label_set="self").supervision) == "self"


def test_blocks_are_counted_from_both_ends(weights: Path) -> None:
    images = make_images()
    for block, same in ((-4, 0), (-1, 3), (-2, 2)):
        assert torch.equal(
            ClipSelector(weights, block=block).scores(images), ClipSelector(weights, block=same).scores(images)
        )
    assert torch.equal(ClipSelector(weights).scores(images), ClipSelector(weights, block=2).scores(images))
    for block in (4, -5, 1.5):
        with pytest.raises(UsageError, match="selector 'clip': block must be a whole number from -4 to 3"):
            ClipSelector(weights, block=block)  # type: ignore[arg-type]


class TestContract(WeightsContract):
    build = ClipSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return ClipSelector(weights)
