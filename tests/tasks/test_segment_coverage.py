"""`ade20k-coverage` and `context-coverage`: their layouts, their values, their segments."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Keep, MetricRow
from ltrp_bench.tasks.catalog import ade20k_coverage, context_coverage, voc_coverage
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.registry import create_task
from ltrp_bench.tasks.splits.split import load_split

# 4 x 4 pixels in 2 x 2 patches. Of ADE20K: wall (1, narrow) in 5 pixels, sky (3, unseen) in 4, car (21, seen) in 5.
MASK = np.array(
    [
        [3, 3, 1, 1],
        [3, 3, 1, 0],
        [21, 21, 1, 0],
        [21, 21, 21, 1],
    ],
    np.uint8,
)
ADE, TRAIN = ("images/validation", "annotations/validation"), ("images/training", "annotations/training")


def save(root: Path, folders: tuple[str, str], masks: dict[str, np.ndarray]) -> Path:
    """Images (JPEG, grey) and masks by name."""
    for name, mask in masks.items():
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*mask.shape, 3), 99, np.uint8)).save(root / folders[0] / f"{name}.jpg")
        Image.fromarray(mask).save(root / folders[1] / f"{name}.png")
    return root


def value(rows: list[MetricRow], metric: str, group: str = "all", category: str | None = None) -> tuple[float, int]:
    (found,) = [(r.value, r.n) for r in rows if (r.metric, r.group, r.category) == (metric, group, category)]
    return found


def kept(task: CoverageTask, chosen: np.ndarray) -> list[MetricRow]:
    """Metrics of all images with the patches [gh, gw] bool kept."""
    samples = [task.load(i) for i in range(len(task))]
    return task.compute_metrics({s.image_id: task.predict([s], [Keep(chosen)])[0] for s in samples})


LEFT = np.array([[True, False], [True, False]])


def test_ade20k_by_hand(tmp_path: Path) -> None:
    task = ade20k_coverage(save(tmp_path, ADE, {"p": MASK}), grid=2)
    rows = kept(task, LEFT)  # all of the sky, none of the wall, 4 of 5 of the car
    assert len(task.dataset.categories) == 150 and task.headline == "coverage"
    assert value(rows, "coverage") == pytest.approx((0.6, 3))
    assert value(rows, "coverage", "seen") == pytest.approx((0.4, 2))
    assert value(rows, "coverage", "unseen") == (1.0, 1)
    assert value(rows, "coverage_gap") == pytest.approx((-0.6, 3))
    assert value(rows, "coverage", "seen", "car") == pytest.approx((0.8, 1))
    assert value(rows, "coverage", "seen", "wall") == (0.0, 1) and value(rows, "image_kept") == (0.5, 1)
    strict = kept(ade20k_coverage(tmp_path, grid=2, narrow_as="unseen"), LEFT)
    assert value(strict, "coverage", "unseen") == pytest.approx((0.5, 2))
    assert value(strict, "coverage", "seen") == pytest.approx((0.8, 1))
    assert not any("things" in row.metric or "stuff" in row.metric for row in rows), "ADE20K tells no things"


def test_context_by_hand(tmp_path: Path) -> None:
    # 1 aeroplane (seen), 47 sky (unseen); 0 and 255 are ignored.
    mask = np.array([[1, 1, 47, 47], [1, 1, 47, 0], [255, 0, 47, 47], [0, 0, 47, 47]], np.uint8)
    save(tmp_path / "VOCdevkit" / "VOC2010", ("JPEGImages", "SegmentationClassContext"), {"p": mask})
    rows = kept(context_coverage(tmp_path, grid=2), LEFT)
    assert value(rows, "coverage") == (0.5, 2) and value(rows, "image_kept") == (0.5, 1)
    assert value(rows, "coverage", "seen", "aeroplane") == (1.0, 1)
    assert value(rows, "coverage", "unseen", "sky") == (0.0, 1) and value(rows, "coverage_gap") == (1.0, 2)


@pytest.mark.parametrize("top", [".", "ADEChallengeData2016"])
def test_ade20k_as_it_is_unpacked(tmp_path: Path, top: str) -> None:
    save(tmp_path / top, ADE, {"b": MASK, "a": MASK.T.copy()})
    save(tmp_path / top, TRAIN, {"t": MASK})
    task = create_task("ade20k-coverage", tmp_path, grid=2)
    assert [task.image_id(i) for i in range(len(task))] == ["a", "b"]
    assert [create_task("ade20k-coverage", tmp_path, subset="training", limit=1).image_id(0)] == ["t"]
    assert len(create_task("ade20k-coverage", tmp_path, limit=1)) == 1
    with pytest.raises(InputError, match=r"no ADE20K in .*images/test.*ADEChallengeData2016\.zip"):
        ade20k_coverage(tmp_path, subset="test")


def test_context_by_its_lists(tmp_path: Path) -> None:
    ones = np.ones((4, 4), np.uint8)
    save(tmp_path, ("JPEGImages", "SegmentationClassContext"), {"a": ones, "b": ones, "c": ones})
    assert len(create_task("context-coverage", tmp_path)) == 3
    lists = tmp_path / "ImageSets" / "SegmentationContext"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("c\na\n")
    assert context_coverage(tmp_path).dataset.ids == ("a", "c")
    with pytest.raises(UsageError, match="there are val"):
        context_coverage(tmp_path, subset="train")
    for text, counted, refused in (
        ("c\nc\n", "1 of 2 images listed twice", r"val\.txt lists c twice \(--strict\)"),
        (
            "c\nz\n",
            "1 of 2 images left out: they have no mask",
            r"val\.txt lists z, which has no file in .* \(--strict\)",
        ),
    ):
        (lists / "val.txt").write_text(text)
        dataset = context_coverage(tmp_path).dataset
        assert dataset.ids == ("c",) and [one.line.partition(" (")[0] for one in dataset.omissions()] == [counted]
        with pytest.raises(InputError, match=refused):
            context_coverage(tmp_path, strict=True)


@pytest.mark.parametrize("make", [ade20k_coverage, context_coverage])
def test_missing_data_is_one_line(tmp_path: Path, make: type[CoverageTask]) -> None:
    with pytest.raises(UsageError, match="--data"):
        make()
    with pytest.raises(InputError) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value) and "get " in str(caught.value)


def test_a_split_of_other_data_and_bad_grids_are_refused(tmp_path: Path) -> None:
    save(tmp_path, ADE, {"p": MASK})
    with pytest.raises(InputError, match=r"ade20k-coverage: .*not in the split 'imagenet1k' \(80 categories\)"):
        ade20k_coverage(tmp_path, split="imagenet1k_coco80")
    for bad in (0, [2, 2, 2]):
        with pytest.raises(UsageError, match="grid"):
            ade20k_coverage(tmp_path, grid=bad)


def test_an_unknown_mask_value_is_one_line(tmp_path: Path) -> None:
    task = ade20k_coverage(save(tmp_path, ADE, {"p": MASK + 140}), grid=2)
    with pytest.raises(InputError, match=r"p\.png holds 161, which ADE20K \(1 to 150\) does not list"):
        task.load(0)
    (tmp_path / "annotations" / "validation" / "p.png").unlink()
    with pytest.raises(InputError, match="1 images in .* have no mask, first p"):
        ade20k_coverage(tmp_path)


def test_identity_holds_what_results_depend_on(tmp_path: Path) -> None:
    save(tmp_path, ADE, {"p": MASK})
    mine = tmp_path / "mine.csv"
    states = load_split("imagenet1k_ade20k").states
    mine.write_text("category,state\n" + "".join(f'"{name}",seen\n' for name in states))
    given = [{"grid": 2}, {"grid": 2, "split": mine}, {"grid": 4}, {"grid": 2, "narrow_as": "unseen"}]
    tasks: list[Any] = [ade20k_coverage(tmp_path, **options) for options in given]
    identities = [task.identity() for task in tasks]
    assert all(one not in identities[:i] for i, one in enumerate(identities))
    assert identities[0] == ade20k_coverage(tmp_path, grid=2).identity()
    rows = kept(tasks[1], LEFT)
    assert value(rows, "coverage", "seen") == pytest.approx((0.6, 3))
    assert np.isnan(value(rows, "coverage", "unseen")[0]) and np.isnan(value(rows, "coverage_gap")[0])


def test_genuine_ade20k_against_counted_pixels(shared_dir: Path) -> None:
    """Sides that 2 x 3 patches do not divide: a pixel on a border counts by the share of it on either side."""
    data = shared_dir / "data" / "ade20k"
    task = ade20k_coverage(data, grid=[2, 3])
    assert len(task) == 4
    names = list(load_split("imagenet1k_ade20k").states)
    for i in range(len(task)):
        sample = task.load(i)
        mask = np.asarray(Image.open(data / "annotations" / f"{sample.image_id}.png"))
        assert mask.shape == sample.image.shape[:2]
        fine = mask.repeat(2, 0).repeat(3, 1)  # each pixel in 2 x 3, so that borders fall between
        height, width = mask.shape
        for patch in range(6):
            chosen = np.zeros(6, bool)
            chosen[patch] = True
            row, column = divmod(patch, 3)
            inside = fine[row * height : (row + 1) * height, column * width : (column + 1) * width]
            counted = {names[v - 1]: (inside == v).sum() / (fine == v).sum() for v in np.unique(mask) if v}
            rows = task.predict([sample], [Keep(chosen.reshape(2, 3))])[0]
            found = {row["category"]: row["kept"] for row in rows[1:]}
            assert found == pytest.approx(counted, abs=1e-8)


def test_ade20ks_values_are_in_the_official_order(shared_dir: Path) -> None:
    with (shared_dir / "data" / "ade20k" / "objectInfo150.csv").open(newline="") as file:
        official = [f";{row['Name']};" for row in csv.DictReader(file)]
    ours = [f";{name.replace(' ', ';')};" for name in load_split("imagenet1k_ade20k").states]
    assert len(official) == len(ours) == 150  # the file writes spaces as semicolons too
    assert [name for name, names in zip(ours, official, strict=True) if name not in names] == []


def test_context_agrees_with_voc_where_its_categories_do(shared_dir: Path, tmp_path: Path) -> None:
    """VOC's genuine masks under Pascal-Context's numbers: both tasks must say the same of every category."""
    voc = shared_dir / "data" / "voc2012"
    context = [{"table": "diningtable"}.get(name, name) for name in load_split("imagenet1k_context59").states]
    numbers = np.zeros(256, np.uint8)
    for number, name in enumerate(load_split("imagenet1k_voc20").states, start=1):
        numbers[number] = context.index(name) + 1
    (tmp_path / "SegmentationClassContext").mkdir()
    (tmp_path / "JPEGImages").symlink_to(voc / "JPEGImages")
    for file in sorted((voc / "SegmentationClass").glob("*.png"))[:12]:
        Image.fromarray(numbers[np.asarray(Image.open(file))]).save(tmp_path / "SegmentationClassContext" / file.name)
    chosen = np.random.default_rng(0).random((7, 7)) < 0.4
    ours, theirs = context_coverage(tmp_path, grid=7), voc_coverage(voc, grid=7, limit=12)
    assert ours.dataset.ids == theirs.dataset.ids
    rows, expected = kept(ours, chosen), kept(theirs, chosen)
    assert value(rows, "coverage") == value(expected, "coverage") and value(rows, "coverage")[1] > 15
    found = {r.category: (r.value, r.n) for r in rows if r.category and r.n}
    assert {{"table": "diningtable"}.get(c, c): v for c, v in found.items()} == {
        r.category: (r.value, r.n) for r in expected if r.category and r.n
    }
