"""Images are loaded in order, whatever the number of threads."""

from __future__ import annotations

import threading

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.loading import load_spans, spans
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Sample


def test_spans() -> None:
    assert spans(150, 64) == [(0, 64), (64, 128), (128, 150)] and spans(64, 64) == [(0, 64)]


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_images_come_in_order(workers: int) -> None:
    task = toy.ToyTask(images=40, bad=[3, 39])
    loaded = list(load_spans([(task, span) for span in spans(40, 16)], workers, skip_unreadable=True))
    ids = [image_id for one in loaded for image_id in one.image_ids]
    assert ids == [f"toy {index}" for index in range(40) if index not in (3, 39)]
    assert [one.span for one in loaded] == [(0, 16), (16, 32), (32, 40)]
    assert [one.unreadable for one in loaded] == [
        {"toy 3": "image toy 3 is corrupt"},
        {},
        {"toy 39": "image toy 39 is corrupt"},
    ]
    assert [grid for one in loaded for grid in one.grids[:2]] == [(5, 5), (4, 6), (4, 6), (4, 6), (4, 6), (5, 5)]
    with pytest.raises(InputError, match=r"toy 3 is corrupt \(--skip-bad-images"):
        list(load_spans([(task, span) for span in spans(40, 16)], workers, skip_unreadable=False))


def test_only_two_spans_are_held_at_a_time() -> None:
    """Memory does not grow with the task, and nothing more is read after the caller has stopped."""
    read: list[int] = []
    lock = threading.Lock()

    class Task(toy.ToyTask):
        def load(self, index: int) -> Sample:
            with lock:
                read.append(index)
            return super().load(index)

    loading = load_spans([(Task(images=40), span) for span in spans(40, 8)], workers=3, skip_unreadable=False)
    assert next(loading).span == (0, 8)
    loading.close()  # type: ignore[attr-defined]
    assert set(range(8)) <= set(read) <= set(range(16))
