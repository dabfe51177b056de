"""Files that map the images of a flat ImageNet-1K folder to their classes.

* text with lines "FILE WNID" or "FILE INDEX", the index counting sorted wnids from 0 (as Caffe's val.txt);
* Kaggle's LOC_val_solution.csv, "ImageId,PredictionString", where the string begins with the wnid;
* the development kit's ILSVRC2012_validation_ground_truth.txt, whose n-th line is the class of image n as a number.
  These numbers are ILSVRC's own ids, in another order than the wnids; meta.mat of the same kit maps them to wnids.

Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.files.listing import is_image
from ltrp_bench.tasks.data.files.text import read_text

_KIT = Path("ILSVRC2012_devkit_t12") / "data"
_KAGGLE = "LOC_val_solution.csv"
_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
NAMES = ("val.txt", "val_map.txt", "map.txt", _KAGGLE, _GROUND_TRUTH)
"""File names that are tried if no map is given, in this order."""
_CLASSES = 1000


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


def read_map(path: Path, wnids: Sequence[str]) -> dict[str, int]:
    """Reads a map: image name without suffix -> index into `wnids`.

    Args:
        path: a file in one of the formats above, recognized by its first line.
        wnids: sorted wnids of the classes.

    Raises:
        InputError: a file that cannot be read or has no such format; a line with a wnid or index that is no class;
            ILSVRC's own ids without their meta.mat. One line that names file and line.
    """
    lines = read_text(path, names=True).splitlines()
    first = lines[0].strip() if lines else ""
    if first.replace(" ", "").startswith("ImageId,"):
        entries: Iterable[tuple[int, list[str]]] = (
            (number, [row[0], *row[1].split()[:1]] if len(row) > 1 else row)
            for number, row in enumerate(csv.reader(lines[1:]), start=2)
        )
    elif first.isdecimal():
        return _by_ground_truth(path, lines, wnids)
    else:
        entries = ((number, line.rsplit(None, 1)) for number, line in enumerate(lines, start=1))
    number_of = {wnid: i for i, wnid in enumerate(wnids)}
    found: dict[str, int] = {}
    for line, fields in entries:
        if not fields:
            continue
        if len(fields) != 2:
            raise InputError(f"{path}, line {line}: must be 'FILE WNID' or 'FILE INDEX', got {' '.join(fields)[:60]!r}")
        label = int(fields[1]) if fields[1].isdecimal() else number_of.get(fields[1], -1)
        if not 0 <= label < len(wnids):
            raise InputError(f"{path}, line {line}: {fields[1]!r} is neither a wnid of ImageNet-1K nor 0 to 999")
        name = _stem(fields[0])
        if found.setdefault(name, label) != label:
            raise InputError(f"{path}, line {line}: {fields[0]} occurs twice, with two classes")
    if not found:
        raise InputError(f"{path} lists no images: must have lines 'FILE WNID' or 'FILE INDEX'")
    return found


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
