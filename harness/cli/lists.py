"""`ltrp-bench list selectors|tasks|categories` and `ltrp-bench data export`."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ltrp_bench.selectors.errors import UsageError

if TYPE_CHECKING:
    from ltrp_bench.tasks.splits.split import CategorySplit

_WNIDS = 2  # of a category that a line of text shows

list_app = typer.Typer(no_args_is_help=True, help="Show what is installed.")
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
export_app = typer.Typer(no_args_is_help=True, help="Write a built-in data set to disk.")
data_app.add_typer(export_app, name="export")


@list_app.command("selectors")
def selectors() -> None:
    """Names for --selector, and the weights that ship."""
    # Entry points alone: loading every selector would take seconds.
    _print_points("ltrp_bench.selectors")
    if weights := shipped_weights("selectors"):
        typer.echo("weights that ship: " + ", ".join(weights))
    typer.echo("any other: --selector package.module:Class")


@list_app.command("tasks")
def tasks() -> None:
    """Names for --task."""
    _print_points("ltrp_bench.tasks")


@list_app.command("categories")
def categories(
    name: str | None = typer.Argument(None, metavar="[SPLIT]", help="A split that ships, or a CSV; as --split."),
    task: str | None = typer.Option(None, help="Show what this task takes if no --split is given."),
    split: str | None = typer.Option(None, metavar="FILE", help="Your own CSV, or a split that ships."),
    as_json: bool = typer.Option(False, "--json", help="All of it, with every wnid, as JSON."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Categories of a data set and whether a label set contains them: seen, narrow or unseen, and why."""
    from ltrp_bench.tasks.splits.split import load_split, shipped_splits

    if name is not None and split is not None:
        raise UsageError(f"two splits: {name} and --split {split}; give one")
    note, chosen = "", split if split is not None else name
    if task is not None:
        from ltrp_bench.tasks.registry import default_split

        own, note = default_split(task)  # a wrong task is an error with --split too
        if chosen is None and own is None:
            raise UsageError(f"{task}: {note}; give --split FILE, or one of {', '.join(shipped_splits())}")
        chosen, note = (own, note) if chosen is None else (chosen, "")
    chosen = chosen or "imagenet1k_coco80"
    found = load_split(chosen)
    typer.echo(_split_json(found, task, chosen) if as_json else _split_text(found))
    if note:
        typer.echo(f"note: {note}", err=True)


def _split_text(split: CategorySplit) -> str:
    """A line a category, the numbers of each state last."""
    width = max((len(name) for name in split.states), default=0)
    lines = []
    for name, state in split.states.items():
        wnids = split.wnids.get(name, ())
        shown = " ".join(wnids[:_WNIDS]) + (f" +{len(wnids) - _WNIDS}" if len(wnids) > _WNIDS else "")
        lines.append(f"{name:{width}}  {state:6}  {shown:{10 * _WNIDS + 4}}  {split.reasons.get(name, '')}".rstrip())
    text = ", ".join(f"{count} {state}" for state, count in split.counts().items())
    return "\n".join([*lines, f"{len(split.states)} categories under {split.label_set}: {text}"])


def _split_json(split: CategorySplit, task: str | None, name: str) -> str:
    listed = [
        {
            "category": category,
            "state": state,
            "wnids": list(split.wnids.get(category, ())),
            "reason": split.reasons.get(category, ""),
        }
        for category, state in split.states.items()
    ]
    whole = {"task": task, "split": name, "label_set": split.label_set, "counts": split.counts(), "categories": listed}
    return json.dumps(whole, indent=1, ensure_ascii=False)


@export_app.command("shapes")
def export_shapes(
    out: Path = typer.Option(..., help="Folder to write to."),
    fold: int = typer.Option(0, min=0, max=1, help="Which half of the categories is labelled."),
    count: int = typer.Option(100, min=1, help="Pictures."),
    split: str = typer.Option("test", help="train, val or test."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """The built-in world as PNGs, masks and COCO json."""
    from ltrp_bench.tasks.data.shapes.export import export

    export(out, fold=fold, count=count, split=split)
    typer.echo(f"wrote {count} images to {out}")


def shipped_weights(room: str) -> list[str]:
    """Names of the weights files in a room, such as "ltrp.shapes"."""
    folder = Path(__file__).resolve().parents[2] / room / "weights"
    return sorted(path.name.removesuffix(".safetensors") for path in folder.glob("*.safetensors"))


def _print_points(group: str) -> None:
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    width = max((len(point.name) for point in points), default=0)
    for point in points:
        typer.echo(f"{point.name:{width}}  {point.value}")
    if not points:
        typer.echo(f"nothing is installed under the entry points {group!r}: reinstall ltrp-bench")
