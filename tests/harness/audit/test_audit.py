"""The audit: each way of breaking the contract is caught by its name, and what keeps it is let pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import toy_bench as toy
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
from torch import Tensor, nn

from ltrp_bench.harness.audit import checks as audit_checks
from ltrp_bench.harness.audit.audit import audit
from ltrp_bench.harness.audit.checks import CHECKS, Contract, Finding, compare
from ltrp_bench.harness.audit.cost import measure_cost
from ltrp_bench.harness.audit.measures import flip_invariance, overlap, spearman, tied
from ltrp_bench.harness.audit.subject import AuditImages, Subject
from ltrp_bench.harness.evaluation.flops import count_flops
from ltrp_bench.harness.evaluation.plan import selector_entry, task_entry
from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.controls import CenterControl, FullControl, OracleControl, RandomControl, VarianceControl
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.topk import PatchSelection, top_k
from ltrp_bench.tasks.coverage import shapes_coverage


@pytest.fixture(scope="module")
def audit_images() -> AuditImages:
    return AuditImages.of(shapes_coverage(images=10), 10)


def subject(selector: Any) -> Subject:
    return Subject(selector_entry(selector, selector.name, {"name": selector.name}), "cpu", 1)


def findings(selector: Any, audit_images: AuditImages) -> dict[str, Finding]:
    return {finding.check: finding for finding in Contract(subject(selector), audit_images).findings()}


@pytest.mark.parametrize(
    ("kind", "check", "image", "detail"),
    [
        (NaNOnOne, "finite", "000004", "1 of 144 scores"),
        (FlatScores, "shape", "000000", "shape [1, 144], not [1, gh, gw]"),
        (Raises, "answers", "000000", "ZeroDivisionError: division by zero"),
        (ChangesInput, "input", "000003", "other pixels"),
        (GlobalChance, "again", None, "decided otherwise"),
        (BatchStatistics, "batch", None, "batches of 3"),
        (PlaceInBatch, "batch", None, "batches of 3"),
        (PlaceInBatch, "order", None, "batches of 3"),
        (FirstOfBatch, "order", None, "batches of 3"),
        (HiddenSeed, "seed", None, "says stochastic = False"),
        (OnlySaysChance, "seed", None, "says stochastic = True"),
        (ScoresAnything, "normalisation", "000000", "as if nothing was wrong"),
    ],
)
def test_what_is_broken_is_caught_by_name(
    audit_images: AuditImages, kind: type[Sound], check: str, image: str | None, detail: str
) -> None:
    found = findings(kind(), audit_images)
    assert list(found) == list(CHECKS)
    assert found[check].status == "broken" and detail in found[check].detail
    assert found[check].image in audit_images.ids and (image is None or found[check].image == image)
    # Nothing is said to be kept that was never looked at.
    if check in ("answers", "shape", "finite"):
        assert {found[name].status for name in ("batch", "order", "kept", "nested")} == {"not checked"}
    else:
        assert found["kept"].status == found["answers"].status == "kept"


@pytest.mark.parametrize("kind", [HiddenSeed, ScoresAnything, ChangesInput, BatchStatistics])
def test_only_what_is_broken_is_said_to_be(audit_images: AuditImages, kind: type[Sound]) -> None:
    names = {HiddenSeed: "seed", ScoresAnything: "normalisation", ChangesInput: "input", BatchStatistics: "batch"}
    broken = {name for name, finding in findings(kind(), audit_images).items() if finding.status == "broken"}
    assert broken - {"order"} == {names[kind]}  # batches of other images are another order's as well
    assert kind is BatchStatistics or "order" not in broken


@pytest.mark.parametrize("selector", [Sound(), RandomControl(PATCH), OracleControl(PATCH), FullControl(PATCH)])
def test_what_keeps_the_contract_passes(audit_images: AuditImages, selector: Selector) -> None:
    found = findings(selector, audit_images)
    assert {f.status for name, f in found.items() if name != "device"} == {"kept"}, found


def test_rounding_and_other_units_are_no_breach(audit_images: AuditImages) -> None:
    class Rounds(Sound):
        def broken(self, scores: Tensor, images: Tensor, context: BatchContext) -> Tensor:
            # Monotone in each image alone; how, depends on the batch.
            return (scores + 1e-7 * len(scores) * torch.sin(1e3 * scores)) * len(scores) + scores.max()

    assert all(f.status != "broken" for f in findings(Rounds(), audit_images).values())


@pytest.mark.parametrize(
    ("wrap", "check"),
    [
        (lambda s: s / 0, "finite"),
        (lambda s: s[:, None], "shape"),
        (lambda s: s.numpy(), "shape"),
        (lambda s: s[0, 0, 0].item()["x"], "answers"),
    ],
)
def test_somebodys_own_object(audit_images: AuditImages, wrap: Callable[[Tensor], Any], check: str) -> None:
    assert findings(Plain(wrap), audit_images)[check].status == "broken"
    whole = findings(Plain(), audit_images)
    assert whole["normalisation"].status == "not checked" and "subclass" in whole["normalisation"].detail
    assert whole["order"].status == "kept"


def test_the_top_k_is_watched_too(audit_images: AuditImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_less(scores: Tensor, ratio: float, ids: Any = None, seed: int = 0) -> PatchSelection:
        whole = top_k(scores, ratio, ids, seed)
        return PatchSelection(whole.indices[:, 1:], whole.grid, ratio) if ratio == 0.5 else whole

    def turned(scores: Tensor, ratio: float, ids: Any = None, seed: int = 0) -> PatchSelection:
        return top_k(-scores if ratio == 0.5 else scores, ratio, ids, seed)

    monkeypatch.setattr(audit_checks, "top_k", one_less)
    found = findings(Sound(), audit_images)
    assert found["kept"].detail == "71 patches at r = 0.5, not 72" and found["kept"].image == "000000"
    monkeypatch.setattr(audit_checks, "top_k", turned)
    found = findings(Sound(), audit_images)
    assert found["kept"].status == "kept"
    assert found["nested"].status == "broken" and "r = 0.25" in found["nested"].detail


def test_another_device(audit_images: AuditImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert findings(Sound(), audit_images)["device"] == Finding("device", "not checked", "no other device here")
    assert audit_checks.other_device("cuda:1") == "cpu"
    monkeypatch.setattr(audit_checks, "other_device", lambda device: "cpu:0")
    assert findings(Sound(), audit_images)["device"].status == "kept"
    assert findings(Plain(), audit_images)["device"] == Finding("device", "not checked", "it has no to(device)")
    one = WrongElsewhere()
    found = findings(one, audit_images)
    assert found["device"].status == "broken" and found["device"].detail.startswith("cpu:0 beside cpu: ")
    assert {f.status for name, f in found.items() if name != "device"} == {"kept"} and not one.elsewhere


def test_closeness_is_of_order_alone() -> None:
    rng = np.random.default_rng(0)
    scores = [rng.random((12, 12)).astype(np.float32) for _ in range(4)]
    ids = [str(i) for i in range(4)]
    assert compare(scores, [np.exp(5 * one) for one in scores], ids).mean == 1
    assert compare(scores, [one + 1e-7 for one in scores], ids).worst == 1
    swapped = [one.copy() for one in scores]
    order = np.argsort(-scores[2].ravel())
    place = [order[35], order[36]]  # the 36th is the last one kept at 0.25
    swapped[2].ravel()[place] = swapped[2].ravel()[place[::-1]]
    close = compare(scores, swapped, ids)
    assert close.image == "2" and close.worst == pytest.approx(1 - 2 / 144) and close.same()
    close = compare(scores, [-one for one in scores], ids)
    assert close.worst < 0.2 and not close.same()
    # A little on every image is no rounding.
    noisy = [one + 0.02 * rng.standard_normal(one.shape) for one in scores]
    assert not compare(scores, noisy, ids).same()
    # All equal but for rounding: ties are broken alike.
    flat = np.full((3, 3), 0.7, np.float32)
    noise = flat + rng.random((3, 3)).astype(np.float32) * 1e-7
    assert compare([flat], [noise], ["a"]).worst == 1


def test_images_of_several_sizes_are_brought_to_one() -> None:
    task = toy.ToyTask(images=12)
    audit_images = AuditImages.of(task, 12)
    assert len({one.image.shape for one in audit_images.samples}) == 2
    alike = audit_images.alike()
    assert {one.image.shape for one in alike.samples} == {audit_images.samples[0].image.shape}
    assert {one.shape for one in alike.objects} == {audit_images.grids[0]} and alike.ids == audit_images.ids
    assert findings(BatchStatistics(), audit_images)["batch"].status == "broken"
    assert findings(OracleControl(PATCH), audit_images)["order"].status == "kept"


def test_measures_against_hand_made_maps() -> None:
    assert tied(np.zeros((2, 2))) == 1 and tied(np.arange(4.0).reshape(2, 2)) == 0
    assert tied(np.array([[1.0, 1.0], [2.0, 3.0]])) == pytest.approx(1 / 3)
    assert spearman(np.zeros(4), np.arange(4.0)) is None
    assert spearman(np.arange(5.0), np.array([0.0, 1.0, 4.0, 3.0, 2.0])) == pytest.approx(0.6)
    left = np.zeros((2, 4))
    left[:, :2] = 1
    assert overlap(left, left, "a", 0.5) == 1 and overlap(left, 1 - left, "a", 0.5) == 0
    ramp = np.arange(12.0).reshape(3, 4)
    mean = flip_invariance([ramp, np.zeros((3, 4))], [np.flip(ramp, 1), ramp], 1)
    assert mean.value == pytest.approx(1) and mean.images == 1
    assert flip_invariance([ramp], [ramp], 0).value == pytest.approx(spearman(ramp, ramp[::-1]))


def report(selector: Any, cost: str | None = None, others: tuple[Any, ...] = (), images: int = 10) -> dict[str, Any]:
    entries = [selector_entry(one, one.name, {"name": one.name}) for one in (selector, *others)]
    task = task_entry(shapes_coverage(images=10))
    return audit(entries[0], entries[1:], task, images, "cpu", 1, cost, lambda stage: None).json()


def test_measures_of_the_controls() -> None:
    others = (RandomControl(PATCH), CenterControl(PATCH), OracleControl(PATCH))
    center = report(CenterControl(PATCH), others=others)
    assert center["contract_kept"] and center["cost"] is None
    measures = center["measures"]
    assert measures["centre_bias"] == {"value": pytest.approx(1, abs=0.01), "images": 10}
    assert measures["tied_neighbours"] > 0.7 and measures["constant_images"] == 0
    # Not 1: patches as far from the centre as each other differ by rounding in its float32 scores.
    assert measures["flip_invariance"]["vertical"]["value"] == pytest.approx(1, abs=0.01)
    assert measures["agreement"]["center"]["overlap_at_0.25"]["value"] == 1
    assert measures["agreement"]["random"]["spearman"]["value"] == pytest.approx(0, abs=0.1)

    measures = report(OracleControl(PATCH))["measures"]
    assert measures["flip_invariance"]["horizontal"]["value"] == pytest.approx(1), "truth is mirrored too"
    measures = report(VarianceControl(PATCH))["measures"]
    assert measures["flip_invariance"]["horizontal"]["value"] > 0.9999
    measures = report(RandomControl(PATCH))["measures"]
    assert abs(measures["flip_invariance"]["horizontal"]["value"]) < 0.1

    measures = report(FullControl(PATCH), others=others)["measures"]
    assert measures["constant_images"] == measures["tied_neighbours"] == 1
    assert measures["centre_bias"] == {"value": None, "images": 0}
    assert measures["agreement"]["center"]["spearman"] == {"value": None, "images": 0}


def test_a_broken_one_has_a_report_without_measures() -> None:
    whole = report(NaNOnOne(), cost="test_vit")
    assert not whole["contract_kept"] and whole["measures"] is None and whole["cost"] is None
    json.dumps(whole, allow_nan=False)
    with pytest.raises(InputError, match="selector 'sound' fails on image '000004': 1 of 144 scores"):
        report(Sound(), others=(NaNOnOne(),))
    with pytest.raises(InputError, match="an audit needs 8 images, task 'shapes-coverage' has 5"):
        report(Sound(), images=5)


class Attends(Selector):
    """A projection and fused attention: operations that can be counted by hand."""

    name = "attends"
    patch_size = PATCH

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(3 * PATCH * PATCH, 16)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        patches = nn.functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
        tokens = self.net(patches)[:, None]
        mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return mixed[:, 0].mean(-1).view(-1, images.shape[2] // PATCH, images.shape[3] // PATCH)


class Gradient(Attends):
    """Asks autograd for the gradient of something inside, as Grad-CAM does."""

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        patches = nn.functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
        with torch.inference_mode(False), torch.enable_grad():
            tokens = self.net(patches.clone().requires_grad_(True))
            (slope,) = torch.autograd.grad(tokens.square().sum(), tokens)
        return slope.mean(-1).view(-1, images.shape[2] // PATCH, images.shape[3] // PATCH)


def test_operations_of_gradients_are_counted(audit_images: AuditImages) -> None:
    one = subject(Gradient())
    assert count_flops(lambda: one.scores(audit_images.at([0]))) == 2 * 144 * 192 * 16


def test_operations_are_counted_as_by_hand(audit_images: AuditImages) -> None:
    one = subject(Attends())
    flops = count_flops(lambda: one.scores(audit_images.at([0])))
    assert flops == 2 * 144 * 192 * 16 + 2 * 2 * 144 * 144 * 16
    cost = measure_cost(one, audit_images, "test_vit")
    assert cost.gflops == flops / 1e9 and cost.batch == 1
    assert cost.flops_share == pytest.approx(cost.gflops / cost.model_gflops)
    assert cost.time_share == pytest.approx(cost.model_images_per_second / cost.images_per_second)
    assert 0 < cost.time_share < 100
    with pytest.raises(UsageError, match="no such model of timm; did you mean 'test_vit'"):
        measure_cost(one, audit_images, "test_vitt")
