"""`ltrp-bench convert`: checkpoints of other code bases in the form that the models here read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import typer

from ltrp_bench.selectors.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """A checkpoint and what it becomes."""

    checkpoint: Path = field(metadata={"help": "File to convert.", "metavar": "CHECKPOINT", "argument": True})
    out: Path = field(metadata={"help": "Safetensors file to write.", "metavar": "FILE"})


def convert_yolox(options: ConvertOptions) -> None:
    """Convert YOLOX's original checkpoint (Megvii's layout) to mmdet's form; tensors are renamed, not changed."""
    if not options.checkpoint.is_file():
        raise InputError(f"no file {options.checkpoint}")
    if options.out.suffix != ".safetensors":
        raise InputError(f"--out {options.out}: its name must end in .safetensors")
    # Imported here, because it imports torch.
    from ltrp_bench.tasks.models.detectors.yolox_layout import convert_yolox as convert

    model = convert(options.checkpoint, options.out)
    config = model or "an mmdet config of its size and classes"
    typer.echo(f"{options.out}: for --model {config} --model-weights {options.out}")
