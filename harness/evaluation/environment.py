"""This machine: a device that torch accepts here, and what is stored beside a result about where it was made."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from ltrp_bench.selectors.errors import UsageError

_DEVICES: Final = ("cpu", "cuda", "mps")


def usable_device(asked: str) -> str:
    """A device string that torch accepts here; UsageError otherwise."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(asked).type not in _DEVICES:
            raise UsageError(f"--device {asked}: write auto, cpu, cuda, cuda:1 or mps")
        torch.empty(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {asked} cannot be used here: {reason}") from error
    return asked


def provenance(device: str) -> Callable[[], dict[str, Any]]:
    """Makes what is stored beside each cell: when, where, with which versions and command."""

    def now() -> dict[str, Any]:
        return {
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": platform.node(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "device": device_name(device),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in ("ltrp-bench", "torch", "torchvision", "numpy", "timm")},
            "command": sys.argv,
        }

    return now


def device_name(device: str) -> str:
    """ "cpu", or a GPU's device string and model."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
