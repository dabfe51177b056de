"""Counted operations against numbers worked out by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from timm import create_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ltrp_bench.harness.evaluation.flops import count_flops


def test_products_and_convolutions() -> None:
    assert count_flops(lambda: torch.ones(5, 100) @ torch.ones(100, 7)) == 2 * 5 * 100 * 7
    images, kernels = torch.ones(1, 3, 16, 16), torch.ones(8, 3, 4, 4)
    assert count_flops(lambda: F.conv2d(images, kernels, stride=4)) == 2 * (3 * 4 * 4) * 8 * 4 * 4


def test_fused_attention_counts_as_its_two_products() -> None:
    query = torch.ones(1, 2, 9, 16)
    assert count_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == 2 * (2 * 9 * 9 * 16) * 2


def test_gradients_of_inner_layers_can_be_taken() -> None:
    """Take gradients of inner layers like Grad-CAM, which the module hooks of torch's counter do not allow."""
    first, second = torch.nn.Linear(4, 6, bias=False), torch.nn.Linear(6, 1, bias=False)

    def run() -> None:
        inner = first(torch.ones(1, 4))
        (gradient,) = torch.autograd.grad(second(inner).sum(), inner)
        assert torch.equal(gradient, second.weight)

    assert count_flops(run) == 2 * 4 * 6 + 2 * 6 + 2 * 6  # forward, forward, backward


def test_the_fast_path_of_attention_is_restored_after_an_error() -> None:
    before = torch.backends.mha.get_fastpath_enabled()

    def fail() -> None:
        assert not torch.backends.mha.get_fastpath_enabled()
        raise ValueError

    with pytest.raises(ValueError):
        count_flops(fail)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_as_many_as_torch_counts() -> None:
    model = create_model("vit_tiny_patch16_224", num_classes=7).eval()
    images = torch.zeros(2, 3, 224, 224)
    with torch.inference_mode():
        # torch's counter and ours see attention as its two products.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(images)
        assert count_flops(lambda: model(images)) == counter.get_total_flops() > 2e9


def test_counting_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from ltrp_bench.harness.evaluation.flops import count_flops;"
        "assert count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 4)) == 48;"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
