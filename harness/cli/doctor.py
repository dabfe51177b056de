"""`ltrp-bench doctor`: facts about this machine, for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Final

import typer

from ltrp_bench.harness.cli.list import bundled_weights

PACKAGES: Final = (
    "ltrp-bench",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "pyarrow",
    "pycocotools",
    "faster-coco-eval",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmdetection",
    "onedl-mmsegmentation",
)

DATA_SETS: Final = {
    "COCO 2017": ("annotations/instances_val2017.json", "val2017"),
    "COCO in one folder": ("instances.json", "images"),
}
"""Files and directories by which a data set is recognized in the directories of `data_folders`."""


def doctor() -> None:
    """Show versions, devices, compiled operators, data sets and weights found on this machine."""
    for title, lines in (
        ("system", _system()),
        ("packages", _packages()),
        ("devices", _devices()),
        ("mmcv operators", _operators()),
        ("entry points", _entry_points()),
        ("bundled weights", _weights()),
        ("data sets", _data_sets()),
    ):
        typer.echo(title)
        try:
            for line in lines:
                typer.echo(f"  {line}")
        except Exception as error:  # a section that fails must not hide the others
            typer.echo(f"  cannot be determined: {type(error).__name__}: {' '.join(str(error).split())}")


def _system() -> Iterator[str]:
    yield f"python {platform.python_version()} at {sys.executable}"
    yield f"{platform.platform()}, {os.cpu_count()} CPUs"


def _packages() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} is not installed"


def _devices() -> Iterator[str]:
    import torch

    yield f"cpu, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if not torch.cuda.is_available():
        yield f"no CUDA device (torch built for CUDA {torch.version.cuda})"
    if torch.backends.mps.is_available():
        yield "mps"


def _operators() -> Iterator[str]:
    from ltrp_bench.tasks.models.openmmlab.setup import available_ops

    found = available_ops()
    yield found.note
    for state in ("compiled", "stand-in", "missing"):
        if names := found.names(state):
            yield f"{state} ({len(names)}): {', '.join(names)}"


def _entry_points() -> Iterator[str]:
    for group in ("selectors", "tasks"):
        names = sorted(point.name for point in entry_points(group=f"ltrp_bench.{group}"))
        yield f"{group}: {', '.join(names) or 'none'}"


def _weights() -> Iterator[str]:
    yield f"selectors: {', '.join(bundled_weights('selectors')) or 'none'}"
    yield f"tasks: {', '.join(bundled_weights('tasks')) or 'none'}"


def _data_sets() -> Iterator[str]:
    yield "shapes: built in"
    folders = data_folders()
    found = [
        f"{name}: {folder}"
        for folder in folders
        for name, parts in DATA_SETS.items()
        if all((folder / part).exists() for part in parts)
    ]
    yield from found
    if not found:
        searched = ", ".join(str(folder) for folder in folders) or "no directories"
        yield f"no COCO found (searched {searched}); set LTRP_BENCH_DATA, or give --data DIR to run"


def data_folders() -> list[Path]:
    """Directories searched for data sets: those in LTRP_BENCH_DATA, ./data and ../shared/data, and those within."""
    named = [Path(part).expanduser() for part in os.environ.get("LTRP_BENCH_DATA", "").split(os.pathsep) if part]
    roots = [root for root in (*named, Path("data"), Path("../shared/data")) if root.is_dir()]
    inside = [child for root in roots for child in sorted(root.iterdir()) if child.is_dir()]
    return [*roots, *inside]
