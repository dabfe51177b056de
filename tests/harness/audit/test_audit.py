"""The audit: its report of sound and of broken selectors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from broken_selectors import PATCH, NaNOnOne, Sound

from ltrp_bench.harness.audit.audit import AuditOptions, audit
from ltrp_bench.harness.evaluation.plan import selector_entry, task_entry
from ltrp_bench.selectors.contract import CHECKS
from ltrp_bench.selectors.controls import CenterControl, FullControl, OracleControl, RandomControl, VarianceControl
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.catalog import shapes_coverage


def report(selector: Any, cost: str | None = None, others: tuple[Any, ...] = (), images: int = 10) -> dict[str, Any]:
    entries = [selector_entry(one, one.name, {"name": one.name}) for one in (selector, *others)]
    task = task_entry(shapes_coverage(images=10))
    options = AuditOptions(images=images, cost_model=cost)
    return audit(entries[0], entries[1:], task, options).json()


def test_measures_of_the_controls() -> None:
    others = (RandomControl(PATCH), CenterControl(PATCH), OracleControl(PATCH))
    center = report(CenterControl(PATCH), others=others)
    assert center["contract_kept"] and center["cost"] is None
    measures = center["measures"]
    assert measures["centre_bias"] == {"value": pytest.approx(1, abs=0.01), "images": 10}
    assert measures["tied_neighbours"] > 0.7 and measures["constant_images"] == 0
    # Not 1: patches as far from the centre as each other differ by rounding in its float32 scores.
    assert measures["flip_invariance"]["vertical"]["value"] == pytest.approx(1, abs=0.01)
    assert measures["agreement"]["center"]["overlap_at_0.25"]["value"] == 1
    assert measures["agreement"]["random"]["spearman"]["value"] == pytest.approx(0, abs=0.1)

    measures = report(OracleControl(PATCH))["measures"]
    assert measures["flip_invariance"]["horizontal"]["value"] == pytest.approx(1), "truth is mirrored too"
    measures = report(VarianceControl(PATCH))["measures"]
    assert measures["flip_invariance"]["horizontal"]["value"] > 0.9999
    measures = report(RandomControl(PATCH))["measures"]
    assert abs(measures["flip_invariance"]["horizontal"]["value"]) < 0.1

    measures = report(FullControl(PATCH), others=others)["measures"]
    assert measures["constant_images"] == measures["tied_neighbours"] == 1
    assert measures["centre_bias"] == {"value": None, "images": 0}
    assert measures["agreement"]["center"]["spearman"] == {"value": None, "images": 0}


def test_a_broken_one_has_a_report_without_measures() -> None:
    whole = report(NaNOnOne(), cost="test_vit")
    assert not whole["contract_kept"] and whole["measures"] is None and whole["cost"] is None
    json.dumps(whole, allow_nan=False)
    with pytest.raises(InputError, match="selector 'sound' fails on image '000004': 1 of 144 scores"):
        report(Sound(), others=(NaNOnOne(),))
    with pytest.raises(InputError, match="an audit needs 8 images, task 'shapes-coverage' has 5"):
        report(Sound(), images=5)


def test_the_keys_of_the_report() -> None:
    whole = report(Sound())
    assert list(whole) == [
        "format",
        "selector",
        "pictures",
        "contract_kept",
        "contract",
        "measures",
        "cost",
        "device",
        "about",
    ]
    assert [entry["check"] for entry in whole["contract"]] == list(CHECKS)
    assert list(whole["contract"][0]) == ["check", "what", "status", "detail", "image"]
    assert list(whole["selector"]) == ["name", "supervision", "stochastic", "identity"]
    assert list(whole["pictures"]) == ["task", "task_identity", "images", "image_ids_sha256"]


def test_stages_are_reported_as_they_begin() -> None:
    stages: list[str] = []
    entry = selector_entry(Sound(), "sound", {"name": "sound"})
    audit(entry, [], task_entry(shapes_coverage(images=8)), AuditOptions(images=8), stages.append)
    assert stages == ["reading images", "sound: the contract", "sound: ties, center, flips, agreement"]
