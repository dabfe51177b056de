"""Floating-point operations of a computation, counted by torch's `FlopCounterMode`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class _NoModules:
    """Replaces the counter's module tracker, whose hooks break gradients of inner layers (Grad-CAM)."""

    parents: Final = frozenset({"Global"})

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *args: object) -> None:
        pass


class _Flops(FlopCounterMode):
    """Counts the whole computation, without a breakdown by module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mod_tracker: Any = _NoModules()


def count_flops(run: Callable[[], object]) -> int:
    """Count the operations of the matrix products and convolutions in `run()`; a multiply-add counts as two."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # The counter does not know fused attention on every device; it does know the operations of the unfused one.
        with sdpa_kernel(SDPBackend.MATH), _Flops(display=False) as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())
