"""`ltrp-bench list selectors`, `list tasks`, `list suites`, `list label-sets` and `list categories`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import typer

from ltrp_bench.harness.cli.terminal.messages import print_note, print_wrapped
from ltrp_bench.harness.cli.zoo.descriptions import DATA, FAMILIES, SELECTORS
from ltrp_bench.selectors.errors import UsageError

if TYPE_CHECKING:
    from ltrp_bench.tasks.splits.split import CategorySplit

DEFAULT_SPLIT: Final = "imagenet1k_coco80"

_WNIDS_SHOWN = 2  # ImageNet ids per category in the table


def list_selectors() -> None:
    """List names for --selector, and bundled weights."""
    rows = [_selector_row(point.name, point.value) for point in _entry_points("ltrp_bench.selectors")]
    _print_rows(("name", "trained with", "weights", "ranks by"), rows)
    typer.echo()
    print_wrapped("labels: those of the weights (docs/label-sets.md); control: docs/terms.md; weights -: none needed")
    print_wrapped(
        "shipped: for the domains of the bundled weights; for others, as where needed, give --weights: "
        "`ltrp-bench weights list` shows official ones"
    )
    if weights := bundled_weights("selectors"):
        print_wrapped("bundled weights: " + ", ".join(weights))
    print_wrapped("your own: --selector package.module:Class")
    print_wrapped(
        "oracle ranks by ground truth: the ceiling of coverage over all objects, oracle.GROUP that of a group (seen, "
        "unseen, a size, a category); for tasks with a model it is no bound"
    )


def list_tasks() -> None:
    """List names for --task, and what each needs."""
    rows = [_task_row(point.name, point.value) for point in _entry_points("ltrp_bench.tasks")]
    _print_rows(("name", "data", "model", "measures"), rows)
    typer.echo()
    print_wrapped(
        "give the folder of the data with --data (docs/tasks/data.md), a model with --model and --model-weights: "
        "`ltrp-bench weights list TASK` shows official ones; docs/tasks.md says how each metric is measured"
    )


def list_suites() -> None:
    """List sweeps that ship with the package, for `run --config`."""
    from ltrp_bench.harness.sweeps.suites import suite_names, suite_title

    names = suite_names()
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{name:{width}}  {suite_title(name)}")


def list_label_sets() -> None:
    """List label sets, what each contains, and the lists of categories that it splits."""
    from ltrp_bench.tasks.splits.label_sets import LABEL_SETS, lists_split_by

    rows = [("name", "label set", "classes", "contains", "splits of")]
    for one in LABEL_SETS.values():
        classes = "open" if one.kind == "open" else f"{one.classes:,}"
        # Every label set of photographs splits `shapes` (all unseen), and the reverse.
        drawn = one.name.startswith("shapes-")
        splits = ", ".join(name for name in lists_split_by(one.name) if drawn == (name == "shapes")) or "-"
        rows.append((one.name, one.title, classes, ", ".join(one.contains) or "-", splits))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        name, title, classes, inner = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        typer.echo(f"{name}  {title}  {classes.strip():>{widths[2]}}  {inner}  {row[4]}")
    typer.echo("what an open label set has shown cannot be known; one split: list categories imagenet21k_coco80")


@dataclass(frozen=True, kw_only=True)
class CategoryOptions:
    """Split of categories to show."""

    name: str | None = field(
        default=None,
        metadata={
            "help": "Name of a bundled split, or path to a CSV; the same as --split.",
            "metavar": "[SPLIT]",
            "argument": True,
        },
    )
    task: str | None = field(default=None, metadata={"help": "Show the split that this task uses by default."})
    split: str | None = field(
        default=None,
        metadata={
            "help": f"Name of a bundled split, or path to a CSV; {DEFAULT_SPLIT} by default.",
            "metavar": "FILE",
        },
    )
    as_json: bool = field(
        default=False, metadata={"help": "Print JSON, with every ImageNet id (wnid).", "flag": "--json"}
    )


def list_categories(options: CategoryOptions) -> None:
    """List categories with their state: seen, narrow or unseen in the label set of a selector's training, and why."""
    from ltrp_bench.tasks.splits.label_sets import implied_split
    from ltrp_bench.tasks.splits.split import load_split

    if options.name is not None and options.split is not None:
        raise UsageError(f"two splits: {options.name} and --split {options.split}; give one")
    note, chosen = "", options.split if options.split is not None else options.name
    if options.task is not None:
        from ltrp_bench.tasks.registry import default_split

        default, about = default_split(options.task)  # checks the task's name, also where --split is given
        if chosen is None:
            chosen, note = default, about
        if chosen is None:
            raise UsageError(f"{options.task}: {note}; give --split FILE, or a name of `ltrp-bench list label-sets`")
    chosen = chosen or DEFAULT_SPLIT
    split = implied_split(chosen) if isinstance(chosen, str) else None
    split = split or load_split(chosen)
    typer.echo(_split_json(split, options.task, chosen) if options.as_json else _split_table(split))
    if note:
        print_note(note)


def _split_table(split: CategorySplit) -> str:
    """One line per category, then the number of categories in each state."""
    width = max((len(name) for name in split.states), default=0)
    wnids_width = 10 * _WNIDS_SHOWN + 4
    lines = []
    for name, state in split.states.items():
        wnids = split.wnids.get(name, ())
        hidden = len(wnids) - _WNIDS_SHOWN
        shown = " ".join(wnids[:_WNIDS_SHOWN]) + (f" +{hidden}" if hidden > 0 else "")
        lines.append(f"{name:{width}}  {state:6}  {shown:{wnids_width}}  {split.reasons.get(name, '')}".rstrip())
    counts = ", ".join(f"{count} {state}" for state, count in split.counts().items())
    return "\n".join([*lines, f"{len(split.states)} categories under {split.label_set}: {counts}"])


def _split_json(split: CategorySplit, task: str | None, name: str) -> str:
    categories = [
        {
            "category": category,
            "state": state,
            "wnids": list(split.wnids.get(category, ())),
            "reason": split.reasons.get(category, ""),
        }
        for category, state in split.states.items()
    ]
    content = {
        "task": task,
        "split": name,
        "label_set": split.label_set,
        "counts": split.counts(),
        "categories": categories,
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _entry_points(group: str) -> list[EntryPoint]:
    """Those of a group by name. They are not loaded: importing every selector would take seconds."""
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    if not points:
        typer.echo(f"no entry points {group!r} are installed: reinstall ltrp-bench")
    return points


def _selector_row(name: str, value: str) -> tuple[str, ...]:
    line = SELECTORS.get(name)
    if line is None or not value.startswith("ltrp_bench."):
        return name, "", "", value
    families = {tag.partition(".")[0] for tag in bundled_weights("selectors")}
    weights = "shipped" if line.family in families else "needed" if line.weights else "-"
    return name, line.trained, weights, line.text


def _task_row(name: str, value: str) -> tuple[str, ...]:
    data, _, family = name.rpartition("-")
    if family not in FAMILIES or data not in DATA or not value.startswith("ltrp_bench."):
        return name, "", "", value
    model, measures = FAMILIES[family]
    return name, DATA[data], "shipped" if data == "shapes" and model != "none" else model, measures


def _print_rows(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their cells, the first line their titles."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def bundled_weights(room: Literal["selectors", "tasks"]) -> list[str]:
    """Names of bundled weights files, such as "ltrp.shapes", in alphabetical order."""
    folder = Path(__file__).resolve().parents[2] / room / "weights"
    return sorted(path.name.removesuffix(".safetensors") for path in folder.glob("*.safetensors"))
