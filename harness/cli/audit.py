"""`ltrp-bench audit`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ltrp_bench.selectors.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from ltrp_bench.harness.audit.audit import Report
    from ltrp_bench.harness.audit.measures import Mean

_OTHERS = ("random", "center", "variance", "oracle")
"""Selectors whose agreement is always measured."""

_NO_COST = "none"


def audit(
    selector: str = typer.Argument(metavar="SELECTOR", help="A name, a tag, or package.module:Class."),
    weights: list[str] = typer.Option([], metavar="FILE | NAME=FILE", help="Its weights, or another's; repeat."),
    selector_option: list[str] = typer.Option(
        [], metavar="key=value | NAME.key=value", help="An option of its, or of another's; repeat."
    ),
    task: str | None = typer.Option(None, help="Whose images.  [default: shapes-coverage, coco-coverage with --data]"),
    data: str | None = typer.Option(None, metavar="DIR", help="Photographs: a data set in COCO's format."),
    task_option: list[str] = typer.Option([], metavar="key=value", help="Option of the task; repeat."),
    images: int = typer.Option(32, min=8, help="The first so many images."),
    against: list[str] = typer.Option([], metavar="NAME", help="Another selector to compare scores with; repeat."),
    cost_model: str | None = typer.Option(
        None,
        metavar="NAME",
        help="What the cost is a share of: shapes-detector, a timm model, or none.  "
        "[default: shapes-detector; vit_base_patch16_224 on photographs]",
    ),
    json_file: Path | None = typer.Option(None, "--json", metavar="FILE", help="Write all of it to this file."),
    batch_size: int = typer.Option(16, min=1, help="Images at a time on a GPU, where the cost is measured."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Hold a selector to the contract, and measure ties, centre bias, mirror images, cost and agreement.

    Exit code 1 if the contract is broken.
    """
    from ltrp_bench.harness.audit.audit import AuditOptions
    from ltrp_bench.harness.audit.audit import audit as audit_selector
    from ltrp_bench.harness.audit.cost import DEFAULT, check_model
    from ltrp_bench.harness.cli.progress import console
    from ltrp_bench.harness.evaluation.environment import provenance, usable_device
    from ltrp_bench.harness.evaluation.options import Request, SweepOptions
    from ltrp_bench.harness.evaluation.request import resolve_request
    from ltrp_bench.results.schema.atomic_io import atomic_write

    place = usable_device(device)
    names = tuple(dict.fromkeys([selector, *_OTHERS, *against]))
    whose = task or ("coco-coverage" if data is not None else "shapes-coverage")
    if cost_model not in (None, _NO_COST):
        check_model(str(cost_model))
    options = SweepOptions(batch_size=batch_size, device=place)
    request = Request(
        selectors=names,
        tasks=(whose,),
        weights=tuple(_weights_of(text, selector, names) for text in weights),
        selector_options=tuple(_option_of(text, selector) for text in selector_option),
        data=() if data is None else (data,),
        task_options=tuple(task_option),
        device=place,
        batch_size=options.effective_batch_size,
    )
    with console(stderr=True).status("building") as status:
        pairs = resolve_request(request, lambda line: typer.echo(f"note: {line}", err=True))
        entry, task_entry = pairs[0]
        model = DEFAULT[task_entry.task.domain] if cost_model is None else cost_model
        report = audit_selector(
            entry,
            [other for other, _ in pairs[1:]],
            task_entry,
            AuditOptions(
                images=images,
                device=place,
                batch_size=options.effective_batch_size,
                cost_model=None if model == _NO_COST else model,
            ),
            status.update,
            provenance(place)(),
        )
    console().print(contract_table(report))
    console().print(measures_table(report))
    if json_file is not None:
        text = json.dumps(report.json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        atomic_write(json_file, text.encode())
    for finding in report.broken:
        typer.echo(f"contract broken: {finding.check}, on image {finding.image!r}: {finding.detail}", err=True)
    if report.broken:
        raise typer.Exit(1)


def _weights_of(text: str, selector: str, names: Sequence[str]) -> str:
    """ "NAME=FILE"; a file alone is the audited selector's."""
    name, equals, _ = text.partition("=")
    return text if equals and name in names else f"{selector}={text}"


def _option_of(text: str, selector: str) -> str:
    """ "NAME.key=value"; "key=value" alone is the audited selector's."""
    key, equals, _ = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--selector-option {text}: write key=value or NAME.key=value")
    return text if "." in key else f"{selector}.{text}"


def contract_table(report: Report) -> Table:
    """Each check, what must hold, and whether it does."""
    from rich.table import Table
    from rich.text import Text

    from ltrp_bench.selectors.contract import CHECKS

    info = report.selector.info
    title = f"{info.name} ({info.supervision_text}) on {len(report.image_ids)} images of {report.task.info.name}"
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left")
    for name in ("contract", "what must hold", "", "detail"):
        table.add_column(name, no_wrap=name == "contract")
    styles = {"kept": "green", "broken": "bold red", "not checked": "dim"}
    for finding in report.findings:
        detail = finding.detail if finding.image is None else f"image {finding.image!r}: {finding.detail}"
        status = Text(finding.status, style=styles[finding.status])
        table.add_row(finding.check, CHECKS[finding.check], status, Text(detail))
    return table


def measures_table(report: Report) -> Table:
    """Each measure, its value and how to read it."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("how to read it")
    for row in _measures(report):
        table.add_row(*row)
    return table


def _measures(report: Report) -> Iterator[tuple[str, str, str]]:
    measures, cost = report.measures, report.cost
    if measures is None:
        yield "none", "-", "it gives no scores to measure"
        return
    yield "ties", f"{measures.ties:.4f}", "share of neighbouring ranks with equal scores"
    yield "constant images", f"{measures.constant:.4f}", "share of images whose patches all score the same"
    yield "centre bias", _mean(measures.center), "rank correlation with nearness to the centre; 0: none"
    for name, mean in measures.flips.items():
        yield f"{name} flip", _mean(mean), "rank correlation with the mirror image's scores; 1: invariant"
    for name, (rank, both) in measures.agreement.items():
        yield f"agreement: {name}", _mean(rank), f"rank correlation; overlap at r = 0.25: {_mean(both)} (chance 0.25)"
    if cost is not None:
        each = "one image at a time" if cost.batch == 1 else f"{cost.batch} images at a time"
        beside = f"{cost.model_images_per_second:.1f} of {cost.model}"
        yield "images/s", f"{cost.images_per_second:.1f}", f"beside {beside}, {each} on {report.device}"
        yield "share of its time", f"{cost.time_share:.3f}", f"time by that of {cost.model}"
        share = f"{cost.gflops:.3g} GFLOPs by {cost.model_gflops:.3g}; matrix products and convolutions alone count"
        yield "share of its FLOPs", f"{cost.flops_share:.3f}", share


def _mean(mean: Mean) -> str:
    return "-" if mean.value is None or math.isnan(mean.value) else f"{mean.value:.4f}"
