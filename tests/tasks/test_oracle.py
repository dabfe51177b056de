"""The oracle of coverage: no ranking keeps more of the objects; each group has a ceiling of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_tools

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.plan import plan
from ltrp_bench.harness.evaluation.ranking import PatchRanking
from ltrp_bench.harness.evaluation.request import resolve_request
from ltrp_bench.selectors.controls import OracleControl
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.registry import identity, resolve
from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.tasks.base import Keep, Sample
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.registry import create_task
from ltrp_bench.tasks.segment_coverage import SegmentCoverageTask
from ltrp_bench.tasks.splits.split import CategorySplit

CATEGORIES = ("cat", "kite", "person")
SPLIT = CategorySplit("imagenet1k", {"cat": "seen", "kite": "unseen", "person": "narrow"})
ROUNDING = 1e-6  # scores are float32


@dataclass(frozen=True)
class Drawn:
    """An object: category, mask, crowd."""

    category: str
    mask: np.ndarray
    crowd: bool = False


class DrawnDataset(ObjectDataset):
    """Images given as lists of objects."""

    domain, categories, revision = "photos", CATEGORIES, "drawn"

    def __init__(self, images: Sequence[tuple[tuple[int, int], Sequence[Drawn]]]) -> None:
        super().__init__([f"image{i}" for i in range(len(images))])
        self._images = images

    def pixels(self, index: int) -> np.ndarray:
        return np.zeros((*self._images[index][0], 3), np.uint8)

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        (height, width), drawn = self._images[index]
        objects = [
            ObjectAnnotation(
                one.category,
                (0.0, 0.0, width, height),
                float(one.mask.sum()),
                crowd=one.crowd,
                rle=rle_tools.encode(np.asfortranarray(one.mask.astype(np.uint8))),
            )
            for one in drawn
        ]
        return ImageAnnotations(self.ids[index], height, width, objects)


def coverage(task: CoverageTask, scores: Callable[[Sample], np.ndarray], ratio: float) -> dict[tuple[str, str], float]:
    """(metric, group or category) -> value, where patches are ranked by `scores` as a run ranks them."""
    records = {}
    for sample in (task.load(i) for i in range(len(task))):
        ranking = PatchRanking.from_scores(scores(sample).astype(np.float32), sample.image_id, 0)
        records[sample.image_id] = task.predict([sample], [Keep(ranking.mask(ratio))])[0]
    return {(row.metric, row.category or row.group): row.value for row in task.compute_metrics(records)}


@st.composite
def data_sets(draw: st.DrawFn) -> DrawnDataset:
    """Up to 4 images of up to 5 objects: rectangles, speckles, single pixels, nothing, everything, crowds."""
    images = []
    for _ in range(draw(st.integers(1, 4))):
        height, width = draw(st.integers(5, 160)), draw(st.integers(5, 160))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        drawn = []
        for _ in range(draw(st.integers(0, 5))):
            mask = np.zeros((height, width), bool)
            kind = draw(st.sampled_from(["rectangle", "speckles", "pixel", "nothing", "everything"]))
            top, left = int(rng.integers(height)), int(rng.integers(width))
            if kind == "rectangle":
                mask[top : int(rng.integers(top, height)) + 1, left : int(rng.integers(left, width)) + 1] = True
            elif kind == "speckles":
                mask = rng.random((height, width)) < rng.random() ** 3
            elif kind == "pixel":
                mask[top, left] = True
            elif kind == "everything":
                mask[:] = True
            drawn.append(Drawn(draw(st.sampled_from(CATEGORIES)), mask, draw(st.integers(0, 5)) == 0))
        images.append(((height, width), drawn))
    return DrawnDataset(images)


grids = st.tuples(st.integers(1, 5), st.integers(1, 5))
ratios = st.floats(0.01, 1.0)


@settings(max_examples=60)
@given(data_sets(), grids, ratios, st.integers(0, 2**32 - 1), st.sampled_from([CoverageTask, SegmentCoverageTask]))
def test_no_ranking_beats_the_oracle_over_all_objects(
    data: DrawnDataset, grid: tuple[int, int], ratio: float, seed: int, make: type[CoverageTask]
) -> None:
    task = make("drawn", data, SPLIT, grid=grid)
    ceiling = coverage(task, task.oracle_scores, ratio)["coverage", "all"]
    rng = np.random.default_rng(seed)
    rivals = [lambda _: rng.random(grid)] * 5
    for power in (0.5, 1.0, 2.0):  # other rankings by ground truth, such as the union's share
        rivals += [lambda sample, p=power: ((task._areas[sample.annotations] ** p).sum(0)).reshape(grid)]
    for rival in rivals:
        found = coverage(task, rival, ratio)["coverage", "all"]
        assert np.isnan(found) == np.isnan(ceiling)
        assert not found > ceiling + ROUNDING


@settings(max_examples=40)
@given(data_sets(), st.tuples(st.integers(1, 3), st.integers(1, 3)), ratios)
def test_the_oracle_is_the_best_of_all_choices(data: DrawnDataset, grid: tuple[int, int], ratio: float) -> None:
    """Every choice of k patches in every image, tried one by one against the metric's own rows."""
    task = CoverageTask("drawn", data, SPLIT, grid=grid)
    k = count_kept(ratio, grid[0] * grid[1])
    best, n = 0.0, 0
    for sample in (task.load(i) for i in range(len(task))):
        sums = []
        for chosen in itertools.combinations(range(grid[0] * grid[1]), k):
            mask = np.zeros(grid[0] * grid[1], bool)
            mask[list(chosen)] = True
            rows = task.predict([sample], [Keep(mask.reshape(grid))])[0][1:]
            sums.append(sum(row["kept"] for row in rows))
        best, n = best + max(sums), n + len(rows)
    found = coverage(task, task.oracle_scores, ratio)["coverage", "all"]
    assert np.isnan(found) if n == 0 else found == pytest.approx(best / n, abs=ROUNDING)


@settings(max_examples=40)
@given(data_sets(), grids, ratios, st.integers(0, 2**32 - 1))
def test_no_ranking_beats_a_groups_own_oracle(
    data: DrawnDataset, grid: tuple[int, int], ratio: float, seed: int
) -> None:
    task = CoverageTask("drawn", data, SPLIT, grid=grid)
    rng = np.random.default_rng(seed)
    others = [coverage(task, lambda _: rng.random(grid), ratio) for _ in range(3)]
    others.append(coverage(task, task.oracle_scores, ratio))
    ceilings = {
        ("coverage", "seen"): ("seen",),
        ("coverage", "unseen"): ("unseen",),
        ("coverage_small", "all"): ("small",),
        ("coverage_large", "unseen"): ("unseen", "large"),
        ("coverage", "person"): ("person",),
    }
    own = {
        value: coverage(task, lambda sample, g=groups: task.group_oracle_scores(sample, g), ratio)
        for value, groups in ceilings.items()
    }
    others += own.values()
    for value, values in own.items():
        assert not any(one[value] > values[value] + ROUNDING for one in others), value


def test_small_objects_count_as_much_as_large_ones() -> None:
    """By hand: a kite of 4 pixels in one patch of 2 x 2, a person of 64 pixels that fills the other three."""
    kite, person = np.zeros((16, 16), bool), np.zeros((16, 16), bool)
    kite[:2, :2], person[:8, 8:] = True, True
    person[8:, :] = True
    data = DrawnDataset([((16, 16), [Drawn("kite", kite), Drawn("person", person), Drawn("cat", ~kite, crowd=True)])])
    task = CoverageTask("drawn", data, SPLIT, grid=(2, 2))
    scores = task.oracle_scores(task.load(0))
    np.testing.assert_allclose(scores, [[1, 1 / 3], [1 / 3, 1 / 3]], rtol=1e-6)
    values = coverage(task, task.oracle_scores, 0.25)
    assert values["coverage", "all"] == 0.5 and values["coverage", "unseen"] == 1.0
    assert values["coverage", "seen"] == 0.0  # the number beside a ceiling is none
    seen = coverage(task, lambda sample: task.group_oracle_scores(sample, ("seen",)), 0.25)
    assert seen["coverage", "seen"] == pytest.approx(1 / 3)


def test_names_of_groups_and_what_they_change() -> None:
    assert resolve("oracle.unseen").options == {"group": "unseen"}
    assert OracleControl(group="unseen + small").oracle_groups == ("unseen", "small")
    assert OracleControl().oracle_groups == OracleControl(group="all").oracle_groups == ()
    assert "group" not in identity("oracle")["options"] and identity("oracle")["version"] == 2
    assert identity("oracle.unseen")["options"]["group"] == "unseen"
    with pytest.raises(UsageError, match="empty part"):
        OracleControl(group="unseen+")
    with pytest.raises(UsageError, match="has no weights, so no tag 'unseen'"):
        resolve("random.unseen")


def _plan(task: str, *selectors: str) -> tuple[list[str], list[str]]:
    notices: list[str] = []
    pairs = resolve_request(Request(selectors=selectors, tasks=(task,), shared={"limit": 2}), notices.append)
    return [group.selector.name for group in plan(pairs, [0.25], [0], notices.append)], notices


def test_groups_are_checked_before_a_run() -> None:
    assert _plan("shapes-coverage", "oracle", "oracle.seen", "oracle.unseen+large")[0] == [
        "oracle",
        "oracle.seen",
        "oracle.unseen+large",
    ]
    with pytest.raises(UsageError, match="no group of shapes-coverage's objects 'unsen'; did you mean 'unseen'"):
        _plan("shapes-coverage", "oracle.unsen")
    names, notices = _plan("shapes-seg", "oracle", "oracle.unseen")
    assert names == ["oracle"]
    assert "oracle.unseen is left out on shapes-seg: only coverage has ceilings of groups" in notices
    task = create_task("shapes-seg", limit=1)
    with pytest.raises(UsageError, match="the oracle has no groups"):
        task.group_oracle_scores(task.load(0), ("unseen",))
