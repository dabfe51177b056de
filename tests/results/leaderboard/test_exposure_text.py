"""Texts about seen and unseen categories: headlines, marks, and lines below tables."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.exposure_text import (
    exposure_mark,
    exposure_notes,
    exposure_options,
    few_text,
    note_places,
    split_text,
)

NAMES = ("giraffe", "suitcase", "frisbee", "snowboard", "kite (narrow)", "carrot", "donut", "scissors")


def row(selector: str = "ltrp", exposure: str = "none", **values: Any) -> dict[str, Any]:
    """One row of a table that is split by imagenet1k."""
    return {
        **{"selector": selector, "selector_id": f"{selector} id", "supervision": "none", "metric": "coverage"},
        **{"split_by": "imagenet1k", "seen_categories": 64, "unseen_categories": 16, "unseen_objects": 112},
        **{"exposure": exposure, "exposed_categories": "", "unseen_rank": math.nan if exposure != "none" else 1.0},
        **values,
    }


def exposed(selector: str = "evit", **values: Any) -> dict[str, Any]:
    """One row whose selector's labels contain `NAMES`."""
    labels = {"supervision": "imagenet21k+imagenet1k", "exposed_categories": "; ".join(NAMES)}
    return row(selector, "exposed", **{**labels, **values})


def test_marks() -> None:
    found = [exposure_mark(row(exposure=one)) for one in ("none", "exposed", "open", "unknown")]
    assert found == ["", "†", "‡", "‡"]
    assert exposure_mark({"selector": "a"}) == "" == exposure_mark({"exposure": math.nan})


def test_headline() -> None:
    # Rows without results have no sizes; the others tell.
    rows = [row(seen_categories=0, unseen_categories=0, unseen_objects=math.nan), row(), exposed()]
    assert split_text(rows) == "unseen by imagenet1k: 16 of 80 categories, 112 objects"
    assert few_text(rows) == ""
    common = [row(split_by="common", seen_categories=79, unseen_categories=1, unseen_objects=1, metric="top1")]
    assert split_text(common) == (
        "unseen by all known label sets of these selectors (common): 1 of 80 categories, 1 image"
    )
    found = [row(split_by="imagenet1k", unseen_objects=20, metric="corloc")]
    assert split_text(found) == "unseen by imagenet1k: 16 of 80 categories, 20 images"
    pixels = [row(split_by="imagenet1k", unseen_objects=1234567, metric="mIoU")]
    assert split_text(pixels) == "unseen by imagenet1k: 16 of 80 categories, 1,234,567 pixels"
    assert split_text([row(unseen_measured=14.0)]) == (
        "unseen by imagenet1k: 16 of 80 categories (14 in these images), 112 objects"
    )
    none = [row(split_by="imagenet21k", seen_categories=80, unseen_categories=0, unseen_objects=0)]
    assert split_text(none) == "unseen by imagenet21k: 0 of 80 categories"
    folds = [row(split_by=f"shapes-seen/{fold}", seen_categories=20, unseen_categories=20) for fold in (0, 1)]
    assert split_text(folds) == "unseen by shapes-seen/0 and shapes-seen/1: 20 of 40 categories"


@pytest.mark.parametrize(
    ("unseen", "text"),
    [
        (0, "no category is unseen, so there is no unseen value and no gap"),
        (1, "a single category says little about unseen categories in general"),
        (5, "5 categories are few: their mean says little about unseen categories in general"),
        (6, ""),
    ],
)
def test_few_categories(unseen: int, text: str) -> None:
    assert few_text([row(unseen_categories=unseen)]) == text
    assert few_text([row(unseen_measured=unseen)]) == text.replace(
        "no category is unseen", "no unseen category is in these images"
    )


def test_older_tables_have_no_texts() -> None:
    old = [{"selector": "evit", "metric": "coverage"}]
    nan = [{**row(), **dict.fromkeys(("split_by", "exposure", "unseen_categories", "exposed_categories"), math.nan)}]
    for rows in (old, nan):
        assert [split_text(rows), few_text(rows), exposure_options(rows)] == ["", "", ""]
        assert exposure_notes(rows) == []


def test_notes_of_exposed_selectors() -> None:
    rows = [row(), *(exposed(name, keep_ratio=ratio) for name in ("evit", "gradcam") for ratio in (0.25, 0.5))]
    start = (
        "† evit, gradcam: labels of imagenet21k+imagenet1k contain 8 (1 narrow) of the 16 categories called unseen: "
    )
    assert exposure_notes(rows) == [start + ", ".join(NAMES) + "; not ranked on unseen"]
    assert exposure_notes(rows, listed=3) == [start + "giraffe, suitcase, frisbee and 5 others; not ranked on unseen"]
    # "and 1 others" would be longer than the name.
    assert "others" not in exposure_notes(rows, listed=7)[0]
    (counted,) = exposure_notes([row(), exposed(unseen_rank=2.0)])
    assert counted.endswith("scissors; ranked on unseen all the same")
    # Narrow categories may count as unseen.
    (narrow,) = exposure_notes([row(), exposed(exposed_unseen=7 / 16)])
    assert narrow.startswith("† evit: labels of imagenet21k+imagenet1k contain 7 (and 1 narrow) of the 16 categories")
    # A table without intervals has no ranks.
    (unranked,) = exposure_notes([row(unseen_rank=math.nan), exposed()])
    assert unranked.endswith("donut, scissors")


def test_notes_of_unknown_exposure() -> None:
    rows = [
        row(),
        row("clip", "open", supervision="captions", exposed_categories=""),
        row("mine", "unknown", supervision="birds", exposed_categories=math.nan),
        exposed(),
    ]
    assert note_places([*rows, exposed("gradcam")]) == [None, 1, 2, 0, 0]
    first, *others = exposure_notes(rows)
    assert first[0] == "†" and others == [
        "‡ clip: trained with captions; which categories these showed cannot be known; not ranked on unseen",
        "‡ mine: which of the categories called unseen the labels of birds contain is not known; not ranked on unseen",
    ]


def test_notes_of_partly_known_labels() -> None:
    values = {"supervision": "captions+coco80", "exposed_categories": "giraffe; kite", "unseen_rank": 1.0}
    first, second = exposure_notes([row("a", "open", **values), row("b", "unknown", **values)])
    assert first == (
        "‡ a: trained with captions+coco80; which categories these showed cannot be known, but some label sets contain "
        "2 of the 16 categories called unseen: giraffe, kite; ranked on unseen all the same"
    )
    assert second == (
        "‡ b: which of the categories called unseen the labels of captions+coco80 contain is not known; the known ones "
        "contain 2 of the 16 categories called unseen: giraffe, kite; ranked on unseen all the same"
    )


def test_selectors_of_one_name_have_ids() -> None:
    one, two = exposed(selector_id="12ab"), exposed(selector_id="34cd", supervision="coco80")
    assert [note.partition(":")[0] for note in exposure_notes([one, two])] == ["† evit 12ab", "† evit 34cd"]


def test_options_that_help() -> None:
    clip = row("clip", "open", supervision="captions")
    assert exposure_options([row(), clip, exposed()]) == (
        "to compare † on unseen categories: leaderboard --unseen-by imagenet21k, or common; "
        "to rank † and ‡ as they are: leaderboard --count-exposed"
    )
    assert exposure_options([row(), clip]) == "to rank ‡ as they are: leaderboard --count-exposed"
    assert exposure_options([row()]) == "" == exposure_options([exposed(unseen_rank=1.0)])


UNDEFINED = {"all": 0.5, "seen": 0.5, "unseen": math.nan, "gap": math.nan}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (UNDEFINED, "nothing unseen is measured in these images, so there is no unseen value and no gap"),
        (
            {**UNDEFINED, "seen": math.nan, "unseen": 0.5},
            "nothing seen is measured in these images, so there is no seen value and no gap",
        ),
        # The size of the group says it already.
        (
            {**UNDEFINED, "unseen_measured": 0},
            "no unseen category is in these images, so there is no unseen value and no gap",
        ),
        (
            {**UNDEFINED, "seen": math.nan, "unseen": 0.5, "seen_categories": 0},
            "every category is unseen, so there is no seen value and no gap",
        ),
        ({**UNDEFINED, "unseen": 0.4, "all_low": 0.4, "unseen_low": 0.3}, ""),
        (
            {**UNDEFINED, "unseen": 0.4, "all_low": 0.4, "unseen_low": math.nan},
            "too few images show unseen categories for an interval or a rank on them",
        ),
        # Incomplete rows have no values at all, which their notes explain.
        ({**UNDEFINED, "all": math.nan, "seen": math.nan}, ""),
    ],
)
def test_values_that_are_missing_are_explained(values: dict[str, Any], text: str) -> None:
    assert few_text([row(**values)]) == text
    assert few_text([row(**values), row(**{**UNDEFINED, "unseen": 0.4, "unseen_low": 0.1})]) in ("", text)
