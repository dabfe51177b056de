"""`show` draws what a sweep measures: the same scores and the same kept patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_bench
from PIL import Image

from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.harness.evaluation.plan import plan, task_entry
from ltrp_bench.harness.evaluation.sweep import run_sweep
from ltrp_bench.harness.visualization.images import load_image_files
from ltrp_bench.harness.visualization.selections import build_selectors, build_selectors_and_task, select_patches
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Keep, ReducedInput, Row, Sample
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.registry import create_task


class RecordingTask(CoverageTask):
    """Coverage on `shapes` that records every reduced input it is given."""

    given: dict[tuple[str, int], list[np.ndarray]]

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        for sample, reduction in zip(samples, reductions, strict=True):
            assert isinstance(reduction, Keep)
            kept = int(reduction.mask.sum())
            self.given.setdefault((sample.image_id, kept), []).append(reduction.mask)
        return super().predict(samples, reductions)


@pytest.mark.parametrize("name", ["ltrp.shapes", "variance", "random", "oracle", "full"])
def test_kept_patches_are_those_that_a_sweep_gives_to_the_task(world: Any, name: str, tmp_path: Path) -> None:
    task: Any = create_task("shapes-coverage", images=4)
    task.__class__, task.given = RecordingTask, {}
    entries, _ = build_selectors_and_task(Request(selectors=(name,), tasks=("shapes-coverage",)), pytest.fail)
    groups = plan([(entries[0], task_entry(task))], (0.25, 0.5), (7,), lambda line: None)
    run_sweep(groups, RunStore(tmp_path), SweepOptions(workers=0), toy_bench.Recorder())
    for image, selection in zip(world.images, world.selections[name], strict=True):
        assert list(selection.reduced) == ([1.0] if name == "full" else [0.25, 0.5])
        for ratio, reduced in selection.reduced.items():
            assert isinstance(reduced, Keep)
            assert reduced.mask.sum() == round(144 * ratio)
            (given,) = task.given[image.sample.image_id, round(144 * ratio)]
            np.testing.assert_array_equal(reduced.mask, given)


def test_the_seed_changes_stochastic_selectors_only(world: Any) -> None:
    request = Request(selectors=("random", "ltrp"), tasks=("shapes-coverage",))
    entries, _ = build_selectors_and_task(request, pytest.fail)
    random, ltrp = (
        select_patches(entry, world.images, (0.25,), seed=8, device="cpu")[0].reduced[0.25].mask for entry in entries
    )
    assert (random != world.selections["random"][0].reduced[0.25].mask).any()
    assert (ltrp == world.selections["ltrp.shapes"][0].reduced[0.25].mask).all()
    with pytest.raises(UsageError, match=r"--seed 9223372036854775808: a seed is .* to 2\*\*63 - 1"):
        select_patches(entries[0], world.images, (0.25,), seed=2**63, device="cpu")


def test_the_oracle_on_files_ranks_by_their_masks(image_file: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:10, :15], mask[20:30, 15:30] = 255, 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (image,) = load_image_files([image_file], (4, 4), [tmp_path / "mask.png"])
    (oracle,) = build_selectors(Request(selectors=("oracle",), tasks=()), pytest.fail)
    kept = select_patches(oracle, [image], (0.125,), seed=0, device="cpu")[0].reduced[0.125]
    assert isinstance(kept, Keep) and [tuple(place) for place in np.argwhere(kept.mask)] == [(0, 0), (2, 1)]
    # The small object counts as much as the large one, so its patch comes before either half of the other's.
    mask[:] = 0
    mask[:10, :30], mask[35:, 50:] = 1, 2
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (image,) = load_image_files([image_file], (4, 4), [tmp_path / "mask.png"])
    kept = select_patches(oracle, [image], (0.0625,), seed=0, device="cpu")[0].reduced[0.0625]
    assert isinstance(kept, Keep) and [tuple(place) for place in np.argwhere(kept.mask)] == [(3, 3)]
    (unseen,) = build_selectors(Request(selectors=("oracle.unseen",), tasks=()), pytest.fail)
    with pytest.raises(UsageError, match="ranks for unseen alone, which only `ltrp-bench run` on a coverage task"):
        select_patches(unseen, [image], (0.25,), seed=0, device="cpu")
    with pytest.raises(InputError, match="'oracle' ranks by ground truth, a.png has none: give --truth"):
        select_patches(oracle, load_image_files([image_file], (4, 4), []), (0.25,), seed=0, device="cpu")


def test_random_scores_depend_on_a_files_name_and_not_on_its_folder(image_file: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    copy = tmp_path / "b" / image_file.name
    copy.write_bytes(image_file.read_bytes())
    (entry,) = build_selectors(Request(selectors=("random",), tasks=()), pytest.fail)
    images = load_image_files([image_file, copy], (4, 4), [])
    first, second = select_patches(entry, images, (0.25,), seed=0, device="cpu")
    np.testing.assert_array_equal(first.scores, second.scores)


def test_downsample_needs_a_task_that_supports_it() -> None:
    with pytest.raises(UsageError, match="'shapes-coverage' does not support --selector downsample"):
        build_selectors_and_task(Request(selectors=("downsample",), tasks=("shapes-coverage",)), pytest.fail)
