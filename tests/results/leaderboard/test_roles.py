"""Roles: stored ones first, else those of the built-in selectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, Role, SelectorRoles
from ltrp_bench.results.report.style import legend_order
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.selectors.registry import create_selector, selector_names

MakeRecord = Callable[..., CellRecord]


class Store:
    """Provenance by fingerprint."""

    def __init__(self, provenance: dict[str, dict[str, Any]]) -> None:
        self.provenance = provenance

    def read_provenance(self, fingerprint: str) -> dict[str, Any]:
        return self.provenance.get(fingerprint, {})


def test_built_in_roles() -> None:
    found = {name: BUILT_IN_ROLES.role(name) for name in selector_names()}
    assert {name: role for name, role in found.items() if role != "method"} == {
        **{"full": "reference", "oracle": "reference"},
        **{"random": "control", "center": "control", "variance": "control", "downsample": "control"},
    }
    assert [name for name in selector_names() if BUILT_IN_ROLES.keeps_every_patch(name)] == ["full"]
    assert BUILT_IN_ROLES.role("package.module:Class") == "method"
    assert BUILT_IN_ROLES.is_reference("oracle") and not BUILT_IN_ROLES.is_reference("random")


@pytest.mark.parametrize("name", ["full", "oracle", "random", "center", "variance", "downsample", "edge-energy"])
def test_the_table_agrees_with_the_selectors(name: str) -> None:
    selector = create_selector(name)
    assert BUILT_IN_ROLES.role(name) == selector.role
    assert BUILT_IN_ROLES.keeps_every_patch(name) == selector.keeps_every_patch


@pytest.mark.parametrize(
    ("stored", "role"), [({"role": "control"}, "control"), ({"role": "boss"}, "method"), ({}, "method")]
)
def test_stored_roles(make_record: MakeRecord, stored: dict[str, Any], role: Role) -> None:
    record, full = make_record("mine:M"), make_record("full", 1.0)
    roles = SelectorRoles.read([record, full], Store({record.fingerprint: stored}))
    assert roles.role("mine:M") == role and roles.role("full") == "reference"
    assert not roles.keeps_every_patch("mine:M") and roles.keeps_every_patch("full")


def test_a_stored_control_follows_the_methods_in_legends(make_record: MakeRecord) -> None:
    record = make_record("a:Noise")
    roles = SelectorRoles.read([record], Store({record.fingerprint: {"role": "control"}}))
    names = ["a:Noise", "b:Method", "ltrp", "random"]
    assert legend_order(names, roles) == ["ltrp", "b:Method", "random", "a:Noise"]
    assert legend_order(names) == ["ltrp", "a:Noise", "b:Method", "random"]


def test_a_stored_selector_that_keeps_every_patch_lacks_no_keep_ratio(make_record: MakeRecord) -> None:
    records = [make_record("ltrp", 0.25), make_record("ltrp", 0.5), make_record("all:Patches", 1.0)]
    roles = SelectorRoles.read(records, Store({records[2].fingerprint: {"keeps_every_patch": True}}))
    assert aggregate_cells(records, roles=roles)["complete"].tolist() == [True, True, True]
    assert aggregate_cells(records)["complete"].tolist() == [False, True, False, True, True, False]


def test_a_stored_reference_is_not_ranked(world: Any) -> None:
    for name in ("ltrp", "random", "bound:B"):
        record = world.cell(name, 0.5, 0.5)
    path = world.store.provenance_path(record.fingerprint)
    assert load_leaderboard(world.store.root).frame["rank"].notna().tolist() == [True, True, True]
    path.write_text('{"role": "reference"}')
    leaderboard = load_leaderboard(world.store.root)
    frame = leaderboard.frame.set_index("selector")
    assert frame["rank"].notna().to_dict() == {"bound:B": False, "ltrp": True, "random": True}
    assert leaderboard.roles.role("bound:B") == "reference"
    assert set(leaderboard.pairs["first"]) | set(leaderboard.pairs["second"]) == {"ltrp", "random"}
