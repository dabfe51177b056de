"""This machine: its devices, and the provenance that is stored with a result."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from ltrp_bench.selectors.errors import UsageError

_DEVICES: Final = ("cpu", "cuda", "mps")


def usable_device(name: str) -> str:
    """Resolve "auto" and check that torch can use the device here. Raises UsageError."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type not in _DEVICES:
            raise UsageError(f"--device {name}: write auto, cpu, cuda, cuda:1 or mps")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here: {reason}") from error
    return name


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Context in which torch uses `number` threads for one operation on the CPU.

    Sums over parts that several threads take are rounded in another order, so results depend on the number.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def provenance(device: str) -> Callable[[], dict[str, Any]]:
    """A function that returns the provenance of a cell finished now: time, machine, versions and command, as JSON."""
    import torch

    def now() -> dict[str, Any]:
        return {
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": platform.node(),
            "system": platform.platform(),
            "cpu": cpu_name(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": device_name(device),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in ("ltrp-bench", "torch", "torchvision", "numpy", "timm")},
            "command": sys.argv,
        }

    return now


@cache
def cpu_name() -> str:
    """Model of the CPU and its widest instructions that torch uses, which rounding depends on: "AMD EPYC (AVX2)"."""
    import torch

    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except (OSError, ValueError):
        pass  # not Linux
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"


def device_name(device: str) -> str:
    """The device string, with the model of a GPU: "cpu", "cuda:0 (NVIDIA H100)"."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def package_versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages by name; those that are not installed are left out."""
    found = {name: _version(name) for name in packages}
    return {name: version for name, version in found.items() if version is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
