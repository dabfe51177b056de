"""Export of trained weights with a model card: data, options and loss curve of the training run."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from ltrp_bench.harness.cli.option_groups import ImageLimit, SharingOptions
from ltrp_bench.harness.cli.terminal.messages import print_note

if TYPE_CHECKING:
    import torch

    from ltrp_bench.harness.training.training_folder import TrainedModel


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ImageLimit, SharingOptions):
    """Options of every training command besides those of its recipe and loop."""

    export: Path | None = field(
        default=None, metadata={"help": "Write the trained weights to this .safetensors file, with a model card."}
    )
    export_dtype: Literal["float32", "float16"] = field(
        default="float32", metadata={"help": "Precision of the exported weights; float16 halves the file."}
    )
    threads: int = field(default=0, metadata={"help": "CPU threads of torch; 0 keeps its default.", "min": 0})

    @property
    def torch_dtype(self) -> torch.dtype:
        """`export_dtype` as a type of torch."""
        import torch

        return torch.float16 if self.export_dtype == "float16" else torch.float32

    def set_up(self) -> None:
        """Set the limit of images' pixels and the number of torch's CPU threads."""
        self.set_limit()
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)

    def shared(self, record: Mapping[str, Any], arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
        """Record of a training and its command line as weights and card show them."""
        from ltrp_bench.results.schema.redaction import here

        if self.with_paths:
            return dict(record), arguments
        redaction = here()
        return redaction.json(record), redaction.command(arguments)


def export_weights(kind: str, made: TrainedModel, out: Path, options: ExportOptions, arguments: list[str]) -> None:
    """Write weights and card if asked to; of several processes only the first does.

    Args:
        kind: kind of the weights, in their metadata.
        made: the trained model.
        out: folder of the training.
        options: file and precision of the weights, and what may be said of this machine.
        arguments: the command line, for the card.
    """
    from ltrp_bench.harness.training.data.notes import TrainingNotes
    from ltrp_bench.selectors.checkpoints import save_safetensors

    notes = TrainingNotes(out)
    made["training"] |= notes.to_json()
    if (line := notes.skipped_line) and int(os.environ.get("RANK", "0")) == 0:
        print_note(line)
    export = options.export
    if export is None or int(os.environ.get("RANK", "0")) != 0:
        return
    training, arguments = options.shared(made["training"], arguments)
    metadata = {"kind": kind, "config": made["config"], "training": training}
    save_safetensors(export, made["state"], metadata, dtype=options.torch_dtype)
    write_card(export, kind, training, out, arguments)
    typer.echo(f"wrote {export} and {export.with_suffix('.md')}")


def write_card(weights: Path, kind: str, training: Mapping[str, Any], out: Path, arguments: list[str]) -> None:
    """Write the card beside exported weights; `training` and `arguments` are written as they are."""
    from ltrp_bench.harness.training.training_folder import write_text
    from ltrp_bench.selectors.checkpoints import sha256_of

    # A training in several stages has a folder for each.
    stages = sorted(part.parent for part in out.glob("*/training.json")) or [out]
    lines = [
        f"# {weights.stem}",
        "",
        f"Weights of kind `{kind}`, sha256 `{sha256_of(weights)}`, {weights.stat().st_size:,} bytes.",
        "",
        "Made by (the same command makes them again):",
        "",
        f"    ltrp-bench {shlex.join(arguments)}",
        "",
        "| option | value |",
        "| --- | --- |",
        *[f"| {key} | {value} |" for key, value in sorted(training.items())],
        "",
    ]
    for stage in stages:
        title = "iteration" if stage == out else f"iteration of {stage.name}"
        lines += [f"| {title} | loss |", "| --- | --- |"]
        lines += [*[f"| {step} | {loss:.4f} |" for step, loss in loss_curve(stage)], ""]
    write_text(weights.with_suffix(".md"), "\n".join(lines))


def loss_curve(out: Path, points: int = 12) -> list[tuple[int, float]]:
    """(iteration, loss) from a training's logs, thinned to about `points`."""
    found: dict[int, float] = {}
    for log in sorted(out.glob("*/vis_data/*.json")):
        for line in log.read_text().splitlines():
            entry = json.loads(line) if line.startswith("{") else {}
            if "loss" in entry and "step" in entry:
                found[int(entry["step"])] = float(entry["loss"])
    steps = sorted(found)
    stride = max(1, len(steps) // points)
    return [(s, found[s]) for s in steps[stride - 1 :: stride]]
