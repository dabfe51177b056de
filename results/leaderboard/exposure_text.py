"""Texts about seen and unseen categories in tables and figures: how a table is split, and which rows are exposed.

A selector is exposed if its own labels contain categories that the table calls unseen. Rows of tables that older
versions wrote lack these columns; they get no text and no mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ltrp_bench.results.leaderboard.names import labels

EXPOSED_MARK: Final = "†"
"""Mark of a row whose selector's labels contain categories called unseen."""

UNKNOWN_MARK: Final = "‡"
"""Mark of a row for which this cannot be known."""

FEW: Final = 5
"""Largest number of unseen categories that a table calls few."""

LISTED: Final = 6
"""Number of categories that a line names where space is short."""

_MARKS: Final = {"exposed": EXPOSED_MARK, "open": UNKNOWN_MARK, "unknown": UNKNOWN_MARK}

_UNITS: Final = {
    **dict.fromkeys(("top1", "top5", "corloc"), "image"),
    "mAP": "label",
    **dict.fromkeys(("mIoU", "mAcc", "aAcc"), "pixel"),
}
"""Metric -> what its values are taken over; objects for all others."""

Row = Mapping[str, Any]


def exposure_mark(row: Row) -> str:
    """Mark of a row: `EXPOSED_MARK`, `UNKNOWN_MARK`, or "" for a row that is not exposed."""
    return _MARKS.get(str(row.get("exposure")), "")


def split_text(rows: Sequence[Row]) -> str:
    """Text like "unseen by imagenet1k: 16 of 80 categories, 112 objects".

    Unseen categories without objects in the images are counted, and the text says how many have some.

    Args:
        rows: rows of one table.

    Returns:
        The text; "" if the rows do not hold how they are split.
    """
    names = _split_names(rows)
    if not names:
        return ""
    by = "all known label sets of these selectors (common)" if names == ["common"] else " and ".join(names)
    text = f"unseen by {by}"
    unseen, seen = (_largest(rows, f"{group}_categories") for group in ("unseen", "seen"))
    if unseen is None or seen is None:
        return text
    text = f"{text}: {unseen} of {_counted(unseen + seen, 'category')}"
    measured = _largest(rows, "unseen_measured")
    if measured is not None and measured < unseen:
        text += f" ({measured} in these images)"
    objects = _largest(rows, "unseen_objects")
    unit = _UNITS.get(str(rows[0].get("metric")), "object")
    if len(names) > 1:
        # Each fold has its own objects.
        return text
    return f"{text}, {_counted(objects, unit)}" if objects is not None and unseen else text


def few_text(rows: Sequence[Row]) -> str:
    """Sentence that warns of a small group or says why values are missing, without a full stop; "" for large groups.

    Args:
        rows: rows of one table.
    """
    return "; ".join(text for text in (_size_text(rows), _undefined_text(rows)) if text)


def _undefined_text(rows: Sequence[Row]) -> str:
    """Reason why no row has values on a group, or intervals of them; "" if there is none, or if the size says it."""
    if not _split_names(rows) or not _defined(rows, "all"):
        return ""
    sizes = {group: _largest(rows, f"{group}_categories") for group in ("unseen", "seen")}
    known = _largest(rows, "unseen_measured") != 0 and sizes["unseen"] != 0
    for group in ("unseen", "seen"):
        if not _defined(rows, group) and (known if group == "unseen" else sizes["seen"] != 0):
            return f"nothing {group} is measured in these images, so there is no {group} value and no gap"
    if known and _defined(rows, "all_low") and not _defined(rows, "unseen_low"):
        return "too few images show unseen categories for an interval or a rank on them"
    return ""


def _defined(rows: Sequence[Row], name: str) -> bool:
    """True if a row has a value, and for tables without such a column where it is a value that all tables have."""
    if not name.endswith("_low") and not any(name in row for row in rows):
        return name != "all"
    return any(not math.isnan(_number(row, name)) for row in rows)


def _size_text(rows: Sequence[Row]) -> str:
    """Sentence about a small unseen group; "" if the group has more than `FEW` categories."""
    unseen = _largest(rows, "unseen_categories") if _split_names(rows) else None
    if unseen is None:
        return ""
    if _largest(rows, "seen_categories") == 0:
        return "every category is unseen, so there is no seen value and no gap"
    if unseen == 0:
        return "no category is unseen, so there is no unseen value and no gap"
    measured = _largest(rows, "unseen_measured")
    count = unseen if measured is None else measured
    if count == 0:
        return "no unseen category is in these images, so there is no unseen value and no gap"
    if count == 1:
        return "a single category says little about unseen categories in general"
    return (
        f"{count} categories are few: their mean says little about unseen categories in general" if count <= FEW else ""
    )


def exposure_notes(rows: Sequence[Row], listed: int | None = None) -> list[str]:
    """Lines for below a table: one for all selectors that share their labels and their exposure.

    Args:
        rows: rows of one table.
        listed: number of categories that a line names; None names all of them.
    """
    ranked = any(_ranked(row) for row in rows)
    return [_note([rows[i] for i in own], rows, ranked, listed) for own in _exposed_groups(rows)]


def note_places(rows: Sequence[Row]) -> list[int | None]:
    """Place of each row's line in `exposure_notes`; None for rows without one."""
    places = {i: place for place, own in enumerate(_exposed_groups(rows)) for i in own}
    return [places.get(i) for i in range(len(rows))]


def exposure_options(rows: Sequence[Row]) -> str:
    """Line that names the options for exposed rows; "" if there are none, or if they are counted already.

    Args:
        rows: rows of any tables.
    """
    marked = [row for row in rows if exposure_mark(row)]
    if not marked or any(_ranked(row) for row in marked):
        return ""
    closed = [row for row in marked if exposure_mark(row) == EXPOSED_MARK]
    others = (
        name
        for row in closed
        for name in str(row.get("supervision", "")).split("+")
        if name and name != str(row.get("split_by"))
    )
    name = next(others, "")
    marks = " and ".join(sorted({exposure_mark(row) for row in marked}))
    split = (
        f"to compare {EXPOSED_MARK} on unseen categories: leaderboard --unseen-by {name}, or common; " if name else ""
    )
    return f"{split}to rank {marks} as they are: leaderboard --count-exposed"


def _exposed_groups(rows: Sequence[Row]) -> list[list[int]]:
    """Places of the exposed rows, together if they have the same labels and exposure."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(rows):
        if mark := exposure_mark(row):
            key = (mark, *(str(row.get(name)) for name in ("exposure", "supervision", "exposed_categories")))
            groups.setdefault(key, []).append(i)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def _note(own: Sequence[Row], rows: Sequence[Row], ranked: bool, listed: int | None) -> str:
    row = own[0]
    trained = str(row.get("supervision", ""))
    names = [name for name in str(row.get("exposed_categories") or "").split("; ") if name not in ("", "nan")]
    total = _largest(rows, "unseen_categories") or len(names)
    contained = f"contain {_contained(row, names, total)} of the {_counted(total, 'category')} called unseen"
    if row.get("exposure") == "exposed":
        text = f"labels of {trained} {contained}"
    elif row.get("exposure") == "open":
        text = f"trained with {trained}; which categories these showed cannot be known"
        text += f", but some label sets {contained}" if names else ""
    else:
        text = f"which of the categories called unseen the labels of {trained} contain is not known"
        text += f"; the known ones {contained}" if names else ""
    if names:
        text += f": {_listed(names, listed)}"
    if any(_ranked(one) for one in own):
        text += "; ranked on unseen all the same"
    elif ranked:
        text += "; not ranked on unseen"
    selectors = ", ".join(dict.fromkeys(map(labels("selector", rows), own)))
    return f"{exposure_mark(row)} {selectors}: {text}"


def _contained(row: Row, names: Sequence[str], total: int) -> str:
    """Number of exposed categories, with the number of those that labels contain in part or through one kind only."""
    narrow = sum(name.endswith(" (narrow)") for name in names)
    share = _number(row, "exposed_unseen")
    count = len(names) if math.isnan(share) else round(share * total)
    if not narrow:
        return str(count)
    return f"{count} ({narrow} narrow)" if count == len(names) else f"{count} (and {narrow} narrow)"


def _listed(names: Sequence[str], listed: int | None) -> str:
    """Names in order; if there are more than `listed`, the first of them and the number of others."""
    if listed is None or len(names) <= listed + 1:
        return ", ".join(names)
    return f"{', '.join(names[:listed])} and {len(names) - listed} others"


def _ranked(row: Row) -> bool:
    return not math.isnan(_number(row, "unseen_rank"))


def _split_names(rows: Sequence[Row]) -> list[str]:
    """Label sets that the rows are split by; a table that averages over folds has several."""
    values = (row.get("split_by") for row in rows)
    return sorted({name for value in values if isinstance(value, str) for name in value.split(", ") if name})


def _largest(rows: Sequence[Row], name: str) -> int | None:
    """Largest value of a column of counts, since rows without results have none; None if no row has a value."""
    values = [value for row in rows if not math.isnan(value := _number(row, name))]
    return int(max(values)) if values else None


def _number(row: Row, name: str) -> float:
    try:
        return float(row.get(name, math.nan))
    except (TypeError, ValueError):
        return math.nan


def _counted(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
