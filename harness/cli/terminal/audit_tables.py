"""Tables of an audit for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ltrp_bench.harness.audit.audit import Report
    from ltrp_bench.harness.audit.measures import Mean


def contract_table(report: Report) -> Table:
    """One row per check of the interface: the requirement and whether it is met."""
    from ltrp_bench.selectors.contract import CHECKS

    info = report.selector.info
    title = f"{info.name} ({info.supervision_text}) on {len(report.image_ids)} images of {report.task.info.name}"
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left")
    for name in ("check", "requirement", "result", "detail"):
        table.add_column(name, no_wrap=name in ("check", "result"))
    styles = {"kept": "green", "broken": "bold red", "not checked": "dim"}
    for finding in report.findings:
        detail = finding.detail if finding.image is None else f"image {finding.image!r}: {finding.detail}"
        status = Text(finding.status, style=styles[finding.status])
        table.add_row(finding.check, CHECKS[finding.check], status, Text(detail))
    return table


def measures_table(report: Report) -> Table:
    """One row per measure: its value and what it means."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning")
    for row in _measures(report):
        table.add_row(*row)
    return table


def _measures(report: Report) -> Iterator[tuple[str, str, str]]:
    measures, cost = report.measures, report.cost
    if measures is None:
        yield "none", "-", "the selector gives no scores to measure"
        return
    yield "ties", f"{measures.ties:.4f}", "share of patches, in order of rank, that score as high as the next one"
    yield "constant images", f"{measures.constant:.4f}", "share of images whose patches all score the same"
    yield (
        "center bias",
        _mean(measures.center),
        "rank correlation of scores with closeness to the image center; 0: none",
    )
    for name, mean in measures.flips.items():
        yield f"{name} flip", _mean(mean), "rank correlation with the scores of the mirrored image; 1: invariant"
    for name, (rank, both) in measures.agreement.items():
        yield (
            f"agreement: {name}",
            _mean(rank),
            f"rank correlation; overlap of kept patches at r = 0.25: {_mean(both)} (chance: 0.25)",
        )
    if cost is not None:
        each = "one image at a time" if cost.batch == 1 else f"{cost.batch} images at a time"
        beside = f"{cost.model_images_per_second:.1f} of {cost.model}"
        yield "images/s", f"{cost.images_per_second:.1f}", f"compared with {beside}; {each} on {report.device}"
        yield "relative time", f"{cost.time_share:.3f}", f"time per image, divided by that of {cost.model}"
        share = f"{cost.gflops:.3g} GFLOPs, divided by {cost.model_gflops:.3g}; matrix products and convolutions only"
        yield "relative FLOPs", f"{cost.flops_share:.3f}", share


def _mean(mean: Mean) -> str:
    return "-" if mean.value is None or math.isnan(mean.value) else f"{mean.value:.4f}"
