"""Floating-point operations of a computation, by the formulas of torch's own counter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Flops(TorchDispatchMode):
    """Adds up the operations of every operator that torch has a formula for.

    torch's `FlopCounterMode` does the same by module; its hooks on modules break gradients of inner layers (Grad-CAM),
    and its first use imports torch's compiler, which takes seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, so there is no compiler to keep away from `__torch_dispatch__`

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


def count_flops(run: Callable[[], object]) -> int:
    """Count the operations of the matrix products and convolutions in `run()`; a multiply-add counts as two."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # The formulas do not know fused attention on every device; they do know the operations of the unfused one.
        with sdpa_kernel(SDPBackend.MATH), _Flops() as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.total
