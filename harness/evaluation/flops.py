"""Floating-point operations of any computation, counted by torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class _NoModules:
    """In the place of the counter's own tracker, whose hooks forbid to ask autograd for inner gradients (Grad-CAM)."""

    parents: Final = frozenset({"Global"})

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *args: object) -> None:
        pass


class _Flops(FlopCounterMode):
    """Counts a whole run, not by module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mod_tracker: Any = _NoModules()


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of `run()`: matrix products and convolutions; a multiply-add is two."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Fused attention is one operation that the counter does not know on every device; its parts it does.
        with sdpa_kernel(SDPBackend.MATH), _Flops(display=False) as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())
