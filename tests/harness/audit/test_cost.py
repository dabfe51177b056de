"""The cost of a selector: operations counted by hand, and times in proportion."""

from __future__ import annotations

import pytest
import torch
from broken_selectors import PATCH
from torch import Tensor, nn

from ltrp_bench.harness.audit.audit_images import AuditImages
from ltrp_bench.harness.audit.cost import check_model, measure_cost
from ltrp_bench.harness.evaluation.flops import count_flops
from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.catalog import shapes_coverage


@pytest.fixture(scope="module")
def images() -> AuditImages:
    return AuditImages.of(shapes_coverage(images=10), 10)


class Attends(Selector):
    """A projection and fused attention: operations that can be counted by hand."""

    name = "attends"
    patch_size = PATCH

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(3 * PATCH * PATCH, 16)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        patches = nn.functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
        tokens = self.net(patches)[:, None]
        mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return mixed[:, 0].mean(-1).view(-1, images.shape[2] // PATCH, images.shape[3] // PATCH)


class Gradient(Attends):
    """Takes the gradient of an inner tensor, as Grad-CAM does."""

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        patches = nn.functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
        with torch.inference_mode(False), torch.enable_grad():
            tokens = self.net(patches.clone().requires_grad_(True))
            (slope,) = torch.autograd.grad(tokens.square().sum(), tokens)
        return slope.mean(-1).view(-1, images.shape[2] // PATCH, images.shape[3] // PATCH)


def test_operations_of_gradients_are_counted(images: AuditImages) -> None:
    one = images.at([0]).probe(Gradient(), "cpu")
    assert count_flops(one.scores) == 2 * 144 * 192 * 16


def test_operations_are_counted_as_by_hand(images: AuditImages) -> None:
    one = images.at([0]).probe(Attends(), "cpu")
    flops = count_flops(one.scores)
    assert flops == 2 * 144 * 192 * 16 + 2 * 2 * 144 * 144 * 16
    cost = measure_cost(Attends(), "test_vit", images, device="cpu", batch_size=1)
    assert cost.gflops == flops / 1e9 and cost.batch == 1
    assert cost.flops_share == pytest.approx(cost.gflops / cost.model_gflops)
    assert cost.time_share == pytest.approx(cost.model_images_per_second / cost.images_per_second)
    assert 0 < cost.time_share < 100
    with pytest.raises(UsageError, match="timm has no such model; did you mean 'test_vit'"):
        measure_cost(Attends(), "test_vitt", images, device="cpu", batch_size=1)
    with pytest.raises(UsageError, match="--cost-model nothing: timm has no such model"):
        check_model("nothing")
