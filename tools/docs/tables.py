"""Make the Markdown tables of docs/ from the CSV of `ltrp-bench leaderboard`.

    python tools/docs/tables.py curves leaderboard.csv --task coco-det --sort 0.5 [--column all]
    python tools/docs/tables.py intervals leaderboard.csv --task coco-det --sort 0.5
    python tools/docs/tables.py areas leaderboard.csv --task shapes-cls --label-set shapes-seen/0
    python tools/docs/tables.py folds folds.csv --task shapes-cls --sort 0.5    # CSV of `leaderboard --folds`

curves: one column at all keep ratios; intervals: all columns with 95 % intervals at one keep ratio; areas: the same for
the area under the curve; folds: seen / unseen, mean of both folds, and the gap.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd


def name_of(row: pd.Series) -> str:
    """Selector as in the leaderboard, with † where its training has seen categories of the unseen group."""
    label = row["selector_label"]
    name = str(row["selector"] if pd.isna(label) else label)
    return name if pd.isna(row["exposure"]) or row["exposure"] == "none" else f"{name} †"


def supervision_of(row: pd.Series) -> str:
    return {"none": "none", "self": "self"}.get(str(row["supervision"]), "labels")


def number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def interval(row: pd.Series, column: str, sign: str = "") -> str:
    """Value with its 95 % interval, or a dash where the leaderboard has none."""
    value, low, high = (row[column + part] for part in ("", "_low", "_high"))
    if pd.isna(value):
        return "–"
    return f"{value:{sign}.3f}" if pd.isna(low) else f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def rank(row: pd.Series, prefix: str = "") -> str:
    first, last = row[f"{prefix}rank"], row[f"{prefix}rank_last"]
    if pd.isna(first):
        return "–"
    return f"{first:.0f}" if first == last else f"{first:.0f}–{last:.0f}"


def print_table(columns: list[str], rows: Iterable[list[str]]) -> None:
    print("| " + " | ".join(columns) + " |")
    print("| " + " | ".join("---" for _ in columns) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of single keep ratios: those of areas have none."""
    return table[table["keep_ratio"].notna()]


def curves(table: pd.DataFrame, sort: float, column: str) -> None:
    wide = ratios(table).pivot_table(index="name", columns="keep_ratio", values=column, sort=False)
    wide = wide.drop(columns=1.0, errors="ignore").dropna(how="all").sort_values(sort, ascending=False)
    heads = [f"r = {wide.columns[0]:g}", *(f"{ratio:g}" for ratio in wide.columns[1:])]
    rows = ([name, *map(number, row)] for name, row in wide.iterrows())
    print_table(["selector", *heads], rows)


def intervals(table: pd.DataFrame, sort: float) -> None:
    rows = ratios(table)
    rows = rows[rows["keep_ratio"] == sort].sort_values("all", ascending=False)
    if rows["unseen"].isna().all():
        lines = [[row["name"], interval(row, "all"), rank(row)] for _, row in rows.iterrows()]
        print_table(["selector", str(rows["metric"].iloc[0]), "rank"], lines)
        return
    lines = []
    for _, row in rows.iterrows():
        groups = [number(row[column]) for column in ("seen", "unseen")]
        gaps = [interval(row, column, "+") for column in ("gap", "gap_adjusted")]
        lines.append([row["name"], interval(row, "all"), *groups, *gaps, rank(row)])
    print_table(["selector", "all", "seen", "unseen", "gap", "adj.", "rank"], lines)


def areas(table: pd.DataFrame) -> None:
    rows = table[table["keep_ratio"].isna()].sort_values("all", ascending=False)
    lines = []
    for _, row in rows.iterrows():
        values = [interval(row, column) for column in ("all", "seen", "unseen")]
        gaps = [interval(row, column, "+") for column in ("gap", "gap_adjusted")]
        lines.append([f"`{row['name']}`", supervision_of(row), *values, *gaps, rank(row), rank(row, "unseen_")])
    heads = ["selector", "supervision", "all", "seen", "unseen", "gap", "adjusted gap", "rank", "rank on unseen"]
    print_table(heads, lines)


def folds(table: pd.DataFrame, sort: float) -> None:
    rows = ratios(table)
    rows = rows[rows["complete"]]
    kept = sorted(rows["keep_ratio"].unique())
    order = rows[rows["keep_ratio"] == sort].assign(mean=lambda kept: kept["seen"] + kept["unseen"])
    lines = []
    for _, first in order.sort_values("mean", ascending=False).iterrows():
        own = rows[rows["name"] == first["name"]].set_index("keep_ratio")
        cells = [f"{own.loc[ratio, 'seen']:.3f} / {own.loc[ratio, 'unseen']:.3f}" for ratio in kept]
        gaps = (f"{own.loc[ratio, 'gap']:.3f}".replace("-0.000", "0.000").replace("-", "−") for ratio in kept)
        lines.append([str(first["name"]), str(first["supervision"]).split("/")[0], *cells, ", ".join(gaps)])
    print_table(["selector", "supervision", *(f"r = {ratio:g}" for ratio in kept), "gaps"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=["curves", "intervals", "areas", "folds"])
    parser.add_argument("csv", type=Path)
    parser.add_argument("--task", required=True, help="task, or its label in the sweep file")
    parser.add_argument("--label-set", help="label set of the seen categories, such as shapes-seen/0")
    parser.add_argument("--sort", type=float, default=0.25, help="keep ratio to sort by, or of the intervals")
    parser.add_argument("--column", default="all", help="column of `curves`: all, seen, unseen or gap")
    given = parser.parse_args()
    table = pd.read_csv(given.csv)
    table = table[
        (table["task"] == given.task) | (table["task_name"] == given.task) | (table["task_label"] == given.task)
    ]
    if given.label_set:
        table = table[table["split_by"] == given.label_set]
    if table.empty:
        parser.error(f"{given.csv}: no rows of {given.task}")
    if given.form != "areas" and given.sort not in set(table["keep_ratio"]):
        parser.error(f"{given.csv}: no rows of {given.task} at keep ratio {given.sort:g}")
    table = table.assign(name=[name_of(row) for _, row in table.iterrows()])
    table = table[table["name"] != "full"]
    match given.form:
        case "curves":
            curves(table, given.sort, given.column)
        case "intervals":
            intervals(table, given.sort)
        case "areas":
            areas(table)
        case "folds":
            folds(table, given.sort)


if __name__ == "__main__":
    main()
