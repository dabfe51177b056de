"""Base class of all data sets: images in a fixed order, each with an id, a revision of the data, and notes on it.

Notes say what a loader assumed, changed and left out. Assumptions are shown at the start of a run, omissions at its
end; both are stored with the results, and neither is part of the revision.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from ltrp_bench.selectors.errors import UsageError

T = TypeVar("T")

Domain = Literal["shapes", "photos"]


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
        listed: noun -> number of all such things in the files, for those that are counted without an image.
    """

    def __init__(self) -> None:
        self.assumptions: list[str] = []
        self.listed: dict[str, int] = {}
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
                if owners[0] is None:
                    total = self.listed.get(noun, total)
                first = self._first[noun, reason][owners[0]]
                out.append(Omission(noun=noun, reason=reason, count=number, total=total, first=first))
        return out


class ImageDataset(ABC):
    """Images in a fixed order.

    Attributes:
        domain: "shapes" or "photos"; decides which bundled weights a selector loads.
        categories: names, in the order of a model's outputs where there is one.
        ids: one unique id per image.
        revision: identifies the data, and enters fingerprints. For files it changes with any byte of the annotations,
            and with the name or the size in bytes of an image file in use; an image that is replaced by one of the
            same size in bytes goes unnoticed. For `shapes` it is version and seed.
        assumptions: one line for each thing that the files do not say and that was assumed.
        notes: what was changed and left out while the data was read; not part of the revision.
    """

    domain: Domain
    categories: tuple[str, ...]
    revision: str
    assumptions: tuple[str, ...] = ()

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self._index = {image_id: i for i, image_id in enumerate(self.ids)}
        self.notes = DataNotes()

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, image_id: str) -> int:
        """Position of an image id; KeyError for an unknown one."""
        return self._index[image_id]

    def omissions(self) -> list[Omission]:
        """What was changed and left out of the images in use."""
        return self.notes.omissions(self.ids, {"images": len(self)})

    @property
    def remarks(self) -> tuple[str, ...]:
        """One line for each thing that was assumed, changed or left out when the files were read."""
        return (*self.assumptions, *(omission.line for omission in self.omissions()))

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError if the file is missing or corrupt."""


@dataclass(frozen=True)
class RandomLimit:
    """A random subset of the images.

    It depends on the seed and the ids alone: not on the order in which images are found, nor on the task. A smaller
    subset of the same seed lies within a larger one. Leading zeros of a number make no difference: COCO's masks are
    named 000000000139 where its JSON has 139.
    """

    count: int
    """Maximum number of images."""
    seed: int
    """Seed of the draw."""


Limit = int | RandomLimit | None
"""Maximum number of images, the first ones; or a random subset; or all."""


def limited(items: Sequence[T], limit: Limit, id_of: Callable[[T], str] = str) -> Sequence[T]:
    """The items that a limit leaves, in their order.

    Args:
        items: one for each image.
        limit: which ones.
        id_of: id of an item's image; for random subsets.

    Raises:
        UsageError: a limit below 1.
    """
    count = limit.count if isinstance(limit, RandomLimit) else limit
    if count is not None and count < 1:
        raise UsageError(f"limit must be at least 1, got {count}")
    if not isinstance(limit, RandomLimit):
        return items[:count]

    def draw(number: int) -> bytes:
        image_id = id_of(items[number])
        key = str(int(image_id)) if image_id.isdecimal() else image_id
        return hashlib.sha256(f"{limit.seed}/{key}".encode()).digest()

    return [items[number] for number in sorted(sorted(range(len(items)), key=draw)[:count])]
