"""NUS-WIDE (Chua et al., CIVR 2009): images from Flickr, each labelled with some of 81 concepts.

The folder holds its authors' archives, unpacked side by side:

* ImageList/TrainImagelist.txt and TestImagelist.txt, one image per line, "actor\\0001_2124494179.jpg";
* ConceptsList/Concepts81.txt or Concepts81.txt, the concepts;
* Groundtruth/TrainTestLabels/Labels_CONCEPT_Train.txt and ..._Test.txt, 0 or 1 per line, in the order of the list;
* Flickr/ or images/, the images, in subfolders as listed or all in one folder.

All listed images count, also those without any concept, which some papers leave out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.base import Limit, limited
from ltrp_bench.tasks.data.decoding import read_rgb, revision_tag
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.orientation import Exif
from ltrp_bench.tasks.data.files.text import printable, read_lines
from ltrp_bench.tasks.data.files.tree import FileTree
from ltrp_bench.tasks.data.folders import data_folder
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset
from ltrp_bench.tasks.data.values import read_flag

HOW_TO_GET = (
    "get the lists, concepts and ground truth from https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/"
    "NUS-WIDE.html and unpack them side by side"
)
_SUBSETS = {"train": "Train", "test": "Test"}
_IMAGES = ("Flickr", "images")
_CONCEPTS = 81


class NusWideDataset(MultiLabelDataset):
    """Images and concepts of one of NUS-WIDE's two lists.

    Ids are the images' paths in the list without suffix, "actor/0001_2124494179", sorted. `revision` is the sha256 of
    the concepts, and of the id, labels and size in bytes of each image in use.

    Args:
        data: its folder, see the top of this file.
        subset: "train" or "test".
        limit: which images are used, see `base.Limit`.
        exif: "apply" to apply EXIF orientations, which are ignored else.
        strict: True to refuse a list that names an image twice.

    Raises:
        UsageError: no folder given, or no such subset. InputError: nothing found there, or lists that do not fit
            together. Later, by `pixels`: an image that is corrupt or missing (many have left Flickr).
    """

    domain = "photos"

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "test",
        *,
        limit: Limit = None,
        exif: Exif = "auto",
        strict: bool = False,
    ) -> None:
        root, concepts = find_concepts(data, subset)
        part, self._upright = _SUBSETS[subset], exif == "apply"
        self.categories = tuple(_lines(concepts))
        if len(set(self.categories)) != _CONCEPTS:
            raise InputError(f"{root.root}: Concepts81.txt must list 81 concepts, got {len(set(self.categories))}")
        listed = _file(root, f"ImageList/{part}Imagelist.txt", f"{part}Imagelist.txt")
        names = [PurePosixPath(line.replace("\\", "/")) for line in _lines(listed, names=True)]
        ids = [printable(name.with_suffix("").as_posix()) for name in names]
        if not ids:
            raise InputError(f"{listed} lists no images")
        labels = _read_labels(root, self.categories, part, len(ids))
        places = {image_id: i for i, image_id in reversed(list(enumerate(ids)))}  # the first of equal ones
        order = [places[image_id] for image_id in limited(sorted(places), limit)]
        super().__init__([ids[i] for i in order])
        for i, image_id in enumerate(ids if len(places) < len(ids) else ()):
            if places[image_id] != i:
                if strict:
                    raise InputError(f"{listed} lists {image_id} twice (--strict)")
                self.notes.count("images", "listed twice: the first counts", f"first {image_id}")
                self.notes.listed["images"] = len(ids)
        self._labels = labels[order]
        self._files, self.assumptions = _find_images(_image_folder(root), [names[i] for i in order])
        self.revision = self._revision()

    def _revision(self) -> str:
        digest = hashlib.sha256(json.dumps(self.categories).encode())
        for i, image_id in enumerate(self.ids):
            path = self._files[i]
            size = path.stat().st_size if path.is_file() else -1
            digest.update(json.dumps([image_id, size, np.flatnonzero(self._labels[i]).tolist()]).encode())
        digest.update(revision_tag(self._files) + b"EXIF applied" * self._upright)
        return digest.hexdigest()

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB as stored, EXIF ignored unless it is to be applied."""
        return read_rgb(self._files[index], upright=self._upright)

    def vector(self, index: int) -> np.ndarray:
        """[81] uint8 zeros and ones in the order of `categories`."""
        return self._labels[index]

    def labels(self, index: int) -> frozenset[str]:
        """Concepts of the image."""
        return frozenset(self.categories[i] for i in np.flatnonzero(self._labels[index]))

    def ignored(self, index: int) -> frozenset[str]:
        """Empty: every concept was annotated in every image."""
        return frozenset()

    @property
    def objects(self) -> None:
        """None: concepts are not localized."""


def find_concepts(data: str | Path | None, subset: str) -> tuple[FileTree, Path]:
    """The folder of NUS-WIDE, and its list of concepts.

    Raises:
        UsageError: no folder given, or no such subset. InputError: no list there.
    """
    root = FileTree(data_folder(data, "NUS-WIDE"))
    if subset not in _SUBSETS:
        raise UsageError(f"NUS-WIDE has no subset {subset!r}: there are {', '.join(_SUBSETS)}")
    return root, _file(root, "ConceptsList/Concepts81.txt", "Concepts81.txt")


def _file(tree: FileTree, *tried: str) -> Path:
    """The first existing file of `tried`; InputError if there is none."""
    found = tree.find(*tried)
    if found is None or not found.is_file():
        raise InputError(f"no NUS-WIDE in {tree.root}: looked for {' or '.join(tried)}; {HOW_TO_GET}")
    return found


def _lines(path: Path, *, names: bool = False) -> list[str]:
    """Stripped lines of a file, without empty ones; see `read_text`."""
    return [line for line in read_lines(path, names=names) if line]


def _read_labels(root: FileTree, concepts: tuple[str, ...], part: str, count: int) -> np.ndarray:
    """[count, 81] uint8 zeros and ones, images in the order of their list."""
    out = np.zeros((count, len(concepts)), np.uint8)
    for column, concept in enumerate(concepts):
        name = f"TrainTestLabels/Labels_{concept}_{part}.txt"
        path = _file(root, f"Groundtruth/{name}", name)
        values = _lines(path)
        if len(values) != count:
            raise InputError(
                f"{path} has {len(values)} labels, the list of images {count}: they must be from one release"
            )
        if not set(values) <= {"0", "1"}:
            values = [_flag(value, f"{path}: label {number}") for number, value in enumerate(values, start=1)]
        out[:, column] = [value == "1" for value in values]
    return out


def _flag(value: str, what: str) -> str:
    """ "1" or "0"."""
    try:
        return str(int(read_flag(value)))
    except ValueError as error:
        raise InputError(f"{what} {error}") from None


def _image_folder(tree: FileTree) -> Path:
    found = tree.folder(*_IMAGES)
    if found is None:
        raise InputError(f"no images of NUS-WIDE in {tree.root}: looked for {'/ or '.join(_IMAGES)}/; {HOW_TO_GET}")
    return found


def _find_images(folder: Path, names: Sequence[PurePosixPath]) -> tuple[list[Path], tuple[str, ...]]:
    """Paths of images as listed, or directly in `folder` if they lie there; and what was assumed about others."""
    finder = FileFinder(folder)
    paths = [folder / name for name in names]
    places = [path if path.is_file() or not (folder / path.name).is_file() else folder / path.name for path in paths]
    found = finder.match(place.relative_to(folder).as_posix() for place in places)
    return [found[place.relative_to(folder).as_posix()] for place in places], finder.assumptions
