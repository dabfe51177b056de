"""Files that map the images of a flat ImageNet-1K folder to their classes.

* text with lines "FILE WNID" or "FILE INDEX", the index counting sorted wnids from 0 (as Caffe's val.txt);
* Kaggle's LOC_val_solution.csv, "ImageId,PredictionString", where the string begins with the wnid;
* the development kit's ILSVRC2012_validation_ground_truth.txt, whose n-th line is the class of image n as a number.
  These numbers are ILSVRC's own ids, in another order than the wnids; meta.mat of the same kit maps them to wnids.

Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.files.listing import is_image
from ltrp_bench.tasks.data.files.text import read_text
from ltrp_bench.tasks.data.values import read_integer

_KIT = Path("ILSVRC2012_devkit_t12") / "data"
_KAGGLE = "LOC_val_solution.csv"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
NAMES = ("val.txt", "val_map.txt", "map.txt", _KAGGLE, _GROUND_TRUTH)
"""File names that are tried if no map is given, in this order."""
_CLASSES = 1000
_LINE = re.compile(r"\s*(.*?\S)\s*[\s,;]\s*([^\s,;]+)[\s,;]*$")
_KAGGLE_HEADING = re.compile(r"imageid\s*[,;\t]", re.IGNORECASE)
_KAGGLE_LINE = re.compile(r"\s*([^,;\t]*[^,;\t\s])\s*[,;\t]\s*\"?([^\s,;]+)")
_NO_CLASS = "is neither a wnid of ImageNet-1K nor an index of 0 to 999"
_HEADINGS = ("label", "labels", "class", "wnid", "index", "synset", "target")


@dataclass(frozen=True, kw_only=True)
class MapNotes:
    """Notes that are taken while a map is read.

    Attributes:
        notes: gets the counts.
        strict: True to raise InputError for the first line or image that must be left out.
    """

    notes: DataNotes
    strict: bool = False

    def fault(self, noun: str, reason: str, first: str) -> None:
        """Count what is left out; InputError in strict mode."""
        if self.strict:
            raise InputError(f"{first} (--strict)")
        self.notes.count(noun, reason, first)


def find_map(root: Path, folder: Path, given: str | Path | None) -> Path:
    """Finds the map of a flat folder.

    Args:
        root: the folder given by --data.
        folder: the folder with the images.
        given: the map, if one was given; else the first of `NAMES` in `root`, `folder` or a development kit.

    Raises:
        InputError: there is none.
    """
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(f"no file {path} with the classes of the images in {folder}")
        return path
    places = dict.fromkeys((root, folder, folder.parent, root / "data", root / _KIT, root.parent / _KIT))
    found = next((place / name for name in NAMES for place in places if (place / name).is_file()), None)
    if found is None:
        raise InputError(
            f"{folder} has images but no class folders, and no file maps them to classes: looked for "
            f"{', '.join(NAMES)} in {root}, {folder} and {_KIT}; give a file of lines 'FILE WNID' or 'FILE INDEX' "
            "with --task-option labels=FILE, or sort the images into folders named by wnid"
        )
    return found


def read_map(path: Path, wnids: Sequence[str], notes: MapNotes) -> dict[str, int]:
    """Reads a map: image name without suffix -> index into `wnids`; with suffix where both names have an image.

    Args:
        path: a file in one of the formats above, recognized by its first line; commas and semicolons separate, too.
        wnids: sorted wnids of the classes.
        notes: gets the number of lines without a class.

    Raises:
        InputError: a file that cannot be read or has no such format; an index beyond the classes; an image with two
            classes; ILSVRC's own ids without their meta.mat. One line that names file and line.
    """
    lines = read_text(path, names=True).splitlines()
    first = lines[0].strip() if lines else ""
    if first.isdecimal():
        return _by_ground_truth(path, lines, wnids)
    number_of = {wnid: i for i, wnid in enumerate(wnids)}
    pattern = _LINE
    if _KAGGLE_HEADING.match(first):
        lines[0], pattern = "", _KAGGLE_LINE
    found: dict[str, int] = {}
    names: dict[str, str] = {}
    last = ""
    for line, text in enumerate(lines, start=1):
        fields = pattern.match(text.replace('"', ""))
        if not text.strip() or (line == 1 and fields is not None and fields[2].lower() in _HEADINGS):
            continue
        label = None if fields is None else _label(fields[2], number_of)
        if fields is None or label is None:
            last = f"{path}, line {line}: must be 'FILE WNID' or 'FILE INDEX', got {text.strip()[:60]!r}"
            if fields is not None:
                last = f"{path}, line {line}: {fields[2]!r} {_NO_CLASS}"
            notes.fault("lines", "left out: they name no class of ImageNet-1K", last)
            continue
        if not 0 <= label < len(wnids):
            from_one = f"; do they count from 1? {path.name} must count from 0" if label == len(wnids) else ""
            raise InputError(f"{path}, line {line}: {fields[2]!r} {_NO_CLASS}{from_one}")
        stem, name = _stem(fields[1]), PurePosixPath(fields[1].replace("\\", "/")).name
        if found.setdefault(stem, label) != label:
            if names[stem] == name:
                raise InputError(f"{path}, line {line}: {fields[1]} occurs twice, with two classes")
            found.setdefault(names[stem], found[stem])
            if found.setdefault(name, label) != label:
                raise InputError(f"{path}, line {line}: {fields[1]} occurs twice, with two classes")
        names.setdefault(stem, name)
    notes.notes.listed["lines"] = len(lines)
    if not found:
        raise InputError(last or f"{path} lists no images: must have lines 'FILE WNID' or 'FILE INDEX'")
    return found


def _label(text: str, number_of: Mapping[str, int]) -> int | None:
    """Index that a wnid or a whole number means; None for anything else."""
    if text.isdecimal():
        return int(text)
    if text in number_of:
        return number_of[text]
    try:
        return read_integer(text)
    except ValueError:
        return None


def _stem(name: str) -> str:
    file = PurePosixPath(name.replace("\\", "/"))
    return file.stem if is_image(file) else file.name


def _by_ground_truth(path: Path, lines: Sequence[str], wnids: Sequence[str]) -> dict[str, int]:
    meta = path.parent / "meta.mat"
    if not meta.is_file():
        raise InputError(
            f"{path} numbers classes by ILSVRC's own ids, which only meta.mat of ILSVRC2012_devkit_t12.tar.gz (data/) "
            f"maps to wnids: put it beside that file, or give a file of lines 'FILE WNID'"
        )
    number_of = {wnid: i for i, wnid in enumerate(wnids)}
    label_of = {key: number_of[wnid] for key, wnid in read_meta(meta).items() if wnid in number_of}
    found: dict[str, int] = {}
    for line, text in enumerate(lines, start=1):
        if not text.strip().isdecimal() or int(text) not in label_of:
            raise InputError(f"{path}, line {line}: {text[:40]!r} is not an ILSVRC id of 1 to {_CLASSES}")
        found[f"ILSVRC2012_val_{line:08d}"] = label_of[int(text)]
    return found


def read_meta(path: Path) -> dict[int, str]:
    """Reads ILSVRC id -> wnid from the development kit's meta.mat (MATLAB 5); InputError for any other file."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(str(path), squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:  # scipy's parser raises exceptions of any type
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{path} is not the development kit's meta.mat (no 'synsets' with ILSVRC2012_ID and WNID): {why}"
        ) from None
