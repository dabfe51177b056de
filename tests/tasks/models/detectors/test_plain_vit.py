"""Plain ViT detectors: dropped patches leave no trace, padding is never kept, any head of mmdet can stand on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.catalog import shapes_det
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_VIT_CONFIG
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

openmmlab.setup()
from ltrp_bench.tasks.models.detectors.kept_channel import dropping_backbone  # noqa: E402, as above
from ltrp_bench.tasks.models.detectors.plain_vit import PlainViTBackbone, SimplePyramid  # noqa: E402

VIT = {"image_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "heads": 3}


def backbone(missing: str = "token", **more: Any) -> PlainViTBackbone:
    torch.manual_seed(0)
    net = PlainViTBackbone({**VIT, **more}, missing)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


def inputs(kept: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """[B, 4, 32, 32] of [B, 4, 4] bool."""
    images = torch.randn(len(kept), 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return torch.cat([images, kept.float().repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]], 1)


@torch.no_grad()
def test_dropped_pixels_change_nothing_whatever_else_is_in_the_batch() -> None:
    kept = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    kept[2] = True
    one, other = inputs(kept), inputs(kept, seed=9)
    mixed = torch.where(one[:, 3:] > 0, one, other)
    mixed[:, 3] = one[:, 3]
    for stem in ("patch", "conv"):
        net = backbone(stem=stem)
        (found,) = net(one)
        assert found.shape == (3, 24, 4, 4)
        assert torch.equal(found, net(mixed)[0])
        torch.testing.assert_close(torch.cat([net(row[None])[0] for row in one]), found, rtol=1e-4, atol=1e-4)
        # What stands in empty places is the token of that place.
        places = (net.mask_token + net.vit.pos_embed[0, 1:]).T.unflatten(1, (4, 4))
        assert torch.equal(found[0][:, ~kept[0]], places[:, ~kept[0]])
        whole = net.vit.forward_features(one[2:, :3])[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        torch.testing.assert_close(found[2:], whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(net(one[2:, :3])[0], found[2:], rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="keeps no patch at all"):
        net(one * 0)


def test_the_token_learns() -> None:
    net, kept = backbone().train(), torch.zeros(1, 4, 4, dtype=torch.bool)
    kept[0, 0] = True
    net(inputs(kept))[0].sum().backward()
    assert net.mask_token.grad is not None and torch.equal(net.mask_token.grad, torch.full((24,), 12.0))
    assert backbone("zero").mask_token is None
    with pytest.raises(UsageError, match="zero or token"):
        PlainViTBackbone(VIT, "nothing")


def test_strides_of_the_pyramid() -> None:
    levels = SimplePyramid(16, 8)((torch.zeros(1, 16, 6, 4),))
    assert [tuple(level.shape[1:]) for level in levels] == [(8, 24, 16), (8, 12, 8), (8, 6, 4), (8, 3, 2)]
    with pytest.raises(UsageError, match="scales must be of 4, 2, 1, 0.5"):
        SimplePyramid(16, 8, [3.0])


def detections(task: Any, samples: Any, keep: np.ndarray) -> Any:
    return task.predict(samples, [Keep(keep)] * len(samples))


def test_the_task_drops_patches() -> None:
    task = shapes_det(images=3, random_weights=0, reduction="drop")
    assert task.reduction == "drop" and dropping_backbone(task.runner.detector.model).patch == 8
    samples = [task.load(i) for i in range(3)]
    keep = np.random.default_rng(0).random((12, 12)) < 0.4
    found = detections(task, samples, keep)
    assert found == [detections(task, [sample], keep)[0] for sample in samples] and any(found)
    # Other pixels in the place of dropped ones: the same detections, to the bit.
    for sample in samples:
        sample.annotations.prepared.content[~np.kron(keep, np.ones((8, 8), bool))] = 13
    assert detections(task, samples, keep) == found
    assert detections(task, samples, ~keep) != found
    assert task.predict(samples[:1], [Downsample(0.25)])
    filled = shapes_det(images=3, model=SHAPES_VIT_CONFIG, random_weights=0)
    whole = np.ones((12, 12), bool)
    again = [filled.load(i) for i in range(3)]
    fresh = [task.load(i) for i in range(3)]
    assert detections(filled, again, whole) == detections(task, fresh, whole)
    with pytest.raises(UsageError, match="only a plain ViT detector"):
        shapes_det(images=1, model=SHAPES_CONFIG, random_weights=0, reduction="drop")
