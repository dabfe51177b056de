"""Which split a task takes where none is given, without its data or its model."""

from __future__ import annotations

from typing import Any

from ltrp_bench.tasks.registry import option_default

_BY_LAYOUT = {
    "imagenet-cls": ("imagenet1k", "of ImageNet-1K's layout; classes of your own need --split FILE"),
    "stuff-coverage": ("imagenet1k_cocostuff", "of COCO's panoptic classes; COCO-Stuff 164k: imagenet1k_cocostuff171"),
    "cocostuff-seg": ("imagenet1k_cocostuff", "of COCO's panoptic classes; COCO-Stuff 164k: imagenet1k_cocostuff171"),
}


def default_split(task: str) -> tuple[str | None, str]:
    """The name of a task's split, and a note (may be empty).

    It is the default of its option `split`, or for tasks on `shapes` the fold that their option `fold` stands at; for
    tasks whose split follows from the layout of their data the usual one, with a note on the others. None, with the
    reason for a note, where nothing is known.

    Raises:
        UsageError: no such task.
    """
    split, fold = option_default(task, "split"), option_default(task, "fold")
    if split is not None:
        return str(split), ""
    if _of_shapes(task, fold):
        return f"shapes/{fold}", f"fold {fold}; the other fold swaps the halves: shapes/{1 - fold}"
    return _BY_LAYOUT.get(task, (None, "no split of its categories ships"))


def _of_shapes(task: str, fold: Any) -> bool:
    """Whether `fold` is one of the built-in world's: somebody's own task may call another thing a fold."""
    return task.startswith("shapes-") and fold in (0, 1)
