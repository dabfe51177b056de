"""`ltrp-bench doctor`: facts about this machine, for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from ltrp_bench.harness.cli.list import bundled_weights
from ltrp_bench.harness.cli.terminal.messages import counted, print_wrapped
from ltrp_bench.harness.cli.terminal.version import version_line
from ltrp_bench.selectors.zoo.cache import cache_folder, cached
from ltrp_bench.selectors.zoo.table import checkpoints

if TYPE_CHECKING:
    from ltrp_bench.tasks.models.openmmlab.setup import OpState

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


OPERATORS: Final[Mapping[OpState, str]] = {
    "compiled": "compiled: {count}, such as {first}",
    "stand-in": "not compiled, made of torchvision's: {count}, such as {first}",
    "missing": "missing: {count}, such as {first}; models that use one need a compiled mmcv",
}
"""State of mmcv's operators -> line about those in it."""


def doctor() -> None:
    """Show versions, devices, data sets and weights found on this machine, what is missing and how to get it.

    Data sets are looked for in LTRP_BENCH_DATA (folders joined as in PATH), ./data and ../shared/data.
    """
    for title, lines in (
        ("system", _system()),
        ("packages", _packages()),
        ("devices", _devices()),
        ("mmcv operators", _operators()),
        ("entry points", _entry_points()),
        ("weights", _weights()),
        ("data sets", _data_sets()),
        ("missing", _missing()),
        ("optional", _optional()),
    ):
        typer.echo(title)
        try:
            for line in lines:
                print_wrapped(f"  {line}", indent="    ")
        except Exception as error:  # a section that fails must not hide the others
            typer.echo(f"  cannot be determined: {type(error).__name__}: {' '.join(str(error).split())}")


def _system() -> Iterator[str]:
    yield version_line()
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

    yield f"cpu, {counted(torch.get_num_threads(), 'thread')}"
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
    for state, line in OPERATORS.items():
        if names := found.names(state):
            yield line.format(count=len(names), first=names[0])


def _entry_points() -> Iterator[str]:
    for group in ("selectors", "tasks"):
        points = entry_points(group=f"ltrp_bench.{group}")
        others = sorted(point.name for point in points if not point.value.startswith("ltrp_bench."))
        more = f"; of other packages: {', '.join(others)}" if others else ""
        yield f"{group}: {len({point.name for point in points})} (ltrp-bench list {group}){more}"


def _weights() -> Iterator[str]:
    for room in ("selectors", "tasks"):
        names = bundled_weights(room)
        yield f"bundled for {room}: {len(names)}" + ("" if names else "; reinstall ltrp-bench")
    found = [one.name for one in checkpoints() if cached(one) is not None]
    yield f"official, in {cache_folder()}: {', '.join(found) or 'none'}"
    yield "others: ltrp-bench weights list, ltrp-bench weights fetch NAME"


def _missing() -> Iterator[str]:
    """What keeps parts of ltrp-bench from working here, and how to get it."""
    yield from [f"{name}: pip install {name}" for name in PACKAGES if not _installed(name)] or ["nothing"]


def _optional() -> Iterator[str]:
    """What only some commands need and is not here."""
    lines = []
    if not _installed("ray"):
        lines.append("ray (not installed; only runs on several machines need it): pip install 'ltrp-bench[cluster]'")
    if not _data_found():
        lines.append(
            "COCO (not found; only the coco-* tasks need it): give its folder with --data DIR (docs/tasks/data.md)"
        )
    yield from lines or ["nothing"]


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _data_sets() -> Iterator[str]:
    yield "shapes: built in"
    folders, found = data_folders(), _data_found()
    yield from found
    if not found:
        searched = f" in {', '.join(str(folder) for folder in folders)}" if folders else ""
        yield f"no COCO found{searched}; LTRP_BENCH_DATA names a folder to search"


def _data_found() -> list[str]:
    return [
        f"{name}: {folder}"
        for folder in data_folders()
        for name, parts in DATA_SETS.items()
        if all((folder / part).exists() for part in parts)
    ]


def data_folders() -> list[Path]:
    """Directories searched for data sets: those in LTRP_BENCH_DATA, ./data and ../shared/data, and those within."""
    named = [Path(part).expanduser() for part in os.environ.get("LTRP_BENCH_DATA", "").split(os.pathsep) if part]
    roots = [root for root in (*named, Path("data"), Path("../shared/data")) if root.is_dir()]
    inside = [child for root in roots for child in sorted(root.iterdir()) if child.is_dir()]
    return [*roots, *inside]
