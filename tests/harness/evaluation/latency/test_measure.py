"""Which pairs are measured, and what is stored of them; times themselves are made up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_bench import PATCH, NetSelector, PlainSelector, ToyTask, entries

from ltrp_bench.harness.evaluation.latency import measure as module
from ltrp_bench.harness.evaluation.latency.measure import (
    LatencyOptions,
    latency_setting,
    measurable,
    measure_pairs,
)
from ltrp_bench.results.store.latency import Times
from ltrp_bench.selectors.controls import DownsampleControl, FullControl, OracleControl, RandomControl


class NoModel(ToyTask):
    """A task that runs no model."""

    name = "toy-without-model"
    reduction = "none"
    supports_downsample = False


class OneAtATime(PlainSelector):
    """Takes no batches."""

    name = "single"

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        assert len(images) == 1, "one image at a time"
        return super().scores(images)


def test_the_whole_image_is_added_and_what_says_nothing_left_out() -> None:
    notices: list[str] = []
    pairs = entries(ToyTask(), NetSelector(), OracleControl(PATCH), DownsampleControl(PATCH))
    pairs += entries(NoModel(), NetSelector(), DownsampleControl(PATCH), FullControl(PATCH))
    kept = measurable(pairs, notices.append)
    assert [(selector.name, task.info.name) for selector, task in kept] == [
        ("net", "toy-coverage"),
        ("downsample", "toy-coverage"),
        ("net", "toy-without-model"),
        ("full", "toy-coverage"),
    ]
    assert notices == [
        "oracle is left out: it is given the ground truth, so its time says nothing",
        "downsample is left out on toy-without-model: there is no model",
        "full is left out on toy-without-model: there is no model",
    ]


def test_the_whole_image_is_added_once() -> None:
    pairs = entries(ToyTask(), NetSelector(), FullControl(PATCH))
    assert [selector.name for selector, _ in measurable(pairs, lambda line: None)] == ["net", "full"]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[float, ...]]]:
    """Times that are the number of milliseconds of the keep ratio in percent; what was asked for."""
    asked: list[tuple[int, tuple[float, ...]]] = []

    def measure(workload: Any, ratios: Any, *, turns: int, seconds: float, clock: Any) -> Any:
        asked.append((turns, tuple(ratios)))
        for run in workload.variants(ratios).values():
            run()
        return turns, {ratio: {"selector": Times(100 * ratio, 200 * ratio)} for ratio in ratios}

    monkeypatch.setattr(module, "measure", measure)
    return asked


def test_entries_of_all_batches_and_ratios(made_up: list[Any]) -> None:
    (pair,) = entries(ToyTask(), NetSelector())
    options = LatencyOptions(batches=(8, 1), turns=7)
    ((measured, latencies),) = measure_pairs([pair], (0.25, 0.5), options, pytest.fail)
    assert measured == pair and made_up == [(7, (0.25, 0.5))] * 2
    assert [(one.batch, one.keep_ratio, one.turns) for one in latencies.entries] == [
        *((1, 0.25, 7), (1, 0.5, 7)),
        *((8, 0.25, 7), (8, 0.5, 7)),
    ]
    first = latencies.entries[0]
    assert first.selector == Times(25.0, 50.0) and first.whole is first.both is None
    assert (first.task_id, first.selector_id) == (pair[1].info.identity.short, pair[0].info.identity.short)


def test_the_whole_image_has_one_keep_ratio(made_up: list[Any]) -> None:
    ((_, latencies),) = measure_pairs(
        entries(ToyTask(), FullControl(PATCH)), (0.25, 0.5), LatencyOptions(batches=(1,)), pytest.fail
    )
    assert [one.keep_ratio for one in latencies.entries] == [1.0]


def test_batches_have_images_of_one_size_which_repeat(made_up: list[Any]) -> None:
    selector = NetSelector()
    list(measure_pairs(entries(ToyTask(), selector), (0.25,), LatencyOptions(batches=(256,)), pytest.fail))
    # Three calls with scores: one before the measurement, the selector, and both.
    assert selector.calls["images"] == 3 * 256


def test_a_batch_that_fails_is_said_and_left_out(made_up: list[Any]) -> None:
    notices: list[str] = []
    pairs = entries(ToyTask(), OneAtATime(), RandomControl(PATCH))
    found = list(measure_pairs(pairs, (0.25,), LatencyOptions(batches=(1, 8)), notices.append))
    assert [[one.batch for one in latencies.entries] for _, latencies in found] == [[1], [1, 8]]
    (notice,) = notices
    assert notice.startswith("single on toy-coverage is left out at batch size 8: selector 'single' failed on images")
    assert notice.endswith("one image at a time")


def test_the_setting_says_what_may_be_compared_and_no_host() -> None:
    setting = latency_setting(LatencyOptions(device="cpu", clock="cpu"))
    assert setting.device == "cpu" and setting.clock == "cpu" and setting.threads == torch.get_num_threads()
    assert set(setting.versions) == {"torch", "timm"} and torch.__version__.startswith(setting.versions["torch"])
