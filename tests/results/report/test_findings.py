"""Findings: three sentences, from tables made by hand."""

from __future__ import annotations

import math
from typing import Any

from ltrp_bench.results.report.findings import findings

NAN = math.nan
UNTOLD = "What these results do not tell: how the selectors do on other data, models and keep ratios."


def row(selector: str, ranks: tuple[float, float] = (NAN, NAN), **values: Any) -> dict[str, Any]:
    """A row; `ranks` are the first and the last."""
    return {
        **{"task": "coco-det", "task_id": "t", "reduction": "fill", "metric": "AP", "keep_ratio": 0.25},
        **{"selector": selector, "selector_id": selector, "complete": True, "all": 0.5, "gap": 0.1},
        **{"rank": ranks[0], "rank_last": ranks[1], "exposure": "none"},
        "ratios": f"{values.get('keep_ratio', 0.25):g}",
        **values,
    }


def unseen(first: float, last: float) -> dict[str, float]:
    return {"unseen_rank": first, "unseen_rank_last": last}


def gap(low: float, high: float) -> dict[str, float]:
    return {"gap_adjusted": (low + high) / 2, "gap_adjusted_low": low, "gap_adjusted_high": high}


def test_a_leader_everywhere_and_gaps_on_both_sides() -> None:
    rows = []
    for ratio in (0.25, 0.5):
        at = {"keep_ratio": ratio}
        rows += [
            row("ltrp", (1, 1), **unseen(1, 1), **gap(-0.2, -0.1), **at),
            row("evit", (2, 2), **unseen(3, 4), **gap(0.1, 0.2), **at),
            row("tome", (3, 3), **unseen(2, 2), **gap(-0.1, 0.1), **at),
            row("center", (4, 4), **unseen(3, 4), **gap(0.1, 0.1), **at),
            row("oracle", **at),
        ]
    # Areas and whole images are no tables.
    rows += [row("evit", (1, 1), keep_ratio=NAN), row("evit", (1, 1), keep_ratio=1.0), row("full", keep_ratio=1.0)]
    where = "coco-det at every keep ratio"
    assert findings(rows) == (
        f"Beyond chance, ltrp leads on {where}; on unseen categories, ltrp leads on {where}.",
        f"The gap between seen and unseen categories is larger than the controls' for evit ({where}), and smaller than "
        f"the controls' for ltrp ({where}); for no other selector does it differ from theirs beyond chance.",
        UNTOLD,
    )


def test_everybody_tied() -> None:
    rows = [row(name, (1, 3), **unseen(1, 3), **gap(-0.1, 0.1)) for name in ("ltrp", "evit", "random")]
    assert findings(rows) == (
        "No selector leads beyond chance, on all categories or on unseen ones: in every table, several may be first.",
        "The gap between seen and unseen categories differs from the controls' (variance and center) beyond chance for "
        "no selector.",
        "What cannot be told: who leads here, where ltrp, evit and random (a control) may be first.",
    )


def test_a_selector_alone() -> None:
    first, second, third = findings([row("ltrp"), row("full", keep_ratio=1.0), row("oracle")])
    assert first == "Nothing is compared: there are results of fewer than two selectors that are ranked."
    assert second == "No gap can be compared with the controls': the controls variance and center were not measured."
    assert third == UNTOLD


def test_no_rows() -> None:
    assert findings([])[0].startswith("Nothing is compared") and findings([])[2] == UNTOLD


def test_without_intervals() -> None:
    rows = [row(name, gap_adjusted=0.1) for name in ("ltrp", "evit", "variance", "center")]
    chance = "cannot be told: without intervals, any difference may be chance."
    assert findings(rows) == (
        f"Who leads {chance}",
        f"Whose gap is beyond the controls' {chance}",
        "What cannot be told: whether a difference is more than chance.",
    )


def test_nothing_unseen() -> None:
    split = {"split_by": "imagenet1k", "seen_categories": 80.0, "unseen_categories": 0.0}
    rows = [row(name, ranks, gap=NAN, **split) for name, ranks in (("ltrp", (1, 1)), ("evit", (2, 2)))]
    assert findings(rows) == (
        "Beyond chance, ltrp leads on coco-det at keep ratio 0.25; no ranks on unseen categories are known.",
        "No gap is measured: no category is unseen, so there is no unseen value and no gap.",
        UNTOLD,
    )


def test_exposed_and_incomplete_rows() -> None:
    rows = [
        row("ltrp", (1, 1), **unseen(1, 1), **gap(-0.1, 0.1)),
        row("evit", (2, 2), exposure="exposed", gap_adjusted=NAN),
        row("clip", (3, 3), exposure="open"),
        row("center", (4, 4), **unseen(2, 2)),
        row("random", complete=False, all=NAN),
    ]
    first, _, third = findings(rows)
    assert first.endswith("on unseen categories, ltrp leads on coco-det at keep ratio 0.25.")
    assert third == (
        "What cannot be told: how evit and clip do on what is new to them, since their labels contain, or may contain, "
        "categories called unseen; what 1 incomplete row would show."
    )
    # All that could be compared are exposed.
    rows = [row("evit", exposure="exposed"), row("variance"), row("center")]
    assert findings(rows)[1].endswith("all other selectors may have been shown what is unseen.")


def test_several_tasks_and_metrics() -> None:
    rows = []
    for metric, leader in (("AP", "ltrp"), ("AR", "evit")):
        for name in ("ltrp", "evit"):
            rank = 1.0 if name == leader else 2.0
            rows.append(row(name, (rank, rank), **unseen(1, 2), metric=metric))
    assert findings(rows)[0] == (
        "Beyond chance, ltrp leads on coco-det (AP) at keep ratio 0.25 and evit leads on coco-det (AR) at keep ratio "
        "0.25; on unseen categories, none does."
    )
    # Of many tasks, tables are counted; controls are called so.
    rows = []
    for task in range(5):
        own = {"task": f"task {task}", "task_id": str(task), **unseen(1, 2)}
        leads = task < 2
        rows += [row("center", (1, 1) if leads else (1, 2), **own), row("ltrp", (2, 2) if leads else (1, 2), **own)]
    first, _, third = findings(rows)
    assert first == "Beyond chance, center (a control) leads in 2 of 5 tables; on unseen categories, none does."
    assert third == "What cannot be told: who leads in 3 of 5 tables, where center (a control) and ltrp may be first."


def test_tasks_without_controls_are_named_where_others_have_them() -> None:
    rows = [row(name, **gap(0.1, 0.2)) for name in ("evit", "variance", "center")]
    other = [row(name, task="coco-cls", task_id="c") for name in ("evit", "center")]
    clause = "whose gap is beyond the controls' on coco-cls, where the control variance was not measured"
    assert clause in findings([*rows, *other])[2]
    assert clause not in findings([*rows, *other, row("variance", task="coco-cls", task_id="c")])[2]
    # Without any adjusted gap, the second sentence says so.
    assert clause not in findings(other)[2] and "the control variance was not measured" in findings(other)[1]


def test_few_unseen_categories() -> None:
    few = {"split_by": "imagenet1k", "seen_categories": 10.0, "unseen_categories": 2.0}
    rows = [row(name, ranks, **few) for name, ranks in (("ltrp", (1, 1)), ("evit", (2, 2)))]
    assert findings(rows)[2] == (
        "What cannot be told: much about unseen categories on coco-det, which has few of them."
    )
