"""The table of official checkpoints, `checkpoints.csv`: what each is, who published it where, and how it is used.

Every cell is a published fact; one that is not known is empty. Nothing here imports torch.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

TIMM, HUB = "timm:", "hf-hub:"
"""Beginnings of names of weights on a hub, see `selectors.vit.hub`."""

TABLE: Final = Path(__file__).with_name("checkpoints.csv")

BY_HAND: Final = ("drive.google.com",)
"""Hosts that show a page instead of sending a file: a person has to download from them."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One published file of weights.

    Attributes:
        name: "KIND=SHORT", such as "evit=deit-s-0.7": a selector or kind of model, and a short name.
        title: what it is, in one line.
        used_by: selectors and tasks that take it as weights.
        supervision: as `Supervision.parse` reads it: "self", or label sets joined by "+".
        page: where its authors publish it.
        url: address of the file, or its name on a hub ("timm:MODEL", "hf-hub:OWNER/NAME"); empty if not known.
        file: name of the file in the cache; empty for names on a hub, which have a cache of their own.
        size: bytes; None if not known.
        approximate: True if the size is not a published one but four bytes for each parameter of the model.
        license: short name; empty if not known.
        sha256: the hash, or its first digits as published in the file's name; empty if not known.
        md5: another hash, or its first digits, where the authors publish that one; empty if not known.
        source: who states the hash and a size that is not approximate; empty if none is known.
        options: options of the selector or task that the file does not hold itself; given ones come first.
        beside: addresses of small files that must lie beside it.
        convert: converter that makes it readable, see `ltrp-bench convert`; empty if it is read as it is.
    """

    name: str
    title: str
    used_by: tuple[str, ...]
    supervision: str
    page: str
    url: str
    file: str
    size: int | None
    approximate: bool
    license: str
    sha256: str
    md5: str
    source: str
    options: Mapping[str, Any]
    beside: tuple[str, ...]
    convert: str

    @property
    def kind(self) -> str:
        """The part of its name before the equals sign."""
        return self.name.partition("=")[0]

    @property
    def short(self) -> str:
        """The part of its name after the equals sign."""
        return self.name.partition("=")[2]

    @property
    def on_hub(self) -> bool:
        """True if it is fetched by its name on a hub."""
        return self.url.startswith((TIMM, HUB))

    @property
    def repository(self) -> str:
        """ "OWNER/NAME" of one on a hub, whose page is the repository's."""
        return "/".join(urlsplit(self.page).path.split("/")[1:3])

    @property
    def direct(self) -> bool:
        """True if a program can fetch it from its address."""
        return bool(self.url) and not self.on_hub and urlsplit(self.url).hostname not in BY_HAND


def checkpoints(table: Path = TABLE) -> tuple[Checkpoint, ...]:
    """All rows of the table, in its order."""
    return _read(table)


def checkpoints_of(owner: str) -> tuple[Checkpoint, ...]:
    """The checkpoints that a selector or task takes."""
    return tuple(one for one in checkpoints() if owner in one.used_by)


def find(owner: str, text: str) -> Checkpoint | None:
    """The checkpoint that a selector or task is given by its name, whole or short; None for any other text."""
    return next((one for one in checkpoints_of(owner) if text in (one.name, one.short)), None)


def find_all(text: str) -> tuple[Checkpoint, ...]:
    """The checkpoints of that name, whole or short, or else those of a kind, selector or task of that name."""
    named = tuple(one for one in checkpoints() if text in (one.name, one.short))
    return named or tuple(one for one in checkpoints() if text == one.kind or text in one.used_by)


def ways(owner: str, text: str = "") -> str:
    """The three ways of giving weights to a selector or task, for the message where they are missing.

    Args:
        owner: the selector or task.
        text: what was given; the nearest name of the table is proposed.
    """
    names = [one.short for one in checkpoints_of(owner)]
    hub = f"{TIMM}MODEL or {HUB}OWNER/NAME"
    if not names:
        return f"give a file of your own, or {hub} where it is a ViT"
    near = difflib.get_close_matches(Path(text).name, names, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}? " if near else ""
    some = "" if near else f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
    return f"{hint}give a file of your own, {hub}, or a name of `ltrp-bench weights list {owner}`{some}"


@cache
def _read(table: Path) -> tuple[Checkpoint, ...]:
    with table.open(encoding="utf-8", newline="") as file:
        return tuple(_checkpoint(row) for row in csv.DictReader(file))


def _checkpoint(row: Mapping[str, str]) -> Checkpoint:
    plain = ("name", "title", "supervision", "page", "url", "file", "license", "sha256", "md5", "source")
    texts = {name: row[name] for name in plain}
    return Checkpoint(
        **texts,
        used_by=tuple(row["used_by"].split()),
        size=int(row["size"].removeprefix("~")) if row["size"] else None,
        approximate=row["size"].startswith("~"),
        options={key: _value(text) for key, _, text in (pair.partition("=") for pair in row["options"].split())},
        beside=tuple(row["beside"].split()),
        convert=row["convert"],
    )


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
