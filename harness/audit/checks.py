"""The contract of selectors, checked on real images: what must hold for a selector's numbers to mean anything.

Two answers are the same if the order of their scores is, up to rounding: what else a score says has no meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch

from ltrp_bench.harness.audit.subject import AuditImages, Fault, Refused, Subject
from ltrp_bench.selectors.topk import count_kept, top_k

RATIOS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
BATCHES: Final = (3, 8)
SEEDS: Final = 8
"""Images that are scored with another seed."""

CHECKS: Final = {
    "answers": "scores every image",
    "shape": "one score a patch, [B, gh, gw]",
    "finite": "no NaN, no infinity",
    "input": "leaves its input as it was",
    "kept": "exactly k unique patches at r = " + ", ".join(f"{ratio:g}" for ratio in RATIOS),
    "nested": "what is kept at a smaller ratio is kept at a greater one",
    "again": "the same when asked twice",
    "batch": "the same alone and in batches of " + " and ".join(map(str, BATCHES)),
    "order": "the same in another order, in those batches",
    "seed": "follows the seed if it says so, and only then",
    "normalisation": "refuses images that were not normalised",
    "device": "the same on another device",
}
"""Name of each check -> what must hold, in the order of the table."""

Status = Literal["kept", "broken", "not checked"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: `image` is the first, or worst, image on which it was broken."""

    check: str
    status: Status
    detail: str = ""
    image: str | None = None

    def json(self) -> dict[str, Any]:
        """For the JSON file."""
        what = {"check": self.check, "what": CHECKS[self.check], "status": self.status}
        return {**what, "detail": self.detail, "image": self.image}


@dataclass(frozen=True)
class Closeness:
    """How far two answers differ: shares of patches decided alike over all keep ratios below 1.

    Attributes:
        worst: of the image and keep ratio where the fewest are.
        mean: over images and keep ratios.
        image: where `worst` was found.
        difference: greatest difference of scores, in units of the image's range of scores.
        patches: L of that image.
    """

    worst: float
    mean: float
    image: str
    difference: float
    patches: int

    def same(self, worst: float = 0.97, mean: float = 0.995) -> bool:
        """Whether that is rounding: a swap of two patches now and then, and no more.

        Args:
            worst: least share allowed anywhere; one swap of two patches is, however few there are.
            mean: least mean share allowed.
        """
        return self.worst >= min(worst, 1 - 2 / self.patches) and self.mean >= mean

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"{1 - self.worst:.1%} of the patches decided otherwise (mean over images and ratios "
            f"{1 - self.mean:.2%}); scores differ by up to {self.difference:.2g} of their range"
        )


def compare(one: Sequence[np.ndarray], other: Sequence[np.ndarray], ids: Sequence[str]) -> Closeness:
    """How alike two lists of [gh, gw] scores of the same images rank their patches.

    Scores within 1e-5 of their range, or 1e-6 of their size, of each other count as the same, ties broken alike.
    """
    found = [_closeness(a, b, image) for a, b, image in zip(one, other, ids, strict=True)]
    least = min(found, key=lambda close: close.worst)
    mean = float(np.mean([close.mean for close in found]))
    return Closeness(least.worst, mean, least.image, max(close.difference for close in found), least.patches)


def _closeness(a: np.ndarray, b: np.ndarray, image: str) -> Closeness:
    a, b = a.astype(np.float64), b.astype(np.float64)
    spread, difference = float(np.ptp(a)), float(np.abs(a - b).max())
    relative = difference / spread if spread else float(difference > 0)
    if difference <= max(1e-5 * spread, 1e-6 * float(np.abs(a).max())):
        return Closeness(1.0, 1.0, image, relative, a.size)
    both = torch.from_numpy(np.stack([a, b]))
    masks = [top_k(both, ratio, [image, image]).mask() for ratio in RATIOS if ratio < 1]
    shares = [float((mask[0] == mask[1]).float().mean()) for mask in masks]
    return Closeness(min(shares), float(np.mean(shares)), image, relative, a.size)


class Contract:
    """All checks of one selector on some images.

    Args:
        subject: the selector.
        images: at least `max(BATCHES)`; brought to one size, so that batches can be formed.
    """

    def __init__(self, subject: Subject, audit_images: AuditImages) -> None:
        self.subject, self.audit_images = subject, audit_images.alike()
        self._alone: list[np.ndarray] = []

    def findings(self) -> list[Finding]:
        """One of each check, in the order of `CHECKS`."""
        found = {finding.check: finding for finding in self._answers()}
        if all(finding.status == "kept" for finding in found.values()):
            for name, check in self._others().items():
                try:
                    found[name] = check()
                except Refused as refused:
                    # It answers when asked alone, and not so.
                    found[name] = _broken(name, refused.fault)
        if self.subject.changed is not None:
            found["input"] = _broken("input", self.subject.changed)
        why = "it gives no scores to check"
        return [found.get(name, Finding(name, "not checked", why)) for name in CHECKS]

    def _others(self) -> dict[str, Callable[[], Finding]]:
        return {
            "input": lambda: Finding("input", "kept"),
            "kept": self._kept,
            "nested": self._nested,
            "again": self._again,
            "batch": self._batch,
            "order": self._order,
            "seed": self._seed,
            "normalisation": self._normalisation,
            "device": self._device,
        }

    def _answers(self) -> list[Finding]:
        """ "answers", "shape" and "finite", up to the first that is broken."""
        names = ("answers", "shape", "finite")
        try:
            self._alone = self.subject.scores(self.audit_images)
        except Refused as refused:
            broken = refused.fault.check
            return [*(Finding(name, "kept") for name in names[: names.index(broken)]), _broken(broken, refused.fault)]
        return [Finding(name, "kept") for name in names]

    def _masks(self, place: int) -> list[tuple[float, np.ndarray, int]]:
        """(keep ratio, indices kept, patches there are) of an image at each ratio."""
        scores = torch.from_numpy(self._alone[place])[None]
        ids = [self.audit_images.ids[place]]
        return [(r, top_k(scores, r, ids).indices[0].numpy(), scores.numel()) for r in RATIOS]

    def _kept(self) -> Finding:
        for place, image in enumerate(self.audit_images.ids):
            for ratio, kept, patches in self._masks(place):
                k = count_kept(ratio, patches)
                if len(kept) != k or len(np.unique(kept)) != k or kept.min() < 0 or kept.max() >= patches:
                    return Finding("kept", "broken", f"{len(np.unique(kept))} patches at r = {ratio:g}, not {k}", image)
        return Finding("kept", "kept")

    def _nested(self) -> Finding:
        for place, image in enumerate(self.audit_images.ids):
            kept = [indices for _, indices, _ in self._masks(place)]
            for ratio, fewer, more in zip(RATIOS, kept, kept[1:], strict=False):
                if not np.isin(fewer, more).all():
                    return Finding("nested", "broken", f"drops patches that it kept at r = {ratio:g}", image)
        return Finding("nested", "kept")

    def _again(self) -> Finding:
        return _judge("again", compare(self._alone, self.subject.scores(self.audit_images), self.audit_images.ids))

    def _batch(self) -> Finding:
        return _first_broken(
            _judge(
                "batch", compare(self._alone, self.subject.scores(self.audit_images, size), self.audit_images.ids), size
            )
            for size in BATCHES
        )

    def _order(self) -> Finding:
        order = [int(i) for i in np.random.default_rng(0).permutation(len(self.audit_images))]
        shuffled = self.audit_images.at(order)

        def one(size: int) -> Finding:
            straight = self.subject.scores(self.audit_images, size)
            turned = self.subject.scores(shuffled, size)
            return _judge("order", compare([straight[i] for i in order], turned, shuffled.ids), size)

        return _first_broken(one(size) for size in BATCHES)

    def _seed(self) -> Finding:
        some = self.audit_images.at(range(min(SEEDS, len(self.audit_images))))
        close = compare(self._alone[: len(some)], self.subject.scores(some, seed=1), some.ids)
        says = self.subject.entry.info.stochastic
        if says and close.mean == 1:
            return Finding("seed", "broken", "says stochastic = True, but another seed gives the same", close.image)
        if not says and not close.same():
            detail = "says stochastic = False, but another seed gives other scores: " + close.text
            return Finding("seed", "broken", detail, close.image)
        return Finding("seed", "kept", "stochastic" if says else "no chance in it")

    def _normalisation(self) -> Finding:
        if not self.subject.selector.checks_images:
            return Finding("normalisation", "not checked", "not a subclass of Selector, which does that")
        wrong = self.subject.refuses_unnormalised(self.audit_images)
        if wrong is None:
            return Finding("normalisation", "kept")
        return Finding("normalisation", "broken", wrong, self.audit_images.ids[0])

    def _device(self) -> Finding:
        other = other_device(self.subject.device)
        if other is None:
            return Finding("device", "not checked", "no other device here")
        if not self.subject.selector.movable:
            return Finding("device", "not checked", "it has no to(device)")
        with self.subject.elsewhere():
            there = self.subject.scores(self.audit_images, device=other)
        close = compare(self._alone, there, self.audit_images.ids)
        # Kernels of two devices round differently, some in TF32: more near-ties flip than on one.
        if close.same(worst=0.9, mean=0.98):
            return Finding("device", "kept", f"{other} beside {self.subject.device}: {close.text}")
        return Finding("device", "broken", f"{other} beside {self.subject.device}: {close.text}", close.image)


def other_device(device: str) -> str | None:
    """A GPU beside the CPU, the CPU beside anything else; None where there is only one."""
    if not device.startswith("cpu"):
        return "cpu"
    return "cuda" if torch.cuda.is_available() else None


def _broken(check: str, fault: Fault) -> Finding:
    return Finding(check, "broken", fault.detail, fault.image)


def _judge(check: str, close: Closeness, batch: int | None = None) -> Finding:
    if close.same():
        return Finding(check, "kept", "" if close.worst == 1 else f"up to rounding: {close.text}")
    where = "" if batch is None else f"batches of {batch}: "
    return Finding(check, "broken", where + close.text, close.image)


def _first_broken(findings: Any) -> Finding:
    """The first that is broken, else the last."""
    last = None
    for last in findings:
        if last.status == "broken":
            break
    assert last is not None
    return last
