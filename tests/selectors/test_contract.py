"""The contract: every way of breaking it is found under the right name, and what keeps it passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_selectors import (
    PATCH,
    BatchStatistics,
    ChangesInput,
    FirstOfBatch,
    FlatScores,
    GlobalChance,
    HiddenSeed,
    NaNOnOne,
    OnlySaysChance,
    PlaceInBatch,
    Plain,
    Raises,
    ScoresAnything,
    Sound,
    WrongElsewhere,
)
from torch import Tensor

from ltrp_bench.selectors import contract
from ltrp_bench.selectors.base import BatchContext, Selector, as_selector
from ltrp_bench.selectors.contract import (
    CHECKS,
    Finding,
    SelectorContract,
    WeightsContract,
    check_contract,
    check_kept,
    check_nested,
    example_images,
)
from ltrp_bench.selectors.controls import FullControl, OracleControl, RandomControl
from ltrp_bench.selectors.ltrp.selector import LTRPSelector, LTRPTeacher
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.probe import Probe
from ltrp_bench.selectors.topk import PatchSelection, top_k

COUNT = 10
SIZE = (96, 96)


def probe(candidate: Any) -> Probe:
    selector = as_selector(candidate)
    images = normalize(example_images(COUNT, SIZE), selector.mean, selector.std)
    objects = torch.rand(COUNT, SIZE[0] // PATCH, SIZE[1] // PATCH, generator=torch.Generator().manual_seed(1))
    ids = [f"{i:06d}" for i in range(COUNT)]
    return Probe(selector, list(images), ids, objects=list(objects.numpy()), grids=[(12, 12)] * COUNT)


def findings(candidate: Any) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_contract(probe(candidate))}


@pytest.mark.parametrize(
    ("kind", "check", "image", "detail"),
    [
        (NaNOnOne, "finite", "000004", "1 of 144 scores"),
        (FlatScores, "shape", "000000", "shape [1, 144], not [1, gh, gw]"),
        (Raises, "answers", "000000", "ZeroDivisionError: division by zero"),
        (ChangesInput, "input", "000003", "changed the pixels"),
        (GlobalChance, "again", None, "decided otherwise"),
        (BatchStatistics, "batch", None, "batches of 3"),
        (PlaceInBatch, "batch", None, "batches of 3"),
        (PlaceInBatch, "order", None, "batches of 3"),
        (FirstOfBatch, "order", None, "batches of 3"),
        (HiddenSeed, "seed", None, "declares stochastic = False"),
        (OnlySaysChance, "seed", None, "declares stochastic = True"),
        (ScoresAnything, "normalisation", "000000", "images 255 times too bright: no error was raised"),
    ],
)
def test_a_violation_is_found_under_its_name(kind: type[Sound], check: str, image: str | None, detail: str) -> None:
    found = findings(kind())
    assert list(found) == list(CHECKS)
    assert found[check].status == "broken" and detail in found[check].detail
    assert found[check].image in probe(kind()).image_ids and (image is None or found[check].image == image)
    # Nothing counts as kept that was never checked.
    if check in ("answers", "shape", "finite"):
        assert {found[name].status for name in ("batch", "order", "kept", "nested")} == {"not checked"}
    else:
        assert found["kept"].status == found["answers"].status == "kept"


@pytest.mark.parametrize("kind", [HiddenSeed, ScoresAnything, ChangesInput, BatchStatistics])
def test_nothing_else_is_broken(kind: type[Sound]) -> None:
    names = {HiddenSeed: "seed", ScoresAnything: "normalisation", ChangesInput: "input", BatchStatistics: "batch"}
    broken = {name for name, finding in findings(kind()).items() if finding.status == "broken"}
    assert broken - {"order"} == {names[kind]}  # another order makes batches of other images as well
    assert kind is BatchStatistics or "order" not in broken


@pytest.mark.parametrize("selector", [Sound(), RandomControl(PATCH), OracleControl(PATCH), FullControl(PATCH)])
def test_a_sound_selector_keeps_the_contract(selector: Selector) -> None:
    found = findings(selector)
    assert {f.status for name, f in found.items() if name != "device"} == {"kept"}, found


def test_rounding_and_other_units_are_no_violation() -> None:
    class Rounds(Sound):
        def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
            # Monotone in each image alone; how, depends on the batch.
            return (scores + 1e-7 * len(scores) * torch.sin(1e3 * scores)) * len(scores) + scores.max()

    assert all(f.status != "broken" for f in findings(Rounds()).values())


@pytest.mark.parametrize(
    ("wrap", "check"),
    [
        (lambda s: s / 0, "finite"),
        (lambda s: s[:, None], "shape"),
        (lambda s: s.numpy(), "shape"),
        (lambda s: s[0, 0, 0].item()["x"], "answers"),
    ],
)
def test_a_third_partys_object(wrap: Callable[[Tensor], Any], check: str) -> None:
    assert findings(Plain(wrap))[check].status == "broken"
    whole = findings(Plain())
    assert whole["normalisation"] == Finding(
        "normalisation", "not checked", "not a subclass of Selector, which refuses them"
    )
    assert whole["order"].status == "kept"


def test_top_k_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(scores: Tensor, ratio: float, ids: Any = None, seed: int = 0) -> PatchSelection:
        whole = top_k(scores, ratio, ids, seed)
        return PatchSelection(whole.indices[:, 1:], whole.grid, ratio) if ratio == 0.5 else whole

    def turned(scores: Tensor, ratio: float, ids: Any = None, seed: int = 0) -> PatchSelection:
        return top_k(-scores if ratio == 0.5 else scores, ratio, ids, seed)

    def shuffled(scores: Tensor, ratio: float, ids: Any = None, seed: int = 0) -> PatchSelection:
        whole = top_k(scores, ratio, ids, seed)
        return PatchSelection(whole.indices.flip(1), whole.grid, ratio)

    sound = probe(Sound())
    reference = sound.scores()
    monkeypatch.setattr(contract, "top_k", one_less)
    assert check_kept(sound, reference) == Finding("kept", "broken", "71 patches at r = 0.5, not 72", "000000")
    monkeypatch.setattr(contract, "top_k", shuffled)
    assert check_kept(sound, reference).status == "broken"
    monkeypatch.setattr(contract, "top_k", turned)
    assert check_kept(sound, reference).status == "kept"
    assert check_nested(sound, reference).status == "broken"
    assert check_nested(sound, reference).detail == "drops patches that it kept at r = 0.25"


def test_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert findings(Sound())["device"] == Finding("device", "not checked", "no other device here")
    assert contract.other_device("cuda:1") == "cpu"
    monkeypatch.setattr(contract, "other_device", lambda device: "cpu:0")
    assert findings(Sound())["device"].status == "kept"
    assert findings(Plain())["device"] == Finding("device", "not checked", "the selector has no to(device)")
    one = WrongElsewhere()
    found = findings(one)
    assert found["device"].status == "broken" and found["device"].detail.startswith("cpu:0 compared with cpu: ")
    assert {f.status for name, f in found.items() if name != "device"} == {"kept"} and not one.elsewhere


def test_a_finding_as_json() -> None:
    assert Finding("nested", "broken", "why", "a").json() == {
        "check": "nested",
        "what": "patches kept at a smaller ratio are kept at a greater one",
        "status": "broken",
        "detail": "why",
        "image": "a",
    }


class TestSound(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return Sound()


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (GlobalChance, "test_contract"),
        (BatchStatistics, "test_scores_do_not_depend_on_the_batch"),
        (PlaceInBatch, "test_scores_do_not_depend_on_the_batch"),
        (GlobalChance, "test_bfloat16_keeps_nearly_the_same_patches"),
        (ScoresAnything, "test_images_of_a_wrong_shape_or_range_are_refused"),
        (ScoresAnything, "test_nan_scores_are_refused_and_name_the_image"),
    ],
)
def test_the_tests_can_fail(kind: type[Sound], test: str) -> None:
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        getattr(SelectorContract(), test)(kind())


def _weights_contract(build: Callable[[Path], object]) -> WeightsContract:
    return type("Some", (WeightsContract,), {"build": staticmethod(build)})()


@pytest.mark.parametrize("kind", [LTRPSelector, LTRPTeacher])
def test_ltrp_refuses_a_resnet(kind: Callable[[Path], object], tmp_path: Path) -> None:
    _weights_contract(kind).test_the_weights_of_another_model_are_refused(tmp_path)


def test_a_selector_that_loads_anything_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no error was raised"):
        _weights_contract(lambda file: file.stat()).test_the_weights_of_another_model_are_refused(tmp_path)
