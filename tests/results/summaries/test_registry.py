"""Parsing of stored summaries by their kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stored_summaries import confusion, detections, means, ranking

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import KINDS, parse_summary

STORED: dict[str, dict[str, Any]] = {
    "means": means(),
    "ranking": ranking(),
    "confusion": confusion(),
    "detections": detections(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str) -> None:
    stored = STORED[kind]
    summary = parse_summary(stored, "x")
    again = summary.to_arrays()
    assert type(summary) is KINDS[kind] and again["meta"] == stored["meta"] and list(again) == list(stored)
    for name in stored.keys() - {"meta"}:
        assert again[name] is stored[name], "arrays are kept as they are, types and bytes"
    assert parse_summary(summary, "y") is summary


def test_unknown_kinds_and_malformed_summaries_are_refused() -> None:
    with pytest.raises(ResultsError, match="x is not a resampling summary: kind 'other' in its meta is none of "):
        parse_summary({**means(), "meta": {**means()["meta"], "kind": "other"}}, "x")
    with pytest.raises(ResultsError, match="kind None in its meta"):
        parse_summary({"values": np.zeros(1)}, "x")
    with pytest.raises(ResultsError, match="^x is not a valid 'means' resampling summary: no array 'values'"):
        parse_summary({name: array for name, array in means().items() if name != "values"}, "x")
