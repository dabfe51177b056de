"""Tables of `ltrp-bench power`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

_TASK: Final = ["task_name", "reduction", "metric"]


def power_tables(frame: pd.DataFrame, alpha: float, power: float) -> Group:
    """A table for each task, reduction and metric, at most 80 columns wide, and lines about what its columns mean.

    Args:
        frame: what `comparison.power.power_table` returned.
        alpha: level of the test.
        power: power of the test.
    """
    shown: list[RenderableType] = []
    difference = float(frame["difference"].iloc[0])
    for key, part in frame.groupby(_TASK, sort=False):
        shown.append(Text(", ".join(map(str, key)), style="bold"))
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        titles = ("keep", "group", "pairs", "images", "standard error", "detectable", f"images for {difference:g}")
        for title in titles:
            table.add_column(title, justify="left" if title == "group" else "right", no_wrap=True)
        for row in part.to_dict("records"):
            table.add_row(
                *(f"{row['keep_ratio']:g}", str(row["group"]), str(row["pairs"]), str(row["images"])),
                *(f"{row[name]:.4f} ({row[f'{name}_max']:.4f})" for name in ("error", "detectable")),
                f"{row['needed']:,.0f} ({row['needed_max']:,.0f})",
            )
        shown.append(table)
    lines = (
        f"median pair of selectors (pair with the largest error); two-sided test at {alpha:g}, power {power:g}",
        "detectable: smallest difference that this number of images tells (docs/statistics.md)",
    )
    return Group(*shown, *(Text(line, style="dim") for line in lines))
