"""Second stage of a sweep: from images and rankings to the task's rows at one keep ratio."""

from __future__ import annotations

from collections.abc import Sequence

from ltrp_bench.harness.evaluation.cost import CostRecorder
from ltrp_bench.harness.evaluation.loading import LoadedSpan
from ltrp_bench.harness.evaluation.plan import Cell
from ltrp_bench.harness.evaluation.ranking import PatchRanking
from ltrp_bench.harness.evaluation.scorer import batches_by
from ltrp_bench.results.schema.image_rows import Images, normalise_rows
from ltrp_bench.results.schema.rows import Row
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Downsample, Keep, ReducedInput, Task


class TaskStage:
    """Runs a task on reduced images and checks its rows.

    Args:
        task: the task.
        costs: gets the time of the task's model.
        batch_size: most images per call of `Task.predict`; images of one call share size and grid.
    """

    def __init__(self, task: Task, costs: CostRecorder, batch_size: int) -> None:
        self._task, self._costs, self._batch_size = task, costs, batch_size

    def rows(self, cell: Cell, loaded: LoadedSpan, rankings: Sequence[PatchRanking] | None) -> Images:
        """Rows of each image of a span at the keep ratio of `cell`, in the order of the samples.

        Args:
            cell: the cell to measure.
            loaded: the images.
            rankings: one per image; None where the task shrinks images instead of keeping patches.

        Raises:
            InputError: rows of another number of images. ResultsError: rows that do not fit the task's `row_schema`.
        """
        inputs: Sequence[ReducedInput]
        if rankings is None:
            inputs = [Downsample(cell.keep_ratio)] * len(loaded.samples)
        else:
            inputs = [Keep(ranking.mask(cell.keep_ratio)) for ranking in rankings]
        with self._costs.measure_model(cell.fingerprint, len(loaded.samples)):
            return self._predict(loaded, inputs)

    def _predict(self, loaded: LoadedSpan, inputs: Sequence[ReducedInput]) -> Images:
        task, samples = self._task, loaded.samples
        rows: dict[int, list[Row]] = {}
        shapes = [(sample.image.shape, grid) for sample, grid in zip(samples, loaded.grids, strict=True)]
        for batch in batches_by(shapes, self._batch_size):
            predicted = task.predict([samples[i] for i in batch], [inputs[i] for i in batch])
            if len(predicted) != len(batch):
                raise InputError(f"task {task.name!r} gave rows of {len(predicted)} images for {len(batch)}")
            for i, image_rows in zip(batch, predicted, strict=True):
                where = f"task {task.name!r}, image {samples[i].image_id!r}"
                rows[i] = normalise_rows(image_rows, task.row_schema, where)
        return {sample.image_id: rows[i] for i, sample in enumerate(samples)}
