"""Order of the labels of class folders: that of a list, of their numbers, or of the text of their names."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.files.listing import natural_key
from ltrp_bench.tasks.data.files.text import printable, read_text
from ltrp_bench.tasks.data.values import read_integer, read_name

_OTHER_ORDER = "--task-option classes=FILE gives another order, one name per line"


def class_name(folder_name: str) -> str:
    """Name of a class folder as categories have it: in composed Unicode, without blanks at its ends."""
    return unicodedata.normalize("NFC", printable(folder_name)).strip()


def ordered_classes(names: Collection[str], listed_in: Path | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes in the order of their labels, and a line for each thing that was assumed.

    Whole numbers are sorted as numbers, as timm and most trainings have them; other names as text, as torchvision's
    ImageFolder has them.

    Args:
        names: names of the class folders.
        listed_in: file with one class per line in the order of the labels; it may list more than there are folders.

    Raises:
        InputError: a list that cannot be read, lists a class twice or lacks a folder.
    """
    if listed_in is not None:
        return _listed(names, listed_in), ()
    text = sorted(names)
    if all(name.isascii() and name.isdecimal() for name in names):
        numbers = sorted(names, key=lambda name: (int(name), name))
        values = [int(name) for name in numbers]
        lines = []
        if numbers != text:
            lines.append(
                f"class folders are whole numbers: labels are in their order ({_start(numbers)}), not in that of "
                f"the text ({_start(text)}); {_OTHER_ORDER}"
            )
        if values != list(range(len(values))):
            ids = "; if they are ILSVRC's own ids, labels are wrong" if values == list(range(1, 1001)) else ""
            lines.append(f"class folder {numbers[0]} is label 0, since folders do not count from 0 without gaps{ids}")
        return tuple(numbers), tuple(lines)
    natural = sorted(text, key=natural_key)
    if natural == text:
        return tuple(text), ()
    place = next(i for i, (one, other) in enumerate(zip(text, natural, strict=True)) if one != other)
    return tuple(text), (
        f"labels are in the order of the text of the class folders, as torchvision has it: {place} is {text[place]!r}, "
        f"in timm's natural order {natural[place]!r}; {_OTHER_ORDER}",
    )


def _listed(names: Collection[str], path: Path) -> tuple[str, ...]:
    listed = [class_name(name) for name in _names_in(path)]
    twice = next((name for i, name in enumerate(listed) if name in listed[:i]), None)
    if not listed or twice is not None:
        raise InputError(f"{path} lists {'no classes' if twice is None else f'the class {twice!r} twice'}")
    absent = sorted(set(names) - set(listed))
    if absent:
        similar = next((name for name in listed if name.casefold() == absent[0].casefold()), None)
        instead = f", but {similar!r}" if similar else ""
        raise InputError(
            f"{path} does not list the class folder {absent[0]!r}{instead}: it must list all of them, one name per line"
        )
    return tuple(listed)


def _names_in(path: Path) -> list[str]:
    """Names in a text file, or in JSON: a list, or an object {name: label} as torchvision's `class_to_idx`."""
    text = read_text(path, names=True)
    if text.lstrip()[:1] not in ("[", "{"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            labels = {read_integer(label): name for name, label in content.items()}
            if sorted(labels) != list(range(len(content))):
                raise ValueError("labels must count from 0 without gaps")
            content = [labels[i] for i in range(len(content))]
        return [read_name(name) for name in content]
    except ValueError as error:
        raise InputError(f"{path} is no JSON list of names, nor an object {{name: label}}: {error}") from None


def _start(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
