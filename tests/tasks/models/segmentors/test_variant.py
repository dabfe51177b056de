"""`variant.yml` beside Segmenter's checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_segmentors import small_segmentor

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.catalog import shapes_seg
from ltrp_bench.tasks.models.segmentors.variant import Variant, variant_of

TEXT = """
dataset_kwargs:
  image_size: 512
  normalization: {0}
inference_kwargs:
  im_size: !!python/tuple [512, 512]
net_kwargs:
  backbone: deit_tiny
  n_heads: 3
  normalization: {0}
"""


def test_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    assert variant_of(file) == Variant()
    (tmp_path / "variant.yml").write_text(TEXT.format("deit"))
    assert variant_of(file) == Variant(mean=IMAGENET_MEAN, std=IMAGENET_STD, heads=3)
    (tmp_path / "variant.yml").write_text(TEXT.format("vit") + "mean: [0.1, 0.2, 0.3]\n")
    assert variant_of(file) == Variant(mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5), heads=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.format("swin"), "names the normalization 'swin'; known are vit, deit"),
        ("a: [", "cannot be read"),
        ("- 1", "cannot be read"),
        ("mean: [123.7, 116.3, 103.5]", "given for pixels in .0, 1."),
        ("x: !!python/object/apply:os.system [exit]", "could not determine a constructor"),
    ],
)
def test_damaged_ones_are_refused_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "variant.yml").write_text(text)
    with pytest.raises(InputError, match=f"variant.yml, beside the checkpoint, .*{said}") as caught:
        variant_of(tmp_path / "checkpoint.pth")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_normalized_as_it_says(tmp_path: Path) -> None:
    net = small_segmentor(classes=17, head={"head": "linear"}, image_size=96, patch_size=8, embed_dim=192, depth=1)
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": net.state_dict(), "epoch": 3}, file)
    task = shapes_seg(images=1, model_weights=file)
    assert task.runner.model.inputs.mean == (0.5, 0.5, 0.5)  # type: ignore[attr-defined]
    assert "assumed Segmenter's mean and std of 0.5: if this is wrong, give mean=, std=" in task.assumptions[0]
    assert "17 outputs" in task.assumptions[1]
    given = shapes_seg(images=1, model_weights=file, mean=[0.4], std=[0.2])
    assert not any("Segmenter" in line for line in given.assumptions)
    (tmp_path / "variant.yml").write_text(TEXT.format("deit"))
    read = shapes_seg(images=1, model_weights=file)
    assert read.runner.model.inputs.mean == IMAGENET_MEAN and len(read.assumptions) == 1  # type: ignore[attr-defined]
    torch.save({"model": net.state_dict(), "model_ema": {k: v + 1 for k, v in net.state_dict().items()}}, file)
    two = shapes_seg(images=1, model_weights=file)
    assert "took model, not the moving average: ema=true" in two.assumptions[0]
    other = shapes_seg(images=1, model_weights=file, ema=True)
    own = other.runner.model.net.state_dict()  # type: ignore[attr-defined]
    assert torch.equal(own["encoder.cls_token"], net.state_dict()["encoder.cls_token"] + 1)
    assert other.identity() != two.identity()
