"""Notices about selectors that were shown categories which a task's split calls unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.exposure_notices import exposure_notices
from ltrp_bench.harness.evaluation.plan import plan, task_entry
from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.registry import create_task
from ltrp_bench.tasks.splits.split import CategorySplit, load_split

TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"


class SplitTask(toy.ToyTask):
    """A toy task that names a split."""

    def __init__(self, split: CategorySplit, narrow_as: str = "seen", name: str = "coco-coverage") -> None:
        super().__init__(images=2)
        self.split, self.narrow_as, self.name = split, narrow_as, name

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "narrow_as": self.narrow_as, "label_set": self.split.label_set}


def notices(supervision: Supervision, *tasks: Task) -> list[str]:
    selector = toy.NetSelector()
    selector.supervision = supervision
    pairs = [pair for task in tasks for pair in toy.entries(task, selector)]
    return exposure_notices(plan(pairs, [0.25, 0.5], [0], pytest.fail))


COCO = load_split("imagenet1k_coco80")


def test_the_vit_of_imagenet21k_on_coco(shared_dir: Path) -> None:
    task = task_entry(create_task("coco-coverage", data=shared_dir / "data" / "coco", limit=2))
    selectors = [
        create_selector("evit", shared_dir / "data" / "weights" / TINY),
        create_selector("ltrp.photos"),
        create_selector("variance"),
    ]
    pairs = [(toy.entries(task.task, one)[0][0], task) for one in selectors]
    (line,) = exposure_notices(plan(pairs, [0.25, 0.5], [0, 1], pytest.fail))
    start, _, end = line.partition(" of the 16 categories of coco-coverage that imagenet1k's split calls unseen (")
    assert start.startswith("evit was trained on imagenet21k+imagenet1k, which contain ")
    assert int(start.split()[-1]) >= 12
    assert end.startswith("giraffe, ") and "`leaderboard --unseen-by imagenet21k` or `--unseen-by common`" in end


def test_the_other_fold_of_shapes() -> None:
    task = create_task("shapes-coverage", limit=2, fold=1)
    (line,) = notices(Supervision.labels("shapes-seen/0"), task)
    assert "contains 8 of the 8 categories of shapes-coverage that shapes-seen/1's split calls unseen" in line
    assert "`leaderboard --unseen-by shapes-seen/0`" in line
    assert notices(Supervision.labels("shapes-seen/1"), task) == []


@pytest.mark.parametrize(
    "supervision", [Supervision.none(), Supervision.self_supervised(), Supervision.labels("imagenet1k")]
)
@pytest.mark.parametrize("narrow_as", ["seen", "unseen"])
def test_nothing_is_said_of_selectors_that_saw_none(supervision: Supervision, narrow_as: str) -> None:
    assert notices(supervision, SplitTask(COCO, narrow_as)) == []


def test_nothing_is_said_without_a_split_or_unseen_categories() -> None:
    voc = load_split("imagenet1k_voc20")  # 17 seen, 3 narrow
    assert notices(Supervision.labels("captions"), toy.ToyTask(images=2), SplitTask(voc)) == []


def test_captions_may_have_shown_anything() -> None:
    (line,) = notices(Supervision.labels("captions", "imagenet1k"), SplitTask(COCO))
    assert line == (
        "net was trained on captions+imagenet1k: what captions showed cannot be known, so it may have been shown the "
        "16 categories of coco-coverage that imagenet1k's split calls unseen; `leaderboard` does not rank it on "
        "these without --count-exposed"
    )


def test_a_label_set_that_contains_all_leaves_nothing() -> None:
    (line,) = notices(Supervision.labels("coco80"), SplitTask(COCO))
    assert "contains 16 of the 16 categories" in line
    assert line.endswith("it was shown all categories, so nothing can be said of unseen ones")


def test_unknown_label_sets_are_named_with_similar_ones() -> None:
    (line,) = notices(Supervision.labels("imagnet1k"), SplitTask(COCO))
    assert "'imagnet1k' is no known label set (similar: imagenet1k" in line and "may have been shown the 16" in line
    # A user's own categories and split: only its own label set is known.
    own = CategorySplit("pets", {"cat": "seen", "axolotl": "unseen"})
    assert notices(Supervision.labels("pets"), SplitTask(own)) == []
    (line,) = notices(Supervision.labels("imagenet21k"), SplitTask(own))
    assert "there is no split of these categories by imagenet21k" in line


def test_tasks_of_one_split_share_a_line_and_others_do_not() -> None:
    panoptic = load_split("imagenet1k_cocostuff")
    tasks = SplitTask(COCO), SplitTask(COCO, name="coco-det"), SplitTask(panoptic, name="stuff-coverage")
    lines = notices(Supervision.labels("captions"), *tasks)
    assert len(lines) == 2
    assert "16 categories of coco-coverage, coco-det that" in lines[0] and "33 categories of stuff-coverage" in lines[1]


def test_narrow_categories_count_unless_the_run_counts_them_as_unseen() -> None:
    split = CategorySplit("mine", {"person": "unseen", "dog": "unseen", "frisbee": "unseen"})
    imagenet = Supervision.labels("imagenet1k")  # person is narrow, dog is seen, frisbee is unseen
    (line,) = notices(imagenet, SplitTask(split))
    assert "contains 2 of the 3 " in line and "(person, dog; 1 in part)" in line
    (line,) = notices(imagenet, SplitTask(split, "unseen"))
    assert "contains 1 of the 3 " in line and "(dog)" in line
