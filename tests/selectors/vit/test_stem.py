"""The convolutional stem: shapes, its own file, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.backbones import build_vit, load_backbone
from ltrp_bench.selectors.vit.stem import ConvStem, stem_patch_size


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_one_token_a_patch_in_raster_order(patch: int) -> None:
    stem = ConvStem(64, patch, 64).eval()
    images = torch.zeros(1, 3, 64, 64)
    images[..., -1, 0] = 5.0
    changed = (stem(images) - stem(torch.zeros(1, 3, 64, 64))).abs().amax(-1).view(64 // patch, 64 // patch)
    assert stem(images).shape == (1, (64 // patch) ** 2, 64)
    assert changed[-1, 0] > 0 and changed[0].max() == 0 and changed[:, -1].max() == 0
    assert stem_patch_size({f"patch_embed.{key}": value for key, value in stem.state_dict().items()}) == patch


def test_a_file_tells_of_its_stem(tmp_path: Path) -> None:
    shape = {"image_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 1, "heads": 2, "classes": 3, "stem": "conv"}
    vit = build_vit(shape).eval()
    file = tmp_path / "vit.safetensors"
    save_safetensors(file, vit.state_dict(), {"config": {"heads": 2, "label_set": "three"}})
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(load_backbone(file).model(images), vit(images))


@pytest.mark.parametrize("patch", [4, 8])
def test_a_tokens_field_is_centred_on_its_patch(patch: int) -> None:
    stem = ConvStem(96, patch, 32).eval()
    for layer in stem.stem:
        torch.nn.init.ones_(layer[0].weight)
    images = torch.rand(1, 3, 96, 96, requires_grad=True)
    side = 96 // patch
    middle = side // 2 * side + side // 2
    stem(images)[0, middle].sum().backward()
    assert images.grad is not None
    reached = images.grad.abs().sum((0, 1))
    ys, xs = reached.sum(1).nonzero().squeeze(1), reached.sum(0).nonzero().squeeze(1)
    centre = side // 2 * patch + (patch - 1) / 2
    assert (ys.min() + ys.max()) / 2 == (xs.min() + xs.max()) / 2 == centre


@pytest.mark.parametrize(("image", "patch"), [(96, 12), (90, 8), (96, 1)])
def test_patches_that_do_not_halve_are_refused(image: int, patch: int) -> None:
    with pytest.raises(UsageError, match="convolutional stem"):
        ConvStem(image, patch, 64)
