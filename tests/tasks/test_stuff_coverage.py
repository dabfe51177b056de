from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import plan, selector_entry, task_entry
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.tasks.base import Keep, MetricRow
from ltrp_bench.tasks.catalog import stuff_coverage, voc_coverage
from ltrp_bench.tasks.segment_coverage import SegmentCoverageTask

# 4 x 4 pixels in 2 x 2 patches: person in all four quarters, sky in two, 2 pixels unlabelled, pillow in one.
MASK = np.array(
    [
        [187, 187, 187, 187],
        [187, 187, 1, 1],
        [1, 1, 0, 1],
        [141, 1, 0, 1],
    ],
    np.uint8,
)
CLASSES = "0: unlabeled\n1: person\n141: pillow\n155: sea\n187: sky-other-merged\n"


def value(rows: list[MetricRow], metric: str, group: str = "all", category: str | None = None) -> tuple[float, int]:
    (found,) = [(r.value, r.n) for r in rows if (r.metric, r.group, r.category) == (metric, group, category)]
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(MASK).save(tmp_path / "masks" / "p.png")
    Image.fromarray(np.repeat(MASK[..., None], 3, axis=2)).save(tmp_path / "images" / "p.png")
    (tmp_path / "classes.txt").write_text(CLASSES)
    return tmp_path


def kept(task: SegmentCoverageTask, patches: list[int]) -> list[MetricRow]:
    mask = np.zeros(4, bool)
    mask[patches] = True
    sample = task.load(0)
    return task.compute_metrics({"p": task.predict([sample], [Keep(mask.reshape(2, 2))])[0]})


def test_coverage_by_hand(data: Path) -> None:
    task = stuff_coverage(data, grid=2)
    rows = kept(task, [0, 2])  # the left half: 4 of 6 of the sky, 3 of 7 of the person, the whole pillow
    sky, person, pillow = 4 / 6, 3 / 7, 1.0
    assert value(rows, "coverage") == pytest.approx(((sky + person + pillow) / 3, 3))
    assert value(rows, "coverage", "seen") == pytest.approx(((person + pillow) / 2, 2))
    assert value(rows, "coverage", "unseen") == pytest.approx((sky, 1))
    assert value(rows, "coverage_gap") == pytest.approx(((person + pillow) / 2 - sky, 3))
    assert value(rows, "coverage_things") == pytest.approx((person, 1))
    assert value(rows, "coverage_stuff") == pytest.approx(((sky + pillow) / 2, 2))
    assert value(rows, "coverage_gap_stuff") == pytest.approx((pillow - sky, 2))
    assert value(rows, "coverage", "seen", "pillow") == (1.0, 1) and value(rows, "image_kept") == (0.5, 1)
    assert value(rows, "coverage", "unseen", "sky-other-merged") == pytest.approx((sky, 1))
    assert value(rows, "coverage_small")[1] == 3
    absent, none = value(rows, "coverage", "seen", "sea")
    assert np.isnan(absent) and none == 0


def test_narrow_classes_count_as_narrow_as(data: Path) -> None:
    rows = kept(stuff_coverage(data, grid=2, narrow_as="unseen"), [0, 2])
    assert value(rows, "coverage", "unseen") == pytest.approx(((4 / 6 + 3 / 7) / 2, 2))


def test_the_oracle_is_the_ceiling_of_every_choice(data: Path, shared_dir: Path) -> None:
    toy = stuff_coverage(data, grid=2)
    # Shares of sky, person and pillow in each patch, up to the factor that makes the greatest 1.
    worth = np.array([[4 / 6, 2 / 6 + 2 / 7], [3 / 7 + 1, 2 / 7]])
    np.testing.assert_allclose(toy.oracle_scores(toy.load(0)), worth / worth.max(), rtol=1e-6)
    genuine = stuff_coverage(shared_dir / "data" / "coco_stuff", grid=3, limit=8)
    for task, size in ((toy, 4), (genuine, 9)):
        for i in range(len(task)):
            sample = task.load(i)
            ranked = np.argsort(-task.oracle_scores(sample).ravel(), kind="stable")
            for k in range(1, size):
                found = {}
                for chosen in [*combinations(range(size), k), tuple(sorted(ranked[:k].tolist()))]:
                    mask = np.zeros(size, bool)
                    mask[list(chosen)] = True
                    rows = task.predict([sample], [Keep(mask.reshape(task.grid(sample)))])[0][1:]
                    found[chosen] = np.mean([row["kept"] for row in rows])
                assert found[tuple(sorted(ranked[:k].tolist()))] == pytest.approx(max(found.values()), abs=1e-6)


def test_an_image_without_labels_has_no_segments(data: Path) -> None:
    Image.fromarray(MASK * 0).save(data / "masks" / "p.png")
    task = stuff_coverage(data, grid=2)
    sample = task.load(0)
    assert not task.oracle_scores(sample).any()
    (only,) = task.predict([sample], [Keep(np.ones((2, 2), bool))])[0]
    assert only["category"] == "" and only["kept"] == 1.0


def test_bad_masks_and_options_are_one_line(data: Path) -> None:
    with pytest.raises(UsageError, match="grid"):
        stuff_coverage(data, grid=[1, 2, 3])
    with pytest.raises(InputError, match="not in the split 'imagenet1k'"):
        stuff_coverage(data, split="imagenet1k_coco80")
    with pytest.raises(UsageError, match="--data"):
        voc_coverage()
    Image.fromarray(MASK + 1).save(data / "masks" / "p.png")
    with pytest.raises(InputError, match=r"holds 2, 142, 188, which classes\.txt does not list"):
        stuff_coverage(data, grid=2).load(0)


def swept(task: SegmentCoverageTask, out: Path, names: tuple[str, ...]) -> list[CellRecord]:
    """Records through the harness, as `run` makes them, at r = 0.25."""
    own = task_entry(task)
    pairs = [(selector_entry(create_selector(name), name, {"name": name}), own) for name in names]
    return run_sweep(plan(pairs, [0.25], [0], lambda line: None), RunStore(out), SweepOptions(), Silent())


class Silent:
    def start(self, images: Mapping[str, int]) -> None: ...

    def current(self, label: str) -> None: ...

    def advance(self, key: str, images: int, seconds: float | None) -> None: ...

    def notice(self, line: str) -> None:
        raise AssertionError(line)


CONTROLS = ("full", "random", "oracle", "variance")


def test_genuine_stuff_through_the_harness(shared_dir: Path, tmp_path: Path) -> None:
    records = swept(stuff_coverage(shared_dir / "data" / "coco_stuff", limit=40), tmp_path, CONTROLS)
    frame = aggregate_cells(records).set_index("selector")
    assert frame["complete"].all() and (frame["images"] == 40).all()
    assert frame.loc["full", ["all", "seen", "unseen"]].eq(1.0).all()
    assert frame.loc["random", "all"] == pytest.approx(0.25, abs=0.04)
    assert frame.loc["oracle", "all"] > 0.2 + frame.loc[["random", "variance"], "all"].max()
    for record in records:
        numbers = {(m.metric, m.group, m.category): m for m in record.metrics}
        things, stuff = (numbers[f"coverage_{kind}", "all", None] for kind in ("things", "stuff"))
        assert things.n + stuff.n == numbers["coverage", "all", None].n and min(things.n, stuff.n) > 50


def test_genuine_voc_through_the_harness(shared_dir: Path, tmp_path: Path) -> None:
    task = voc_coverage(shared_dir / "data" / "voc2012", limit=20, narrow_as="unseen")
    records = swept(task, tmp_path, CONTROLS)
    frame = aggregate_cells(records).set_index("selector")
    assert frame["complete"].all() and frame.loc["full", "all"] == 1.0
    assert frame.loc["oracle", "all"] > 0.7 > frame.loc["variance", "all"]
    assert not any(m.metric.startswith("coverage_things") for record in records for m in record.metrics)
