"""What a loader assumed, changed and left out while it read a data set.

Assumptions are shown at the start of a run, omissions at its end; both are stored with the results. Neither is part of
a data set's revision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Omission:
    """Things of one kind that do not count as they are, for one reason.

    Attributes:
        noun: what they are, in the plural: "objects".
        reason: what was done and why, "left out: crowds do not count".
        count: number of them.
        total: number of all such things in use; None where it is not known.
        first: the first of them, for the user to look at; may be empty.
    """

    noun: str
    reason: str
    count: int
    total: int | None = None
    first: str = ""

    @property
    def line(self) -> str:
        """One line for the user: "2 of 30 objects left out: crowds do not count"."""
        number = f"{self.count}" if self.total is None else f"{self.count} of {self.total}"
        return f"{number} {self.noun} {self.reason}" + (f" ({self.first})" if self.first else "")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the provenance."""
        return {"what": f"{self.noun} {self.reason}", "count": self.count, "of": self.total, "first": self.first}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Omission:
        """An omission that `to_json` gave."""
        noun, _, reason = str(stored["what"]).partition(" ")
        return cls(noun=noun, reason=reason, count=stored["count"], total=stored["of"], first=stored["first"])


class DataNotes:
    """Notes that a loader takes while it reads.

    Attributes:
        assumptions: lines for the start of a run, each once.
    """

    def __init__(self) -> None:
        self.assumptions: list[str] = []
        self._counts: dict[tuple[str, str], Counter[str | None]] = {}
        self._first: dict[tuple[str, str], dict[str | None, str]] = {}

    def assume(self, line: str) -> None:
        """Note what is taken for granted, with the option that changes it."""
        if line not in self.assumptions:
            self.assumptions.append(line)

    def count(self, noun: str, reason: str, first: str = "", *, image: str | None = None) -> None:
        """Count one thing that is changed or left out.

        Args:
            noun: what it is, one word in the plural: "objects".
            reason: what is done and why, the same text for all of its kind: "left out: crowds do not count".
            first: describes this one; shown for the first of its kind.
            image: id of its image, so that it is reported only if the image is in use; None if it has none.
        """
        key = noun, reason
        self._counts.setdefault(key, Counter())[image] += 1
        self._first.setdefault(key, {}).setdefault(image, first)

    def omissions(self, images: Collection[str], totals: Mapping[str, int]) -> list[Omission]:
        """What was counted, in order of the reasons' first occurrence.

        Args:
            images: ids of the images in use.
            totals: noun -> number of all such things of these images.
        """
        used = frozenset(images)
        out = []
        for (noun, reason), counts in self._counts.items():
            owners = [image for image in counts if image is None or image in used]
            if owners:
                number = sum(counts[image] for image in owners)
                total = totals.get(noun)
                first = self._first[noun, reason][owners[0]]
                out.append(Omission(noun=noun, reason=reason, count=number, total=total, first=first))
        return out
