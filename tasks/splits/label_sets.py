"""Label sets that selectors are trained with, and the state of a data set's categories under each of them.

The content of a *closed* label set is a list of classes. That of an *open* one, such as captions, is not known: it may
have shown any category.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from ltrp_bench.selectors.errors import UsageError, unknown_name
from ltrp_bench.tasks.data.shapes.world import CATEGORIES as SHAPES
from ltrp_bench.tasks.data.shapes.world import seen_categories
from ltrp_bench.tasks.data.synsets import imagenet_classes, imagenet_wnids
from ltrp_bench.tasks.splits.split import SPLITS, CategorySplit, State, load_split, shapes_split

Kind = Literal["classes", "open"]

FIRST_SPLITS: Final = "imagenet1k"
"""The label set with a bundled split for every category list; its splits define the lists."""

_SHAPES_PREFIX: Final = "shapes-seen/"
_SHAPES_LIST: Final = "shapes"


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The labels of a training set.

    Attributes:
        name: as in the label sets of a selector's supervision, e.g. "imagenet21k".
        title: for tables and messages, e.g. "ImageNet-21k".
        kind: "classes" if it is a list of classes; "open" if its content cannot be known.
        classes: number of classes; None for open label sets.
        contains: names of label sets whose classes it contains as well.
        note: one sentence on its definition.
    """

    name: str
    title: str
    kind: Kind = "classes"
    classes: int | None = None
    contains: tuple[str, ...] = ()
    note: str = ""


_REGISTERED: Final = (
    LabelSet(
        name="imagenet1k",
        title="ImageNet-1K",
        classes=1000,
        note="The 1,000 classes of ILSVRC 2012, as timm lists them.",
    ),
    LabelSet(
        name="imagenet12k",
        title="ImageNet-12k",
        classes=11821,
        note="timm's subset of ImageNet-21k; it lacks seven classes of ImageNet-1K (six dogs and the teddy bear).",
    ),
    LabelSet(
        name="imagenet21k",
        title="ImageNet-21k",
        classes=21844,
        contains=("imagenet12k", "imagenet1k"),
        note=(
            "The union of timm's lists of ImageNet-21k and 22k. A model may have been trained on a smaller list, e.g. "
            "the 11,221 classes of ImageNet-21K-P (miil)."
        ),
    ),
    LabelSet(
        name="coco80",
        title="COCO's 80 things",
        classes=80,
        contains=("voc20",),
        note="The categories of COCO's boxes and instance masks.",
    ),
    LabelSet(
        name="cocostuff",
        title="COCO panoptic",
        classes=133,
        contains=("coco80",),
        note="COCO's 80 things and the 53 stuff classes of the panoptic annotations.",
    ),
    LabelSet(
        name="cocostuff171",
        title="COCO-Stuff",
        classes=171,
        contains=("coco80", "cocostuff"),
        note="COCO's 80 things and the 91 stuff classes of COCO-Stuff.",
    ),
    LabelSet(name="voc20", title="Pascal VOC", classes=20, note="The 20 classes of Pascal VOC."),
    LabelSet(
        name="context59",
        title="Pascal-Context",
        classes=59,
        contains=("voc20",),
        note="The 59 frequent classes of Pascal-Context.",
    ),
    LabelSet(name="ade20k", title="ADE20K", classes=150, note="The 150 classes of ADE20K's scene parsing benchmark."),
    LabelSet(
        name="objects365",
        title="Objects365",
        classes=365,
        contains=("coco80",),
        note="The 365 classes of Objects365 v2, among them all of COCO's things.",
    ),
    LabelSet(
        name="openimages",
        title="Open Images",
        classes=601,
        contains=("coco80",),
        note="The classes with boxes of Open Images V6, among them all of COCO's things.",
    ),
    LabelSet(name="lvis", title="LVIS", classes=1203, note="The 1,203 classes of LVIS v1."),
    LabelSet(name="cityscapes", title="Cityscapes", classes=19, note="The 19 classes of Cityscapes' benchmark."),
    LabelSet(
        name="shapes-seen/0", title="shapes, fold 0", classes=8, note="The seen half of `shapes` in fold 0; drawn."
    ),
    LabelSet(
        name="shapes-seen/1", title="shapes, fold 1", classes=8, note="The seen half of `shapes` in fold 1; drawn."
    ),
    LabelSet(name="captions", title="captions", kind="open", note="Texts beside images of the web: CLIP, SigLIP, …"),
    LabelSet(name="hashtags", title="hashtags", kind="open", note="Hashtags of Instagram's images: IG-1B, SWAG, …"),
    LabelSet(name="jft300m", title="JFT-300M", kind="open", note="Google's 18,291 classes, which are not published."),
    LabelSet(name="bamboo", title="Bamboo", kind="open", note="115,217 categories; no split against them is bundled."),
    LabelSet(name="sa1b", title="SA-1B", kind="open", note="Masks without class names: Segment Anything."),
)

LABEL_SETS: Final[Mapping[str, LabelSet]] = {label_set.name: label_set for label_set in _REGISTERED}
"""Every known label set by name."""


def find_label_set(name: str) -> LabelSet:
    """The label set of a name. Raises UsageError for an unknown one."""
    if name not in LABEL_SETS:
        raise unknown_name("label set", name, LABEL_SETS)
    return LABEL_SETS[name]


def is_open(name: str) -> bool:
    """True for a label set of unknown content, such as captions; False for any other and for unknown names."""
    return name in LABEL_SETS and LABEL_SETS[name].kind == "open"


def contains(outer: str, inner: str) -> bool:
    """True if all classes of `inner` are known to be in `outer`, directly or through a label set in between."""
    if outer == inner:
        return True
    found = LABEL_SETS.get(outer)
    return found is not None and any(contains(name, inner) for name in found.contains)


def category_states(label_set: str, categories: Collection[str]) -> Mapping[str, State] | None:
    """State of each category under a label set.

    The categories' list is found by name: it is the smallest known list that has all of them.

    Args:
        label_set: its name.
        categories: names of categories of one data set.

    Returns:
        category -> "seen", "narrow" or "unseen"; None where it cannot be known: for an open or unknown label set, for
        categories that no list has, and if there is no split of the list by the label set.
    """
    split = _split_or_none(label_set, categories)
    return None if split is None else {name: split.states[name] for name in categories}


def split_for(label_set: str, categories: Collection[str]) -> CategorySplit:
    """The split of these categories by a label set, with the states of these categories only.

    Raises:
        UsageError: there is none. The message lists the label sets that have one.
    """
    split = _split_or_none(label_set, categories)
    if split is not None:
        return CategorySplit(
            label_set,
            {name: state for name, state in split.states.items() if name in categories},
            {name: reason for name, reason in split.reasons.items() if name in categories},
            {name: wnids for name, wnids in split.wnids.items() if name in categories},
        )
    known = ", ".join(label_sets_for(categories)) or "none"
    if find_label_set(label_set).kind == "open":
        raise UsageError(f"{label_set} is an open label set: what it has shown is not known; choose from {known}")
    raise UsageError(f"no split of these {len(categories)} categories by {label_set}; there are splits by {known}")


def label_sets_for(categories: Collection[str]) -> list[str]:
    """Names of the label sets under which the states of these categories are known."""
    return [name for name in LABEL_SETS if _split_or_none(name, categories) is not None]


def lists_split_by(label_set: str) -> list[str]:
    """Names of the category lists whose states under a label set are known, e.g. "coco80" and "ade20k"."""
    return [name for name, names in sorted(category_lists().items()) if _split_or_none(label_set, names) is not None]


def implied_split(name: str) -> CategorySplit | None:
    """Split without a file of its own, e.g. "coco80_coco80" or "imagenet21k_imagenet1k", which another list implies.

    Args:
        name: a label set and a category list, joined by "_".

    Returns:
        The split; None if the name is not of this form, the split has a file, or it is unknown.
    """
    label_set, _, categories = name.partition("_")
    if label_set not in LABEL_SETS or categories not in category_lists() or (SPLITS / f"{name}.csv").is_file():
        return None
    return _split_or_none(label_set, category_lists()[categories])


def find_list(categories: Collection[str]) -> str | None:
    """Name of the smallest known category list that has all these categories, e.g. "coco80"; None if no list does."""
    wanted = frozenset(categories)
    fitting = [(len(names), name) for name, names in category_lists().items() if wanted <= names]
    return min(fitting)[1] if wanted and fitting else None


@cache
def category_lists() -> Mapping[str, frozenset[str]]:
    """Name -> categories of every list that splits exist for: "coco80", …, "imagenet1k" and "shapes"."""
    lists = {
        path.stem.partition("_")[2]: frozenset(load_split(path).states) for path in SPLITS.glob(f"{FIRST_SPLITS}_*.csv")
    }
    return {**lists, FIRST_SPLITS: frozenset(imagenet_classes().values()), _SHAPES_LIST: frozenset(SHAPES)}


def _split_or_none(label_set: str, categories: Collection[str]) -> CategorySplit | None:
    if label_set not in LABEL_SETS or is_open(label_set):
        return None
    if label_set.startswith(_SHAPES_PREFIX):
        return _by_shapes(int(label_set.removeprefix(_SHAPES_PREFIX)), categories)
    name = find_list(categories)
    return None if name is None else _split(label_set, name)


@cache
def _split(label_set: str, name: str) -> CategorySplit | None:
    """The split of a list by a closed label set of photographs; None if there is none."""
    if name == _SHAPES_LIST:
        return CategorySplit(label_set, dict.fromkeys(SHAPES, "unseen"))
    path = SPLITS / f"{label_set}_{name}.csv"
    if path.is_file():
        return load_split(path)
    if name == FIRST_SPLITS:
        return _of_imagenet(label_set)
    if contains(label_set, name):
        return CategorySplit(label_set, dict.fromkeys(load_split(f"{FIRST_SPLITS}_{name}").states, "seen"))
    return None


def _of_imagenet(label_set: str) -> CategorySplit | None:
    """Split of ImageNet-1K's own classes by another label set; None if it is not known."""
    if contains(label_set, FIRST_SPLITS):
        return CategorySplit(label_set, dict.fromkeys(imagenet_classes().values(), "seen"))
    if label_set == "imagenet12k":
        known = frozenset(imagenet_wnids("imagenet12k"))
        return CategorySplit(
            label_set, {name: "seen" if wnid in known else "unseen" for wnid, name in imagenet_classes().items()}
        )
    path = SPLITS / f"{FIRST_SPLITS}_{label_set}.csv"
    if not path.is_file():
        return None
    # A class has the state of the category that it counts for: ram is narrow as a kind of sheep.
    split = load_split(path)
    ranks: dict[State, int] = {"unseen": 0, "narrow": 1, "seen": 2}
    found: dict[str, State] = {}
    for inner in LABEL_SETS[label_set].contains:
        if (part := _of_imagenet(inner)) is not None:
            for wnid, name in imagenet_classes().items():
                found[wnid] = max(part.states[name], found.get(wnid, "unseen"), key=ranks.__getitem__)
    for category, wnids in split.wnids.items():
        for wnid in wnids:
            state = split.states[category]
            found[wnid] = max(state, found.get(wnid, "unseen"), key=ranks.__getitem__)
    return CategorySplit(label_set, {name: found.get(wnid, "unseen") for wnid, name in imagenet_classes().items()})


def _by_shapes(fold: int, categories: Collection[str]) -> CategorySplit:
    """Split by the seen half of `shapes`, which contains no category of any other data set."""
    if set(categories) <= set(SHAPES):
        return shapes_split(fold)
    seen = seen_categories(fold)
    return CategorySplit(f"{_SHAPES_PREFIX}{fold}", {c: "seen" if c in seen else "unseen" for c in categories})
