"""The lines of `ltrp-bench list` against the selectors and tasks themselves."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points

import pytest

from ltrp_bench.harness.cli.zoo.descriptions import DATA, FAMILIES, SELECTORS
from ltrp_bench.selectors.base import Selector, Supervision
from ltrp_bench.selectors.registry import shipped_tags
from ltrp_bench.selectors.zoo.table import checkpoints_of

OURS = {
    group: {p.name: p for p in entry_points(group=f"ltrp_bench.{group}") if p.value.startswith("ltrp_bench.")}
    for group in ("selectors", "tasks")
}


def test_every_selector_and_task_of_ours_has_its_line() -> None:
    assert SELECTORS.keys() == OURS["selectors"].keys()
    parts = [name.rpartition("-") for name in OURS["tasks"]]
    assert {data for data, _, _ in parts} == DATA.keys() and {family for _, _, family in parts} == FAMILIES.keys()


@pytest.mark.parametrize("name", SELECTORS)
def test_a_line_says_what_the_class_says(name: str) -> None:
    line, factory = SELECTORS[name], OURS["selectors"][name].load()
    assert line.family == (factory.weights_family if shipped_tags(name) else "")
    weights = inspect.signature(factory).parameters.get("weights")
    assert line.weights == (weights is not None and weights.default is inspect.Parameter.empty)
    declared = getattr(factory, "supervision", None)
    if isinstance(declared, Supervision) and declared is not getattr(Selector, "supervision", None):
        assert line.trained == declared.kind
    for published in checkpoints_of(name):
        trained = published.supervision if published.supervision in ("self", "captions") else "labels"
        assert line.trained in (trained, "none")
