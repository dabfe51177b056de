"""Records: exact round trip, immutability, and rejection of invalid ones."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrp_bench.results.schema.record import (
    CellRecord,
    Identity,
    ResultsError,
    canonical_json,
    cell_fingerprint,
    digest,
)
from ltrp_bench.results.schema.rows import MetricRow

MakeRecord = Callable[..., CellRecord]


def test_round_trip_is_exact(make_record: MakeRecord) -> None:
    record = make_record(values=(1 / 3, math.nan, 5e-324), skipped=("ä b", "2"))
    text = record.to_json()
    again = CellRecord.from_json(text)
    assert again == record and again.to_json() == text
    assert again.value("coverage", "all") == 1 / 3 and again.short_fingerprint == record.fingerprint[:16]
    assert again.value("coverage", "unseen") == 5e-324
    assert math.isnan(again.value("coverage", "seen"))
    assert math.isnan(again.value("no such metric", "all"))
    assert '"value": null' in text and "NaN" not in text
    assert again.selector.supervision_text == "imagenet1k"


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20))
def test_any_float_and_text_survive(value: float, text: str) -> None:
    assert json.loads(canonical_json({text: value})) == {text: value}


def test_canonical_form_does_not_depend_on_order() -> None:
    assert canonical_json({"b": 1, "a": [0.1, None]}) == '{"a":[0.1,null],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1, 2}, "\ud800"])
def test_other_values_than_plain_json_are_rejected(value: Any) -> None:
    with pytest.raises(ResultsError, match="not plain JSON"):
        canonical_json({"x": value})


@pytest.mark.parametrize("text", ["NaN", '"\\ud800"'])
def test_values_that_are_no_plain_json_make_a_record_altered(text: str, make_record: MakeRecord) -> None:
    altered = make_record().to_json().replace('"keep_ratio": 0.25', f'"keep_ratio": {text}')
    with pytest.raises(ResultsError, match="cell.json was altered: its content does not match its checksum"):
        CellRecord.from_json(altered, "cell.json")


def test_records_and_identities_cannot_be_changed(make_record: MakeRecord) -> None:
    record = make_record()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.seed = 3  # type: ignore[misc]
    record.task.identity.value["limit"] = 7
    assert record.task.identity.value["limit"] is None
    assert hash(record) == hash(CellRecord.from_json(record.to_json()))


def test_the_fingerprint_depends_on_every_part() -> None:
    base = cell_fingerprint({"name": "a"}, {"name": "t"}, 0.5, 0, "fill")
    assert base == cell_fingerprint({"name": "a"}, {"name": "t"}, 0.5, 0, "fill")
    others = [
        cell_fingerprint({"name": "b"}, {"name": "t"}, 0.5, 0, "fill"),
        cell_fingerprint({"name": "a"}, {"name": "u"}, 0.5, 0, "fill"),
        cell_fingerprint({"name": "a"}, {"name": "t"}, 0.25, 0, "fill"),
        cell_fingerprint({"name": "a"}, {"name": "t"}, 0.5, 1, "fill"),
        cell_fingerprint({"name": "a"}, {"name": "t"}, 0.5, 0, "drop"),
    ]
    assert len({base, *others}) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep_ratio": 0.0}, "not in"),
        ({"keep_ratio": 1.5}, "not in"),
        ({"reduction": "blur"}, "unknown reduction 'blur'; use one of fill, none, drop"),
        ({"fingerprint": "0" * 64}, "does not match the content"),
        ({"metrics": (MetricRow("m", "all", None, math.inf, 1),)}, "infinite"),
        ({"seed": 1}, "does not match the content"),
    ],
)
def test_invalid_records_are_rejected(make_record: MakeRecord, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        dataclasses.replace(make_record(), **change)


def test_altered_and_truncated_text_is_rejected_in_one_line(make_record: MakeRecord) -> None:
    text = make_record().to_json()
    for bad, message in (
        (text.replace("0.6", "0.7"), "altered"),
        (text[: len(text) // 2], "truncated"),
        ("", "truncated"),
        ("[]", "truncated"),
        (text.replace('"seed": 0', '"seed": 1'), "altered"),
    ):
        with pytest.raises(ResultsError, match=message) as caught:
            CellRecord.from_json(bad, "cells/x.json")
        assert "\n" not in str(caught.value) and str(caught.value).startswith("cells/x.json")


def _forge(record: CellRecord, **change: Any) -> str:
    """A record with other content and a valid checksum."""
    data = json.loads(record.to_json())["record"]
    data.update(change)
    return json.dumps({"record": data, "sha256": digest(data)})


def test_a_forged_checksum_does_not_hide_other_content(make_record: MakeRecord) -> None:
    with pytest.raises(ResultsError, match="does not match the content"):
        CellRecord.from_json(_forge(make_record(), seed=5))
    with pytest.raises(ResultsError, match="schema version 99"):
        CellRecord.from_json(_forge(make_record(), schema_version=99))
    with pytest.raises(ResultsError, match="has a missing or invalid field"):
        CellRecord.from_json(_forge(make_record(), selector={"name": "x"}))


def test_identities_of_equal_content_are_equal() -> None:
    assert Identity.of({"a": 1, "b": 2}) == Identity.of({"b": 2, "a": 1})
    assert len(Identity.of({}).short) == 8
