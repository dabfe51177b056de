"""Where data sets in COCO's format keep their annotations and images, for the layouts that common exporters write.

| written by | annotations | images |
|---|---|---|
| COCO | annotations/instances_SUBSET.json | SUBSET/ |
| Ultralytics, Datumaro, CVAT | annotations/instances_SUBSET.json | images/SUBSET/, images/ |
| LVIS | lvis_v1_SUBSET.json | val2017/, train2017/ |
| Roboflow | SUBSET/_annotations.coco.json | beside it |
| FiftyOne | labels.json | data/ |
| labelme2coco | annotations.json | JPEGImages/ |
| Label Studio and others | one .json, also in SUBSET/ or SUBSET/annotations/ | images/, or beside it |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import list_files
from ltrp_bench.tasks.data.files.tree import FileTree
from ltrp_bench.tasks.data.folders import either, named_folder, named_path, synonyms

HOW_TO_GET: Final = (
    "get 2017 Val images and annotations from https://cocodataset.org/#download and unzip both there, or name the "
    "files: --data FILE.json, or --task-option annotations=FILE and --task-option images=DIR"
)
_SUFFIXES: Final = (".json", ".json.gz")
_OTHER_KINDS: Final = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_", "sentences_")
_USUAL_NAME: Final = re.compile(r"_?(annotations?|labels|result|coco|instances)([._]coco)?", re.IGNORECASE)
_IMAGE_FOLDERS: Final = ("images", "data", "JPEGImages", "img", "imgs")
_PROBED: Final = 8
"""Images whose files are looked for to find their folder."""


@dataclass(frozen=True, kw_only=True)
class CocoLayout:
    """Files of a data set in COCO's format.

    Attributes:
        root: folder that names may be relative to.
        annotations: the JSON file.
        images: folder of the images; None where `image_folder` must find it by the names of the images.
        subset: name of the subset.
        assumed: True if the file was found in another place than COCO's own two, so that the user should know.
    """

    root: Path
    annotations: Path
    images: Path | None
    subset: str
    assumed: bool = False

    def image_folder(self, names: Sequence[str]) -> Path:
        """Folder of the images: the candidate that holds the most of the first `names`.

        Raises:
            InputError: none of them holds any, and there is no folder that is named like one of images.
        """
        if self.images is not None:
            return self.images
        candidates = [path for path in dict.fromkeys(self._candidates()) if path.is_dir()]
        probed = names[:: max(1, len(names) // _PROBED)]
        found = [sum(_holds(path, name) for name in probed) for path in candidates]
        if found and max(found) > 0:
            return candidates[found.index(max(found))]
        own = [path for path in candidates if path not in (self.root, self.annotations.parent)]
        if own:
            return own[0]  # the file names may be spelled otherwise there; else each image is reported as missing
        if any(_images_in(path) for path in candidates):
            return next(path for path in candidates if _images_in(path))
        finder = FileFinder(self.root)
        if any(finder.find(name) is not None for name in probed):
            return self.root  # in a folder of another name
        places = ", ".join(f"{name}/" for name in (self.subset, *_IMAGE_FOLDERS[:3]))
        raise InputError(
            f"{self.annotations} lists {names[0]!r}, which is nowhere in {self.root} (looked in {places} and others): "
            "name the folder of the images with --task-option images=DIR"
        )

    def _candidates(self) -> Iterator[Path]:
        above = self.annotations.parent
        bases = [self.root, above, *([above.parent] if above.name.lower() in ("annotations", "labels") else [])]
        trees = [FileTree(base) for base in dict.fromkeys(bases)]
        subsets = dict.fromkeys((self.subset, _own_subset(self.annotations), *synonyms(self.subset)))
        for tree in trees:
            for subset in subsets:
                yield from (tree.path(subset), tree.path(f"images/{subset}"))
        for tree in trees:
            yield from (tree.path(name) for name in _IMAGE_FOLDERS)
        yield from bases


def find_coco(
    data: str | Path, subset: str, annotations: str | Path | None = None, images: str | Path | None = None
) -> CocoLayout:
    """Finds the annotations of a data set in COCO's format, and its images where the layout is one of COCO's own.

    Args:
        data: its folder, or the JSON file.
        subset: name of the subset, for layouts with several.
        annotations: the JSON file, relative to the folder or to the current one; None searches for it.
        images: folder of the images, likewise.

    Raises:
        InputError: nothing found, or several files that could be meant; what was looked for.
    """
    root = Path(data).expanduser()
    file: Path | None = None
    if root.is_file():
        file, root = root, root.parent
    elif annotations is not None:
        file = named_path(root, annotations, "annotations")
    folder = None if images is None else named_folder(root, images, "images")
    if file is not None:
        return CocoLayout(root=root, annotations=file, images=folder, subset=subset)
    tree = FileTree(root)
    first, own = tree.path(f"annotations/instances_{subset}.json"), tree.folder(subset)
    top = _json_files(root)
    if first.is_file() and (own or folder):
        return CocoLayout(root=root, annotations=first, images=folder or own, subset=subset)
    flat = tree.folder("images")
    if flat is not None and len(top) == 1 and not first.is_file():
        return CocoLayout(root=root, annotations=top[0], images=folder or flat, subset=subset)
    found = _search(tree, subset, top)
    if found is None:
        raise InputError(_nothing(root, subset, top))
    return CocoLayout(root=root, annotations=found, images=folder, subset=subset, assumed=True)


def _search(tree: FileTree, subset: str, top: Sequence[Path]) -> Path | None:
    """The annotation file of a layout other than COCO's own; InputError if several could be meant."""
    for name in (subset, *synonyms(subset)):
        for stem in (
            f"annotations/instances_{name}",
            f"instances_{name}",
            f"{name}/_annotations.coco",
            f"{name}/labels",
            f"annotations/{name}",
            f"{name}",
            f"labels/{name}",
        ):
            for suffix in _SUFFIXES:
                path = tree.find(f"{stem}{suffix}")
                if path is not None and path.is_file():
                    return path
    below = _json_files(tree.path("annotations"))
    # Names such as lvis_v1_val.json, person_val.json.
    for name in (subset, *synonyms(subset)):
        for files in (top, below, _json_files(tree.path(name))):
            matching = [path for path in files if name.lower() in _tokens(path)]
            if len(matching) == 1:
                return matching[0]
    own = [f"{name}{folder}" for name in (subset, *synonyms(subset)) for folder in ("", "/annotations")]
    for files in (*(_json_files(tree.path(name)) for name in own), top, below):
        usual = [path for path in files if _USUAL_NAME.fullmatch(_stem(path))]
        for some in (files, usual):
            if len(some) == 1:
                return some[0]
        if len(files) > 1:
            raise InputError(
                f"{files[0].parent} has {len(files)} .json files ({', '.join(p.name for p in files[:3])}"
                f"{', …' if len(files) > 3 else ''}): keep one, or name one with --task-option annotations=FILE"
            )
    return None


def _nothing(root: Path, subset: str, top: Sequence[Path]) -> str:
    """Message for a folder without a data set."""
    splits = sorted({path.parent.name for path in root.glob("*/_annotations.coco.json*")})
    if splits:
        return f"no subset {subset!r} in {root}: there are {', '.join(splits)}; choose by --task-option subset=NAME"
    wanted = [root / "annotations" / f"instances_{subset}.json", *([] if top else [root / "*.json"])]
    there = root if root.exists() else f"{root} (no such file or folder)"
    found = _what_is_there(root)
    return (
        f"no COCO data set in {there}: looked for {either(wanted)} and images in {root / subset}"
        f"{'; ' + found if found else ''}; {HOW_TO_GET}"
    )


def _what_is_there(root: Path) -> str:
    """Words about files of other kinds in the folder; empty if there are none."""
    tree = FileTree(root)
    for folder in (tree.path("annotations"), root):
        kinds = list_files(folder, (".json", ".gz")) if folder.is_dir() else []
        if kinds:
            return f"{kinds[0]} is of another kind by its name"
    labels = tree.folder("labels", "train/labels", "valid/labels")
    if labels is not None and list_files(labels, (".txt",), recursive=True):
        return f"{labels} holds YOLO's labels: convert them to COCO's JSON, or export that format"
    if tree.folder("Annotations") is not None or (root.is_dir() and list_files(root, (".xml",))):
        return "there are XML files, which the tasks voc-* read"
    return ""


def _json_files(folder: Path) -> list[Path]:
    """JSON files of a folder that may hold objects; hidden ones and COCO's other kinds of annotations are left out."""
    if not folder.is_dir():
        return []
    files = list_files(folder, (".json", ".gz"))
    return [p for p in files if p.name.lower().endswith(_SUFFIXES) and not p.name.lower().startswith(_OTHER_KINDS)]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".json")


def _tokens(path: Path) -> list[str]:
    """Parts of a file name, in lower case: ["lvis", "v1", "val"]."""
    return re.split(r"[^0-9a-z]+", _stem(path).lower())


def _own_subset(path: Path) -> str:
    """Subset that the name of an annotation file ends in: "default" of instances_default.json."""
    return _stem(path).removeprefix("instances_")


def _holds(folder: Path, name: str) -> int:
    """2 if the folder has the file of this name, 1 if it has it without folders that the name begins with, else 0."""
    if _is_file(folder / name):
        return 2
    parts = [part for part in unquote(name).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return int(any(_is_file(folder.joinpath(*parts[start:])) for start in range(len(parts))))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _images_in(folder: Path) -> bool:
    return bool(list_files(folder))
