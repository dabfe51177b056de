"""What a dry run says of a sweep: right numbers of what is left, and nothing written."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.cell_writer import CellWriter
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, plan
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.harness.sweeps.forecast import CELL_BYTES, GroupForecast, forecast
from ltrp_bench.results.store.run_store import RunStore

IMAGES = 100  # two spans, of 64 and 36 images


def groups_of(*ratios: float) -> list[CellGroup]:
    request = Request(selectors=("variance",), tasks=("shapes-coverage",), shared={"limit": IMAGES})
    return plan(resolve_request(request, pytest.fail), ratios, [0], pytest.fail)


def numbers(one: GroupForecast) -> tuple[object, ...]:
    return one.done, one.open, one.left, one.held, one.scored, one.tried


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A run folder in which keep ratio 0.5 is finished, at known costs."""
    store = RunStore(tmp_path / "runs")
    (group,) = groups_of(0.5)
    toy.sweep(store.root, groups=[group])
    cost = {"selector_ms": 3.0, "selector_gflops": 0.0, "model_ms": 2.0}
    about(store, group, {"machine": platform.node(), "device": "cpu", "cost": cost})
    return store


def about(store: RunStore, group: CellGroup, provenance: dict[str, Any]) -> None:
    """Change the provenance of the one cell of a group."""
    path = store.provenance_path(group.cells[0].fingerprint)
    path.write_text(json.dumps({**json.loads(path.read_text()), **provenance}))


def test_a_new_folder_is_tried_on_a_few_images_and_not_made(tmp_path: Path) -> None:
    found = forecast(groups_of(0.25, 0.5), RunStore(tmp_path / "new"), SweepOptions())
    (one,) = found.groups
    assert numbers(one) == ((), (0.25, 0.5), IMAGES, 0, 0, True) and one.images == IMAGES
    assert one.seconds > 0 and found.reading > 0 and found.seconds == found.reading + one.seconds
    # Scores are 144 patches of 4 bytes an image.
    assert one.bytes > 4 * 144 * IMAGES + 2 * CELL_BYTES
    assert list(tmp_path.iterdir()) == []


def test_costs_of_finished_cells(store: RunStore) -> None:
    before = sorted(store.root.rglob("*"))
    (one,) = forecast(groups_of(0.25, 0.5), store, SweepOptions()).groups
    assert numbers(one) == ((0.5,), (0.25,), IMAGES, 0, IMAGES, False)
    assert one.seconds == pytest.approx(IMAGES * 0.002)  # the scores are cached
    shutil.rmtree(store.root / "scores")
    (one,) = forecast(groups_of(0.25, 0.5), store, SweepOptions()).groups
    assert one.scored == 0 and one.seconds == pytest.approx(IMAGES * (0.003 + 0.002))
    assert sorted(store.root.rglob("*")) == [path for path in before if "scores" not in path.parts]


@pytest.mark.parametrize("other", [{"machine": "another"}, {"device": "cuda (H100)"}, {"cost": {}}])
def test_costs_of_other_machines_do_not_count(store: RunStore, other: dict[str, Any]) -> None:
    about(store, groups_of(0.5)[0], other)
    (one,) = forecast(groups_of(0.25, 0.5), store, SweepOptions()).groups
    assert numbers(one) == ((0.5,), (0.25,), IMAGES, 0, IMAGES, True)


def test_rows_on_disk_are_not_evaluated_again(store: RunStore) -> None:
    (group,) = groups_of(0.5)
    fingerprint = group.cells[0].fingerprint
    rows = store.read_images(fingerprint)
    store.cell_path(fingerprint).unlink()
    writer = CellWriter(group, store, skip_unreadable=False)
    writer.write_span((0, 64), {fingerprint: dict(list(rows.items())[:64])}, {})
    (one,) = forecast([group], store, SweepOptions()).groups
    assert numbers(one)[:5] == ((), (0.5,), 36, 64, IMAGES)


def test_nothing_left(store: RunStore) -> None:
    found = forecast(groups_of(0.5), store, SweepOptions())
    (one,) = found.groups
    assert numbers(one) == ((0.5,), (), 0, 0, IMAGES, False)
    assert (one.seconds, one.bytes, found.reading) == (0, 0, 0)
