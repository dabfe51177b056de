"""Which records of one fingerprint agree, and how far they are apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.store.cell_replicates import disagreement, replicate_store, spread
from ltrp_bench.results.store.run_store import RunStore

MakeRecord = Callable[..., CellRecord]


def _changed(record: CellRecord, metric: str, group: str, category: str | None, **changes: Any) -> CellRecord:
    key = metric, group, category
    rows = [replace(r, **changes) if (r.metric, r.group, r.category) == key else r for r in record.metrics]
    assert rows != list(record.metrics)
    return replace(record, metrics=tuple(rows))


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        # The headline metric of a group: 0.005 and no more, over the same number of objects.
        (("coverage", "unseen", None), {"value": 0.4049}, ""),
        (("coverage", "unseen", None), {"value": 0.3951}, ""),
        (("coverage", "unseen", None), {"value": 0.4051}, "coverage of unseen is 0.4051, not 0.4000"),
        (("coverage", "all", None), {"value": math.nan}, "coverage of all is nan, not 0.5000"),
        (("coverage", "seen", None), {"n": 11}, "coverage of seen is taken over 11, not 10"),
        # A category of six objects: one more of them.
        (("coverage", "seen", "a"), {"value": 0.3 + 1 / 6 + 0.0049}, ""),
        (("coverage", "seen", "a"), {"value": 0.3 + 1 / 6 + 0.0051}, "coverage of a is 0.4718, not 0.3000"),
        # Another metric, of one object.
        (("other", "all", None), {"value": 1.0}, ""),
        (("other", "all", None), {"value": 1.1}, "other of all is 1.1000, not 0.0000"),
        # Undefined on both sides, whatever it is taken over.
        (("coverage", "unseen", "b"), {"n": 5}, ""),
    ],
)
def test_agreement(
    make_record: MakeRecord, row: tuple[str, str, str | None], changes: dict[str, Any], message: str
) -> None:
    known = make_record()
    assert disagreement(known, known) == ""
    assert disagreement(known, _changed(known, *row, **changes)) == message


def test_other_images_or_metrics_are_no_rounding(make_record: MakeRecord) -> None:
    known = make_record()
    assert disagreement(known, replace(known, images=9)) == "it has 9 images (0 left out), not 10 (0)"
    assert disagreement(known, make_record(skipped=("x",))) == "it has 9 images (1 left out), not 10 (0)"
    more = replace(known, metrics=(*known.metrics, MetricRow("new", "all", None, 1.0, 1)))
    assert disagreement(known, more) == "only one of them has new of all"
    more = replace(known, metrics=(*known.metrics, MetricRow("coverage", "seen", "c", 1.0, 1)))
    assert disagreement(more, known) == "only one of them has coverage of c"
    assert disagreement(known, _changed(known, "coverage", "all", None, value=0.52), tolerance=0.03) == ""


def test_a_difference_of_the_tolerance_is_rounding(make_record: MakeRecord) -> None:
    known = make_record(values=(0.5, 0.5, 0.5))
    moved = _changed(known, "coverage", "all", None, value=0.75)
    assert disagreement(known, moved, tolerance=0.25) == ""
    assert disagreement(known, moved, tolerance=0.2499) == "coverage of all is 0.7500, not 0.5000"


def test_spread_is_the_largest_difference_of_any_group(make_record: MakeRecord) -> None:
    records = [make_record(values=values) for values in [(0.5, 0.6, 0.4), (0.501, 0.6, 0.404), (0.5, 0.598, 0.402)]]
    assert spread(records, "coverage") == pytest.approx(0.004)
    assert spread(records[:1], "coverage") == 0.0
    assert math.isnan(spread(records, "nothing"))


def test_folders_of_replicates_are_named_by_their_content(make_record: MakeRecord, tmp_path: Path) -> None:
    store, record = RunStore(tmp_path), make_record()
    folder = replicate_store(store, record).root
    assert folder.parent == tmp_path / "replicates" / record.fingerprint
    assert folder.name == hashlib.sha256(record.to_json().encode()).hexdigest()[:16]
    assert folder != replicate_store(store, make_record(values=(0.5001, 0.6, 0.4))).root
    # Without a record, as an import that was killed leaves it, there is no replicate.
    (folder / "records").mkdir(parents=True)
    assert store.replicates(record.fingerprint) == []
