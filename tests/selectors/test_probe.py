"""The probe: which images a selector is given, and the diagnosis of a refused answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from broken_selectors import ChangesInput, FlatScores, NaNOnOne, Plain, Raises, Sound
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, as_selector
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.probe import Probe, Violation, error_line, refusal_fault

IDS = [f"{i:06d}" for i in range(5)]


class Records(Sound):
    """Keeps the contexts and the images that it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, BatchContext]] = []

    def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
        self.seen.append((len(images), context))
        return scores


def probe(candidate: Any, **options: Any) -> Probe:
    images = torch.randn(5, 3, 32, 48, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    return Probe(as_selector(candidate), list(images), IDS, **options)


def test_batches_order_and_seed() -> None:
    selector = Records()
    objects = [np.full((4, 6), i, np.float32) for i in range(5)]
    one = probe(selector, objects=objects)
    straight = one.scores(2, seed=7)
    assert [size for size, _ in selector.seen] == [2, 2, 1]
    assert [c.image_ids for _, c in selector.seen] == [tuple(IDS[:2]), tuple(IDS[2:4]), (IDS[4],)]
    assert {c.seed for _, c in selector.seen} == {7} and {c.grid for _, c in selector.seen} == {None}
    assert selector.seen[1][1].objects is not None and selector.seen[1][1].objects[:, 0, 0].tolist() == [2, 3]
    turned = one.scores(2, order=[4, 0, 2])
    np.testing.assert_array_equal(np.stack(turned), np.stack([straight[i] for i in (4, 0, 2)]))
    assert straight[0].shape == (4, 6) and straight[0].dtype == np.float32


def test_scores_are_resampled_to_the_tasks_grid() -> None:
    assert [one.shape for one in probe(Sound(), grids=[(2, 3)] * 5).scores(5)] == [(2, 3)] * 5


@pytest.mark.parametrize(
    ("candidate", "check", "image", "detail"),
    [
        (NaNOnOne(), "finite", "000004", "1 of 24 scores are NaN or infinite"),
        (FlatScores(), "shape", "000000", "gave scores of shape [1, 24], not [1, gh, gw]"),
        (Raises(), "answers", "000000", "ZeroDivisionError: division by zero"),
        (Plain(lambda scores: scores.tolist()), "shape", "000000", "gave list, not a tensor [1, gh, gw]"),
    ],
)
def test_diagnosis(candidate: Any, check: str, image: str, detail: str) -> None:
    with pytest.raises(Violation) as caught:
        probe(candidate).scores()
    assert (caught.value.check, caught.value.image, caught.value.detail) == (check, image, detail)


def test_changed_input_is_noticed_and_not_handed_on() -> None:
    one = probe(ChangesInput())
    first = one.scores()
    assert one.changed_input == "000003"
    np.testing.assert_array_equal(np.stack(one.scores()), np.stack(first))


def test_refusals() -> None:
    def raises(error: Exception) -> Any:
        def call() -> None:
            raise error

        return call

    assert refusal_fault(raises(InputError("normalise them")), "normalise") is None
    assert refusal_fault(lambda: None) == "no error was raised"
    assert refusal_fault(raises(InputError("a\nb"))) == "the error's message has several lines"
    assert refusal_fault(raises(InputError("a")), "b") == "the error's message does not contain 'b': a"
    assert refusal_fault(raises(KeyError("x"))) == "expected an InputError, but got KeyError: 'x'"


def test_errors_as_one_line() -> None:
    assert error_line(InputError("a  b\n c")) == "a b c"
    assert error_line(ValueError("a" * 300)) == "ValueError: " + "a" * 188
