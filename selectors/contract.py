"""The contract of selectors: what must hold for scores to be comparable, checked on a few images.

`ltrp-bench audit` runs `check_contract` on any selector. Tests of a selector subclass `SelectorContract`:

    class TestMine(SelectorContract):
        @pytest.fixture
        def selector(self) -> Selector:
            return Mine()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.probe import TOO_BRIGHT, Probe, Violation, refusal_fault
from ltrp_bench.selectors.score_comparison import RATIOS, ScoreMatch, compare_scores
from ltrp_bench.selectors.topk import count_kept, top_k

BATCHES: Final = (3, 8)
"""Batch sizes that are checked."""
SEED_IMAGES: Final = 8
"""Number of images that are scored with another seed."""

CHECKS: Final = {
    "answers": "scores every image",
    "shape": "one score per patch, [B, gh, gw]",
    "finite": "no NaN, no infinity",
    "input": "leaves its input unchanged",
    "kept": "exactly k unique patches at r = " + ", ".join(f"{ratio:g}" for ratio in RATIOS),
    "nested": "patches kept at a smaller ratio are kept at a greater one",
    "again": "the same when called twice",
    "batch": "the same alone and in batches of " + " and ".join(map(str, BATCHES)),
    "order": "the same in another order, in those batches",
    "seed": "depends on the seed if it declares so, and only then",
    "normalisation": "refuses images that were not normalized",
    "device": "the same on another device",
}
"""Name of each check -> what must hold, in the order of the report."""

Status = Literal["kept", "broken", "not checked"]


@dataclass(frozen=True)
class Finding:
    """Outcome of one check.

    Attributes:
        check: name of the check, a key of `CHECKS`.
        status: "kept", "broken" or "not checked".
        detail: what was found; may be empty if the contract is kept.
        image: id of the first, or worst, image on which the contract is broken.
    """

    check: str
    status: Status
    detail: str = ""
    image: str | None = None

    def json(self) -> dict[str, Any]:
        """Entry of the audit's JSON file."""
        what = {"check": self.check, "what": CHECKS[self.check], "status": self.status}
        return {**what, "detail": self.detail, "image": self.image}


Scores = Sequence[np.ndarray]


def check_contract(probe: Probe) -> list[Finding]:
    """Run every check.

    Args:
        probe: the selector and images of one size.

    Returns:
        One finding per check, in the order of `CHECKS`; "not checked" for all that need scores if there are none.
    """
    findings: dict[str, Finding] = {}
    try:
        reference = probe.scores()
    except Violation as violation:
        # "answers", "shape" and "finite" are checked in this order, up to the first that is broken.
        before = list(CHECKS)[: list(CHECKS).index(violation.check)]
        findings = {name: Finding(name, "kept") for name in before}
        findings[violation.check] = _broken(violation.check, violation)
    else:
        findings = {name: Finding(name, "kept") for name in ("answers", "shape", "finite")}
        for name, check in _CHECK_FUNCTIONS.items():
            try:
                findings[name] = check(probe, reference)
            except Violation as violation:
                # Images can be scored one at a time, but not in the way that this check calls the selector.
                findings[name] = _broken(name, violation)
        findings["input"] = Finding("input", "kept")
    if probe.changed_input is not None:
        findings["input"] = Finding("input", "broken", "the call changed the pixels of its input", probe.changed_input)
    reason = "there are no scores to check"
    return [findings.get(name, Finding(name, "not checked", reason)) for name in CHECKS]


def check_kept(probe: Probe, reference: Scores) -> Finding:
    """Check that exactly k = max(1, round(r * L)) unique patches are kept at each ratio, in raster order."""
    for image, scores in zip(probe.image_ids, reference, strict=True):
        for ratio, kept in _kept(scores, image):
            k = count_kept(ratio, scores.size)
            unique = bool((np.diff(kept) > 0).all())  # and in raster order
            if len(kept) != k or not unique or kept.min() < 0 or kept.max() >= scores.size:
                return Finding("kept", "broken", f"{len(np.unique(kept))} patches at r = {ratio:g}, not {k}", image)
    return Finding("kept", "kept")


def check_nested(probe: Probe, reference: Scores) -> Finding:
    """Check that patches kept at a smaller ratio are kept at a greater one."""
    for image, scores in zip(probe.image_ids, reference, strict=True):
        fewer: np.ndarray = np.empty(0, dtype=np.int64)
        smaller = 0.0
        for ratio, kept in _kept(scores, image):
            if not np.isin(fewer, kept).all():
                return Finding("nested", "broken", f"drops patches that it kept at r = {smaller:g}", image)
            fewer, smaller = kept, ratio
    return Finding("nested", "kept")


def check_again(probe: Probe, reference: Scores) -> Finding:
    """Check that a second call gives the same scores."""
    return _match_finding("again", compare_scores(reference, probe.scores(), probe.image_ids))


def check_batch(probe: Probe, reference: Scores) -> Finding:
    """Check that an image's scores do not depend on the batch size."""
    return _first_broken(
        _match_finding("batch", compare_scores(reference, probe.scores(size), probe.image_ids), size)
        for size in BATCHES
    )


def check_order(probe: Probe, reference: Scores) -> Finding:
    """Check that an image's scores depend neither on its position in a batch nor on the other images in it."""
    order = [int(i) for i in np.random.default_rng(0).permutation(len(probe))]
    ids = [probe.image_ids[i] for i in order]

    def check(size: int) -> Finding:
        straight = probe.scores(size)
        shuffled = probe.scores(size, order=order)
        return _match_finding("order", compare_scores([straight[i] for i in order], shuffled, ids), size)

    return _first_broken(check(size) for size in BATCHES)


def check_seed(probe: Probe, reference: Scores) -> Finding:
    """Check that scores depend on the seed if, and only if, the selector is declared `stochastic`."""
    some = range(min(SEED_IMAGES, len(probe)))
    match = compare_scores(reference[: len(some)], probe.scores(order=some, seed=1), probe.image_ids[: len(some)])
    if probe.selector.stochastic and match.mean == 1:
        return Finding("seed", "broken", "declares stochastic = True, but the seed has no effect", match.image)
    if not probe.selector.stochastic and not match.same():
        detail = "declares stochastic = False, but another seed gives other scores: " + match.text
        return Finding("seed", "broken", detail, match.image)
    return Finding("seed", "kept", "stochastic" if probe.selector.stochastic else "deterministic")


def check_normalization(probe: Probe, reference: Scores) -> Finding:
    """Check that images which were not normalized are refused. Only subclasses of `Selector` have to do so."""
    selector = probe.selector
    if not selector.checks_images:
        return Finding("normalisation", "not checked", "not a subclass of Selector, which refuses them")
    images, context = (probe.batch([0]) * TOO_BRIGHT).to(probe.device), probe.context([0])
    fault = refusal_fault(lambda: selector.scores(images, context))
    if fault is None:
        return Finding("normalisation", "kept")
    return Finding("normalisation", "broken", f"images {TOO_BRIGHT:g} times too bright: {fault}", probe.image_ids[0])


def check_device(probe: Probe, reference: Scores) -> Finding:
    """Check that another device gives the same scores, up to its rounding."""
    other = other_device(probe.device)
    if other is None:
        return Finding("device", "not checked", "no other device here")
    if not probe.selector.movable:
        return Finding("device", "not checked", "the selector has no to(device)")
    try:
        there = probe.scores(device=other)
    finally:
        probe.selector.to(probe.device)
    match = compare_scores(reference, there, probe.image_ids)
    detail = f"{other} compared with {probe.device}: {match.text}"
    # Kernels of two devices round differently, some use TF32, so more near-ties are reversed than on one device.
    if match.same(worst=0.9, mean=0.98):
        return Finding("device", "kept", detail)
    return Finding("device", "broken", detail, match.image)


_CHECK_FUNCTIONS: Final[dict[str, Callable[[Probe, Scores], Finding]]] = {
    "kept": check_kept,
    "nested": check_nested,
    "again": check_again,
    "batch": check_batch,
    "order": check_order,
    "seed": check_seed,
    "normalisation": check_normalization,
    "device": check_device,
}


def other_device(device: str) -> str | None:
    """Device to compare with: a GPU for the CPU, the CPU for any other device; None if there is none."""
    if not device.startswith("cpu"):
        return "cpu"
    return "cuda" if torch.cuda.is_available() else None


def _kept(scores: np.ndarray, image: str) -> Iterator[tuple[float, np.ndarray]]:
    """(keep ratio, indices of the kept patches) at each ratio, ascending."""
    for ratio in RATIOS:
        yield ratio, top_k(torch.from_numpy(scores)[None], ratio, [image]).indices[0].numpy()


def _broken(check: str, violation: Violation) -> Finding:
    return Finding(check, "broken", violation.detail, violation.image)


def _match_finding(check: str, match: ScoreMatch, batch: int | None = None) -> Finding:
    if match.same():
        return Finding(check, "kept", "" if match.worst == 1 else f"up to rounding: {match.text}")
    where = "" if batch is None else f"batches of {batch}: "
    return Finding(check, "broken", where + match.text, match.image)


def _first_broken(findings: Iterator[Finding]) -> Finding:
    """The first finding that is broken, else the last."""
    for finding in findings:
        if finding.status == "broken":
            break
    return finding


def example_images(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """[count, 3, H, W] smooth random images in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear").clamp(0, 1)


class SelectorContract:
    """Pytest tests that every selector must pass. Subclass it and define a fixture `selector`.

    Attributes:
        size: (H, W) of the images for a selector without a fixed input size.
        count: number of images.
        score_tolerance: largest relative difference between the scores of an image alone and in a batch; None compares
            only the kept patches.
    """

    size: tuple[int, int] = (96, 96)
    count: int = 8
    score_tolerance: float | None = 1e-4

    def probe(self, selector: Selector) -> Probe:
        """The selector on smooth random images."""
        pixels = example_images(self.count, selector.input_size or self.size)
        images = normalize(pixels, selector.mean, selector.std)
        grid = images.shape[2] // selector.patch_size, images.shape[3] // selector.patch_size
        objects = torch.rand(self.count, *grid, generator=torch.Generator().manual_seed(3))
        return Probe(selector, list(images), [f"image-{i}" for i in range(self.count)], objects=list(objects.numpy()))

    def test_contract(self, selector: Selector) -> None:
        """Every check of `check_contract` holds."""
        broken = [finding for finding in check_contract(self.probe(selector)) if finding.status == "broken"]
        assert not broken, broken

    def test_attributes(self, selector: Selector) -> None:
        """The attributes that the tables need are set."""
        assert selector.name and len(selector.mean) == len(selector.std) == 3
        assert selector.supervision.kind in ("none", "self", "labels")
        assert selector.role in ("method", "control", "reference")

    def test_scores_do_not_depend_on_the_batch(self, selector: Selector) -> None:
        """A stricter form of the checks "batch" and "order": the scores themselves are equal."""
        probe = self.probe(selector)
        alone = probe.scores()
        turned = probe.scores(len(probe), order=range(len(probe) - 1, -1, -1))[::-1]
        for scores in (probe.scores(len(probe)), turned):
            if self.score_tolerance is not None:
                np.testing.assert_allclose(np.stack(scores), np.stack(alone), self.score_tolerance, 1e-5)
            for image, one, other in zip(probe.image_ids, alone, scores, strict=True):
                both = torch.from_numpy(np.stack([one, other]))
                masks = top_k(both, 0.25, [image, image]).mask()
                assert (masks[0] == masks[1]).float().mean() >= 0.97, f"{image}: other patches in a batch"

    def test_bfloat16_keeps_nearly_the_same_patches(self, selector: Selector) -> None:
        """Under autocast to bfloat16, the selection at r = 0.5 agrees on at least 90 % of the patches."""
        probe = self.probe(selector)
        exact = torch.from_numpy(np.stack(probe.scores(len(probe))))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = torch.from_numpy(np.stack(probe.scores(len(probe))))
        masks = [top_k(scores, 0.5, probe.image_ids).mask() for scores in (exact, rough)]
        assert (masks[0] == masks[1]).float().mean() >= 0.9

    def test_images_of_a_wrong_shape_or_range_are_refused(self, selector: Selector) -> None:
        """The error is one line that names the selector."""
        probe = self.probe(selector)
        images, context = probe.batch(range(len(probe))), probe.context(range(len(probe)))
        for wrong in (images[0], images[:, :1], images[..., :-3], images[:0]):
            fault = refusal_fault(lambda wrong=wrong: selector.scores(wrong, context), selector.name)  # type: ignore[misc]
            assert fault is None, f"images of shape {list(wrong.shape)}: {fault}"
        for factor in (TOO_BRIGHT, float("nan")):
            wrong = images * factor
            fault = refusal_fault(lambda wrong=wrong: selector.scores(wrong, context), "normalise")  # type: ignore[misc]
            assert fault is None, f"images times {factor:g}: {fault}"

    def test_nan_scores_are_refused_and_name_the_image(self, selector: Selector) -> None:
        """`scores` must not return invalid results of `_scores`."""
        probe = self.probe(selector)
        images, context = probe.batch(range(len(probe))), probe.context(range(len(probe)))
        scores = selector.scores(images, context).clone()
        scores[2, 0, 0] = float("nan")
        with patch.object(selector, "_scores", lambda *_: scores):
            fault = refusal_fault(lambda: selector.scores(images, context), "image-2")
        assert fault is None, fault


class WeightsContract(SelectorContract):
    """`SelectorContract` for a selector with weights.

    Attributes:
        build: builds the selector from a file of weights, e.g. its class.
    """

    build: ClassVar[Callable[[Path], object]]

    def test_the_weights_of_another_model_are_refused(self, tmp_path: Path) -> None:
        """The error message is one line and names the model that the file contains; no untrained selector is built."""
        import timm

        file = tmp_path / "foreign" / "resnet18.pth"
        file.parent.mkdir()
        torch.save(timm.create_model("resnet18", pretrained=False).half().state_dict(), file)
        fault = refusal_fault(lambda: type(self).build(file), "looks like a ResNet")
        assert fault is None, fault
