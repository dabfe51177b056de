"""Checkpoints of segmentors come back as they were saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_segmentors import HEADS, small_segmentor

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Keep
from ltrp_bench.tasks.catalog import shapes_seg
from ltrp_bench.tasks.models.segmentors.plain_vit import build_segmentor
from ltrp_bench.tasks.untrained import SHAPES_SEGMENTOR


def test_segmenters_own_wrapping(tmp_path: Path) -> None:
    net = small_segmentor(classes=17, head={"head": "linear"}, image_size=96, patch_size=8, embed_dim=192, depth=1)
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": net.state_dict(), "epoch": 3}, file)
    task = shapes_seg(images=2, model_weights=file)
    sample = task.load(0)
    assert sample.image.shape == (96, 96, 3) and task.grid(sample) == (12, 12)
    assert task.predict([sample], [Keep(np.ones((12, 12), bool))])[0]
    other = small_segmentor(head={"head": "linear"}, image_size=96, patch_size=8, embed_dim=192)
    torch.save({"model": other.state_dict()}, file)
    with pytest.raises(InputError, match="5 outputs, the data set 17"):
        shapes_seg(images=2, model_weights=file)


def test_saved_weights_are_restored(tmp_path: Path) -> None:
    config = {**SHAPES_SEGMENTOR, "segmentor": HEADS[1] | {"dim": 32, "heads": 4}, "embed_dim": 32}
    torch.manual_seed(0)
    net = build_segmentor(config).eval()
    save_safetensors(tmp_path / "s.safetensors", net.state_dict(), {"kind": "segmentor", "config": config})
    task = shapes_seg(images=1, model_weights=tmp_path / "s.safetensors")
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(task.runner.model.net(images), net(images))  # type: ignore[attr-defined]
    other = {**config, "classes": ["a", "b"]}
    save_safetensors(tmp_path / "o.safetensors", build_segmentor(other).state_dict(), {"config": other})
    with pytest.raises(InputError, match="wrong model for this data set"):
        shapes_seg(images=1, model_weights=tmp_path / "o.safetensors")


def test_other_names_of_the_outputs_are_another_task(tmp_path: Path) -> None:
    """Results of one order must not stand for those of another."""
    names = ["background", *SHAPES_SEGMENTOR["classes"][1:]]
    plain, turned = shapes_seg(images=1, random_weights=0), shapes_seg(images=1, random_weights=0, classes=names[::-1])
    assert shapes_seg(images=1, random_weights=0, classes=names).identity() == plain.identity()
    assert turned.identity() != plain.identity()
