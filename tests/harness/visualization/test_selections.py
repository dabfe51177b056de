"""What is shown is what is measured: scores, kept patches, borders of patches and objects of `ltrp-bench show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_bench
from PIL import Image

from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import plan, task_entry
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.harness.visualization.images import DisplayImage, file_images, task_images
from ltrp_bench.harness.visualization.panel_grid import coloured, greyed
from ltrp_bench.harness.visualization.score_figure import score_sheet
from ltrp_bench.harness.visualization.selections import Shown, asks_truth, file_selectors, shown, task_selectors
from ltrp_bench.results.report.style import plot_style
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep, PatchEdges, ReducedInput, Row, Sample
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, patch_edges
from ltrp_bench.tasks.registry import create_task

NAMES = ["ltrp", "variance", "random", "oracle", "full"]


class Watched(CoverageTask):
    """Coverage on the built-in world that remembers every reduction it is handed."""

    handed: dict[tuple[str, int], list[np.ndarray]]

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        for sample, reduction in zip(samples, reductions, strict=True):
            assert isinstance(reduction, Keep)
            kept = int(reduction.mask.sum())
            self.handed.setdefault((sample.image_id, kept), []).append(reduction.mask)
        return super().predict(samples, reductions)


@dataclass
class World:
    images: list[DisplayImage]
    results: dict[str, list[Shown]]


@pytest.fixture(scope="module")
def world() -> World:
    entries, task = task_selectors(Request(selectors=tuple(NAMES), tasks=("shapes-coverage",)), pytest.fail)
    images = task_images(task.task, [3, 0], asks_truth(entries))
    return World(images, {e.name: shown(e, images, (0.25, 0.5), 7, "cpu") for e in entries})


@pytest.mark.parametrize("name", ["ltrp.shapes", "variance", "random", "oracle", "full"])
def test_kept_patches_are_those_that_the_sweep_hands_to_the_task(world: World, name: str, tmp_path: Path) -> None:
    task: Any = create_task("shapes-coverage", images=4)
    task.__class__, task.handed = Watched, {}
    entries, _ = task_selectors(Request(selectors=(name,), tasks=("shapes-coverage",)), pytest.fail)
    groups = plan([(entries[0], task_entry(task))], (0.25, 0.5), (7,), lambda line: None)
    run_sweep(groups, RunStore(tmp_path), SweepOptions(workers=0), toy_bench.Recorder())
    for image, one in zip(world.images, world.results[name], strict=True):
        assert list(one.kept) == ([1.0] if name == "full" else [0.25, 0.5])
        for ratio, reduction in one.kept.items():
            assert isinstance(reduction, Keep)
            assert reduction.mask.sum() == round(144 * ratio)
            (handed,) = task.handed[image.sample.image_id, round(144 * ratio)]
            np.testing.assert_array_equal(reduction.mask, handed)


def test_seeds_change_what_chance_keeps_alone(world: World) -> None:
    entries, _ = task_selectors(Request(selectors=("random", "ltrp"), tasks=("shapes-coverage",)), pytest.fail)
    chance, learnt = (shown(entry, world.images, (0.25,), 8, "cpu")[0].kept[0.25].mask for entry in entries)
    assert (chance != world.results["random"][0].kept[0.25].mask).any()
    assert (learnt == world.results["ltrp.shapes"][0].kept[0.25].mask).all()
    with pytest.raises(UsageError, match=r"2\*\*63"):
        shown(entries[0], world.images, (0.25,), 2**63, "cpu")


def test_objects_are_where_the_oracle_is_told_they_are(world: World) -> None:
    for image in world.images:
        union = np.any([one.mask for one in image.outlines], axis=0)
        np.testing.assert_allclose(covered_share(union.astype(np.uint8), *image.edges), image.share)
        assert {one.state for one in image.outlines} <= {"seen", "unseen"}
    first = world.images[0]
    states = {one.category: one.state for one in first.outlines}
    assert states["quarters star"] == "seen" and states["spots star"] == "unseen"


@pytest.mark.parametrize("name", ["shapes-multilabel", "shapes-seg", "shapes-cls"])
def test_objects_of_tasks_that_resize_or_crop(name: str) -> None:
    task = create_task(name, images=8)
    (image,) = task_images(task, [5], True)
    assert image.grid == image.share.shape
    if name == "shapes-cls":  # one label, no outline known
        assert image.outlines == () and len(image.labels) == 1
        return
    union = np.any([one.mask for one in image.outlines], axis=0)
    np.testing.assert_allclose(covered_share(union.astype(np.uint8), *image.edges), image.share, atol=0.02)
    assert image.labels == ()


class Resized(toy_bench.ToyTask):
    """A task whose model resizes images, so that the last patches are cut: 50x70 pixels, patches of 16."""

    def patch_edges(self, sample: Sample) -> PatchEdges:
        height, width = sample.image.shape[:2]
        return patch_edges(height, 50, 16), patch_edges(width, 70, 16)

    def grid(self, sample: Sample) -> tuple[int, int]:
        return 4, 5


def test_cut_patches_are_drawn_where_the_models_resize_puts_them() -> None:
    (image,) = task_images(Resized(), [1], False)
    height, width = image.sample.image.shape[:2]
    assert image.edges[0] == pytest.approx([0, 16 * height / 50, 32 * height / 50, 48 * height / 50, height])
    assert image.edges[1][-2:] == pytest.approx([64 * width / 70, width])
    numbers = np.arange(20).reshape(4, 5)
    drawn = image.spread(numbers)
    assert drawn.shape == (height, width)
    assert drawn[0, 0] == 0 and drawn[-1, -1] == 19 and drawn[0, -1] == 4
    # The last row of patches is a sliver: 2 of the content's 50 rows.
    assert (drawn >= 15).sum() == width * sum(y + 0.5 >= 48 * height / 50 for y in range(height))
    toy: Any = toy_bench.ToyTask()
    (even,) = task_images(toy, [1], False)
    assert even.edges[0] == tuple(8.0 * i for i in range(even.grid[0] + 1))


def image_file(folder: Path, size: tuple[int, int] = (60, 40), name: str = "a.png") -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def test_files_with_masks_of_their_own(tmp_path: Path) -> None:
    file, mask = image_file(tmp_path), np.zeros((40, 60), np.uint8)
    mask[:10, :15], mask[20:30, 15:30] = 255, 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (image,) = file_images([file], (4, 4), [tmp_path / "mask.png"])
    expected = np.zeros((4, 4))
    expected[0, 0] = expected[2, 1] = 1
    np.testing.assert_allclose(image.share, expected)
    assert len(image.outlines) == 2
    (oracle,) = file_selectors(Request(selectors=("oracle",), tasks=()))
    kept = shown(oracle, [image], (0.125,), 0, "cpu")[0].kept[0.125]
    assert isinstance(kept, Keep) and (kept.mask == (expected > 0)).all()
    with pytest.raises(InputError, match="ranks by ground truth"):
        shown(oracle, file_images([file], (4, 4), []), (0.25,), 0, "cpu")
    with pytest.raises(UsageError, match="1 --truth for 2 images"):
        file_images([file, file], (4, 4), [tmp_path / "mask.png"])
    Image.fromarray(mask[:20]).save(tmp_path / "other.png")
    with pytest.raises(InputError, match="other.png has 20x60 pixels"):
        file_images([file], (4, 4), [tmp_path / "other.png"])


def test_photographs_are_turned_as_their_exif_says_and_drawn_small(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1500, 900), "red").save(tmp_path / "a.jpg", exif=exif)
    (image,) = file_images([tmp_path / "a.jpg"], (14, 14), [])
    assert image.sample.image.shape == (1500, 900, 3) and image.pixels.shape == (640, 384, 3)
    assert image.edges[0][-1] == pytest.approx(640) and image.edges[1][-1] == pytest.approx(384)


def test_chance_depends_on_a_files_name_and_not_on_its_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    here, there = image_file(tmp_path), image_file(tmp_path / "b")
    (entry,) = file_selectors(Request(selectors=("random",), tasks=()))
    one, other = shown(entry, file_images([here, there], (4, 4), []), (0.25,), 0, "cpu")
    np.testing.assert_array_equal(one.scores, other.scores)


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_gid() == "panel"]


@pytest.mark.parametrize(("layout", "rows"), [("row", 2), ("block", 6)])
def test_the_figure_has_a_panel_for_everything(world: World, layout: Any, rows: int) -> None:
    results = [world.results[name] for name in ("ltrp.shapes", "random", "full")]
    with plot_style():
        figure = score_sheet(world.images, results, layout).figure()
        drawn = panels(figure)
        texts = [text.get_text() for text in figure.texts]
    # An image and its objects; scores and two ratios of two selectors; scores and one ratio of `full`.
    assert len(drawn) == 2 * (2 + 3 + 3 + 2)
    assert len({round(axes.get_position().y1, 6) for axes in drawn}) == rows
    assert [t for t in texts if t in ("ltrp.shapes", "random", "full")] == ["ltrp.shapes", "random", "full"]
    assert texts.count("r = 0.25: 36 of 144") == 4 and texts.count("all scores equal") == 2
    assert "seen category" in texts and "unseen category" in texts


def test_panels_show_the_scores_and_the_kept_pixels(world: World) -> None:
    image, one = world.images[0], world.results["ltrp.shapes"][0]
    sheet = score_sheet(world.images, [world.results["ltrp.shapes"]], "row")
    _, _, scores, kept, _ = [panel for panel in sheet.panels if panel.row == 0]
    # 12 x 12 patches of 8 pixels, each of one colour; the best patch has the map's last colour.
    assert (scores.pixels == scores.pixels[::8, ::8].repeat(8, 0).repeat(8, 1)).all()
    best = np.unravel_index(one.scores.argmax(), (12, 12))
    assert (scores.pixels[8 * best[0], 8 * best[1]] == coloured(np.array([0.0, 1.0]), "viridis")[1]).all()
    mask = one.kept[0.25].mask.repeat(8, 0).repeat(8, 1)
    assert (kept.pixels[mask] == image.pixels[mask]).all()
    dropped = kept.pixels[~mask].astype(int)
    assert (np.ptp(dropped, axis=-1) == 0).all() and dropped.min() > 170  # grey and pale
    assert greyed(image.pixels, mask, "dark")[~mask].max() < 100


def test_ranks_leave_only_the_order(world: World) -> None:
    one = world.results["ltrp.shapes"][0]
    changed = Shown(one.entry, np.exp(5 * one.scores), one.kept)
    image = world.images[:1]
    ranks = [score_sheet(image, [[each]], by="rank").panels[2].pixels for each in (one, changed)]
    scores = [score_sheet(image, [[each]]).panels[2].pixels for each in (one, changed)]
    assert (ranks[0] == ranks[1]).all() and (scores[0] != scores[1]).any()


def test_downsample_is_shown_as_the_smaller_image(tmp_path: Path) -> None:
    images = file_images([image_file(tmp_path)], (4, 4), [])
    (entry,) = file_selectors(Request(selectors=("downsample",), tasks=()))
    results = shown(entry, images, (0.25,), 0, "cpu")
    assert results[0].scores is None and results[0].kept == {0.25: Downsample(0.25)}
    panel = score_sheet(images, [results]).panels[-1]
    assert panel.caption == "r = 0.25: 30x20 pixels" and panel.pixels.shape == (40, 60, 3)
    assert (panel.pixels == panel.pixels[::2, ::2].repeat(2, 0).repeat(2, 1)).all()
    with pytest.raises(UsageError, match="leave out --selector downsample"):
        task_selectors(Request(selectors=("downsample",), tasks=("shapes-coverage",)), pytest.fail)
