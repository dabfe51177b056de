"""`ltrp-bench list selectors|tasks|categories` and `ltrp-bench data export`."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import typer

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
    split: str = typer.Argument("imagenet1k_coco80", help="A split that ships, shapes/0, shapes/1, or a CSV."),
) -> None:
    """Categories of a data set and whether a label set contains them: seen, unseen or narrow."""
    from ltrp_bench.tasks.categories import load_split

    found = load_split(split)
    width = max((len(name) for name in found.states), default=0)
    for name, state in found.states.items():
        reason = found.reasons.get(name, "")
        typer.echo(f"{name:{width}}  {state:6}  {reason}".rstrip())
    counts = Counter(found.states.values())
    text = ", ".join(f"{counts[state]} {state}" for state in ("seen", "unseen", "narrow") if counts[state])
    typer.echo(f"{len(found.states)} categories under {found.label_set}: {text}")


@export_app.command("shapes")
def export_shapes(
    out: Path = typer.Option(..., help="Folder to write to."),
    fold: int = typer.Option(0, min=0, max=1, help="Which half of the categories is labelled."),
    count: int = typer.Option(100, min=1, help="Pictures."),
    split: str = typer.Option("test", help="train, val or test."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """The built-in world as PNGs, masks and COCO json."""
    from ltrp_bench.tasks.data.shapes_export import export

    export(out, fold=fold, count=count, split=split)
    typer.echo(f"wrote {count} pictures to {out}")


def shipped_weights(room: str) -> list[str]:
    """Names of the weights files in a room, such as "ltrp.shapes"."""
    folder = Path(__file__).resolve().parent.parent / room / "weights"
    return sorted(path.name.removesuffix(".safetensors") for path in folder.glob("*.safetensors"))


def _print_points(group: str) -> None:
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    width = max((len(point.name) for point in points), default=0)
    for point in points:
        typer.echo(f"{point.name:{width}}  {point.value}")
    if not points:
        typer.echo(f"nothing is installed under the entry points {group!r}: reinstall ltrp-bench")
