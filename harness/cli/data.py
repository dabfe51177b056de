"""`ltrp-bench data export shapes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import typer

from ltrp_bench.harness.cli.terminal.messages import counted


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Images of the built-in data set."""

    out: Path = field(metadata={"help": "Directory to write to."})
    split: Literal["train", "val", "test"] = field(
        default="test", metadata={"help": "Subset of the data set.", "metavar": None}
    )
    count: int = field(default=100, metadata={"help": "Number of images.", "min": 1})
    fold: int = field(
        default=0, metadata={"help": "Fold: which half of the categories is seen, 0 or 1.", "min": 0, "max": 1}
    )


def export_shapes(options: ExportOptions) -> None:
    """Write images of the built-in data set `shapes` as PNG files, with masks and COCO annotations."""
    from ltrp_bench.tasks.data.shapes.export import export

    export(options.out, fold=options.fold, count=options.count, split=options.split)
    typer.echo(f"wrote {counted(options.count, 'image')} to {options.out}")
