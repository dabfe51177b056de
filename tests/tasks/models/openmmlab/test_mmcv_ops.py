"""Stand-ins of mmcv's operators against plain loops and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.openmmlab import mmcv_ops
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    openmmlab.setup("mmdet")


def random_boxes(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    near = torch.rand(n, 2, generator=generator) * 20
    return torch.cat([near, near + 1 + torch.rand(n, 2, generator=generator) * 15], 1), torch.rand(
        n, generator=generator
    )


def plain_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        for j in kept:
            near, far = np.maximum(boxes[i, :2], boxes[j, :2]), np.minimum(boxes[i, 2:], boxes[j, 2:])
            inter = np.clip(far - near + offset, 0, None).prod()
            areas = [(boxes[k, 2:] - boxes[k, :2] + offset).prod() for k in (i, j)]
            if inter / (sum(areas) - inter) > threshold:
                break
        else:
            kept.append(int(i))
    return kept


@settings(max_examples=25)
@given(st.integers(0, 40), st.integers(0, 1000), st.sampled_from([0.3, 0.5, 0.7]), st.integers(0, 1))
def test_nms_equals_the_plain_loop(n: int, seed: int, threshold: float, offset: int) -> None:
    boxes, scores = random_boxes(n, seed)
    assert mmcv_ops.nms(boxes, scores, threshold, offset).tolist() == plain_nms(
        boxes.numpy(), scores.numpy(), threshold, offset
    )


def test_soft_nms_known_answer() -> None:
    from mmcv.ops import soft_nms

    # Worked by hand: 1 overlaps 0 by 0.5 (its score goes to .8 * (1 - .5)), 2 is far away.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    dets, kept = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.3)
    assert kept.tolist() == [0, 2, 1]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.7, 0.4]))
    dets, _ = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), sigma=0.5, method="gaussian")
    torch.testing.assert_close(dets[2, 4], torch.tensor(0.8 * np.exp(-0.25 / 0.5), dtype=torch.float32))


def test_nms_match_groups_cover_all_once() -> None:
    from mmcv.ops import nms_match

    boxes, scores = random_boxes(30, 3)
    groups = nms_match(torch.cat([boxes, scores[:, None]], 1), 0.4)
    assert sorted(int(i) for group in groups for i in group) == list(range(30))
    assert all(scores[group].argmax() == 0 for group in groups)


def test_roi_align_and_its_gradient() -> None:
    import torchvision
    from mmcv.ops import roi_align

    features = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 1, 6, 6], [1, 0, 2, 5, 7]], dtype=torch.float64)
    mine = roi_align(features, rois, (2, 2), 1.0, 2, "avg", True)
    other = torchvision.ops.roi_align(features, rois, (2, 2), 1.0, 2, True)
    torch.testing.assert_close(mine, other)
    torch.testing.assert_close(
        torch.autograd.grad(mine.square().sum(), features),
        torch.autograd.grad(other.square().sum(), features),
    )
    with pytest.raises(NotImplementedError, match="pool_mode"):
        roi_align(features, rois, (2, 2), 1.0, 2, "max", True)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_deformable_convolution_and_its_gradients(modulated: bool, groups: int) -> None:
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    torch.manual_seed(0)
    make = {"dtype": torch.float64, "requires_grad": True}
    x, weight = torch.randn(2, 4, 5, 6, **make), torch.randn(6, 4 // groups, 3, 3, **make)
    if modulated:
        offset, mask = torch.zeros(2, 18, 5, 6, **make), torch.ones(2, 9, 5, 6, **make)
        bias = torch.randn(6, **make)
        out = modulated_deform_conv2d(x, offset, mask, weight, bias, 1, 1, 1, groups, 1)
    else:
        offset, bias = torch.zeros(2, 18, 5, 6, **make), None
        out = deform_conv2d(x, offset, weight, 1, 1, 1, groups, 1)
    plain = torch.nn.functional.conv2d(x, weight, bias, padding=1, groups=groups)
    torch.testing.assert_close(out, plain)
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]
    for a, b in zip(
        torch.autograd.grad(out.square().sum(), leaves, retain_graph=True),
        torch.autograd.grad(plain.square().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    (slope,) = torch.autograd.grad(out.square().sum(), offset)
    assert slope.abs().max() > 0


def test_sigmoid_focal_loss_equals_mmdets_python_version() -> None:
    from mmcv.ops import sigmoid_focal_loss
    from mmdet.models.losses.focal_loss import py_focal_loss_with_prob  # sums the same terms

    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 4, 5, 2, 5, 1, 3])  # 5 is background
    mine = sigmoid_focal_loss(x, target, 2.0, 0.25, None, "sum")
    other = py_focal_loss_with_prob(x.sigmoid(), target, reduction="sum")
    torch.testing.assert_close(mine, other)
    torch.testing.assert_close(torch.autograd.grad(mine, x), torch.autograd.grad(other, x))


def test_ms_deform_attn_gradient_goes_through_the_torch_version() -> None:
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch,
    )

    torch.manual_seed(0)
    make = {"dtype": torch.float64, "requires_grad": True}
    shapes = torch.tensor([[4, 4], [2, 2]])
    value, where = torch.randn(1, 20, 2, 3, **make), torch.rand(1, 5, 2, 2, 4, 2, **make)
    weights = torch.rand(1, 5, 2, 2, 4, **make)
    mine = MultiScaleDeformableAttnFunction.apply(value, shapes, torch.tensor([0, 16]), where, weights, 64)
    other = multi_scale_deformable_attn_pytorch(value, shapes, where, weights)
    torch.testing.assert_close(mine, other)
    leaves = [value, where, weights]
    for a, b in zip(torch.autograd.grad(mine.sum(), leaves), torch.autograd.grad(other.sum(), leaves), strict=True):
        torch.testing.assert_close(a, b)


def test_an_operator_without_stand_in_names_itself() -> None:
    report = openmmlab.available_ops()
    if report.names("compiled"):
        pytest.skip("mmcv is compiled here: no stand-in is registered")
    assert set(mmcv_ops.STAND_INS) == set(report.names("stand-in"))
    assert "nms_rotated" in report.names("missing")
    import mmcv._ext

    with pytest.raises(InputError, match="nms_rotated"):
        mmcv._ext.nms_rotated(torch.zeros(1, 5))
