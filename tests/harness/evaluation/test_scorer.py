"""Scores on the task's grid: normalization, resizing, batches and failures."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
import torch
import toy_bench as toy

from ltrp_bench.harness.evaluation.scorer import Scorer, batches_by, check_oracle_groups, oracle_scores
from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.controls import OracleControl, VarianceControl
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Sample

CPU = torch.device("cpu")


def test_batches_share_size_and_keep_order() -> None:
    """On a GPU, batches are scored and the scores returned in the order of the images."""
    task = toy.ToyTask()
    samples = [task.load(index) for index in range(20)]
    grids = [task.grid(sample) for sample in samples]
    together = Scorer(toy.NetSelector(), CPU, 8).scores(samples, grids, 0)
    for sample, grid, scores in zip(samples, grids, together, strict=True):
        (alone,) = Scorer(toy.NetSelector(), CPU, 1).scores([sample], [grid], 0)
        assert scores.shape == grid and np.allclose(scores, alone, atol=1e-5)


def test_images_are_normalised_and_resized_for_each_selector() -> None:
    seen: dict[str, torch.Tensor] = {}

    class Watching(toy.PlainSelector):
        mean, std, input_size = (0.1, 0.2, 0.3), (0.5, 0.25, 1.0), (16, 32)

        def scores(self, images: torch.Tensor) -> torch.Tensor:
            seen["images"] = images
            return images[:, 0, ::8, ::8]

    sample = toy.ToyTask().load(1)
    sample.image[:] = (255, 0, 51)
    (scores,) = Scorer(Watching(), CPU, 4).scores([sample], [(4, 6)], 0)
    assert seen["images"].shape == (1, 3, 16, 32)
    expected = torch.tensor([(1 - 0.1) / 0.5, (0 - 0.2) / 0.25, (0.2 - 0.3) / 1.0])
    assert torch.allclose(seen["images"].mean((0, 2, 3)), expected, atol=1e-5)
    assert scores.shape == (4, 6) and scores.dtype == np.float32
    # Without a size of its own: the grid times the patch size.
    (scores,) = Scorer(VarianceControl(4), CPU, 4).scores([sample], [(5, 7)], 0)
    assert scores.shape == (5, 7)


def test_batches_by_shape_keep_the_order_within_a_shape() -> None:
    assert list(batches_by("abaabba", 2)) == [[0, 2], [3, 6], [1, 4], [5]]
    assert list(batches_by([], 2)) == []


def test_ground_truth_reaches_a_selector_that_needs_it() -> None:
    images = toy.load(toy.ToyTask(), 0, 3)
    objects = [np.full(grid, index, np.float32) for index, grid in enumerate(images.grids)]
    scorer = Scorer(OracleControl(8), CPU, 2)
    assert scorer.needs_context
    for scores, expected in zip(scorer.scores(images.samples, images.grids, 0, objects), objects, strict=True):
        assert np.array_equal(scores, expected)


@pytest.mark.parametrize(("batch_size", "where"), [(1, "image 'toy 0'"), (8, "images 'toy 0' to 'toy 6'")])
def test_a_failure_names_selector_and_images(batch_size: int, where: str) -> None:
    class Failing(toy.PlainSelector):
        def scores(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of ideas")

    images = toy.load(toy.ToyTask(), 0, 7)  # images 0, 3 and 6 are of one size
    with pytest.raises(InputError) as caught:
        Scorer(Failing(), CPU, batch_size).scores(images.samples, images.grids, 0)
    assert str(caught.value) == f"selector 'plain' failed on {where}: RuntimeError: out of ideas"


def test_a_selector_is_moved_to_the_device_once() -> None:
    moves: list[torch.device] = []

    class Moving(toy.PlainSelector):
        def to(self, device: torch.device) -> None:
            moves.append(device)

    scorer, images = Scorer(Moving(), CPU, 1), toy.load(toy.ToyTask(), 0, 2)
    for _ in range(2):
        scorer.scores(images.samples, images.grids, 0)
    assert moves == [CPU]


def test_a_selector_is_told_ids_seed_and_grid_on_the_scorers_device() -> None:
    asked: list[BatchContext | None] = []
    devices: list[object] = []

    class Asking(toy.NetSelector):
        def _scores(self, images: torch.Tensor, context: BatchContext | None) -> torch.Tensor:
            asked.append(context)
            return super()._scores(images, context)

        def prepare(
            self, images: Sequence[np.ndarray], grid: tuple[int, int], device: torch.device | str = "meta"
        ) -> torch.Tensor:
            devices.append(device)
            return super().prepare(images, grid, "cpu")

    images = toy.load(toy.ToyTask(), 0, 4)
    Scorer(Asking(), CPU, 8).scores(images.samples, images.grids, 5)
    assert asked == [
        BatchContext(("toy 0", "toy 3"), seed=5, grid=(5, 5)),
        BatchContext(("toy 1", "toy 2"), seed=5, grid=(4, 6)),
    ]
    assert devices == [CPU, CPU]


def test_scores_that_are_not_finite_name_selector_and_image() -> None:
    images = toy.load(toy.ToyTask(), 0, 2)
    with pytest.raises(InputError, match="selector 'broken' returned NaN or infinite scores for image 'toy 0'"):
        Scorer(toy.BrokenSelector(), CPU, 2).scores(images.samples, images.grids, 0)


def test_scores_of_a_selector_that_checks_nothing_are_checked() -> None:
    class Unchecked(toy.NetSelector):
        def scores(self, images: torch.Tensor, context: BatchContext | None = None) -> torch.Tensor:
            return torch.full((len(images), 2, 2), torch.nan)

    images = toy.load(toy.ToyTask(), 1, 3)
    with pytest.raises(InputError, match="selector 'net' returned NaN or infinite scores for image 'toy 1'"):
        Scorer(Unchecked(), CPU, 2).scores(images.samples, images.grids, 0)


class GroupedTask(toy.ToyTask):
    """A task that has ground truth by groups: of "a" and "b" together, twice that of all objects."""

    oracle_groups = ("a", "b")

    def group_oracle_scores(self, sample: Sample, groups: Collection[str]) -> np.ndarray:
        assert tuple(groups) == ("a", "b")
        return 2 * self.oracle_scores(sample).astype(np.float64)


def test_ground_truth_is_that_of_the_selectors_groups() -> None:
    task = GroupedTask()
    sample = task.load(1)
    truth = task.oracle_scores(sample)
    assert np.array_equal(oracle_scores(OracleControl(8), task, sample), truth)
    grouped = oracle_scores(OracleControl(8, "a+b"), task, sample)
    assert grouped.dtype == np.float32 and np.array_equal(grouped, 2 * truth)


def test_a_group_that_the_task_lacks_is_refused() -> None:
    check_oracle_groups(OracleControl(8, "b+a"), GroupedTask())
    check_oracle_groups(OracleControl(8), toy.ToyTask())
    with pytest.raises(UsageError, match="group of toy-coverage's objects 'c'.*a, b"):
        check_oracle_groups(OracleControl(8, "a+c"), GroupedTask())
