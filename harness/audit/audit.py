"""The audit of one selector: its contract, checked; its habits and its cost, measured; in one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ltrp_bench.harness.audit.checks import BATCHES, Contract, Finding
from ltrp_bench.harness.audit.cost import Cost, measure_cost
from ltrp_bench.harness.audit.measures import (
    OVERLAP_RATIO,
    Mean,
    agreement,
    centre_bias,
    flip_invariance,
    tied,
)
from ltrp_bench.harness.audit.subject import AuditImages, Refused, Subject, require_images
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry
from ltrp_bench.results.schema.record import digest
from ltrp_bench.selectors.errors import InputError

FORMAT: Final = 1
"""Version of the JSON file's form."""

MIN_IMAGES: Final = max(BATCHES)


@dataclass(frozen=True)
class Habits:
    """What is measured of the scores alone; see docs/audit.md.

    Attributes:
        ties: mean share of neighbouring ranks with equal scores.
        constant: share of images whose scores are all equal.
        centre: rank correlation with nearness to the centre.
        flips: "horizontal", "vertical" -> rank correlation with the mirror image's scores.
        agreement: other selector -> (rank correlation, overlap at `OVERLAP_RATIO`).
    """

    ties: float
    constant: float
    centre: Mean
    flips: Mapping[str, Mean]
    agreement: Mapping[str, tuple[Mean, Mean]]

    def json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "tied_neighbours": self.ties,
            "constant_images": self.constant,
            "centre_bias": self.centre.json(),
            "flip_invariance": {name: mean.json() for name, mean in self.flips.items()},
            "agreement": {
                name: {"spearman": rank.json(), f"overlap_at_{OVERLAP_RATIO:g}": both.json()}
                for name, (rank, both) in self.agreement.items()
            },
        }


@dataclass(frozen=True)
class Report:
    """All that an audit found; `habits` is None where the selector gives no scores, `cost` also where not asked."""

    selector: SelectorEntry
    task: TaskEntry
    device: str
    image_ids: tuple[str, ...]
    findings: tuple[Finding, ...]
    habits: Habits | None
    cost: Cost | None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The checks that failed."""
        return tuple(finding for finding in self.findings if finding.status == "broken")

    def json(self) -> dict[str, Any]:
        """For the JSON file; plain, finite values. `about` is of the machine, and `cost` depends on it."""
        info = self.selector.info
        return {
            "format": FORMAT,
            "selector": {
                "name": info.name,
                "supervision": info.supervision_text,
                "stochastic": info.stochastic,
                "identity": info.identity.value,
            },
            "pictures": {
                "task": self.task.info.name,
                "task_identity": self.task.info.identity.value,
                "images": len(self.image_ids),
                "image_ids_sha256": digest(list(self.image_ids)),
            },
            "contract_kept": not self.broken,
            "contract": [finding.json() for finding in self.findings],
            "measures": None if self.habits is None else self.habits.json(),
            "cost": None if self.cost is None else self.cost.json(),
            "device": self.device,
            "about": dict(self.about),
        }


def audit(
    selector: SelectorEntry,
    others: Sequence[SelectorEntry],
    task: TaskEntry,
    images: int,
    device: str,
    together: int,
    cost_model: str | None,
    stage: Callable[[str], None],
    about: Mapping[str, Any] | None = None,
) -> Report:
    """Check and measure one selector.

    Args:
        selector: as a run has it.
        others: selectors whose agreement with it is measured.
        task: whose images, patch grids and objects are used; its model, if any, is not.
        images: the first so many images.
        device: where the selector runs.
        together: images at a time in a run on that device; for the cost alone.
        cost_model: see `measure_cost`; None leaves the cost out.
        stage: told what is being done.
        about: of the machine, for the report.

    Raises:
        InputError: too few images, one that cannot be read, or another selector that fails on them.
    """
    stage("reading images")
    audit_images = AuditImages.of(task.task, images)
    require_images(audit_images, MIN_IMAGES, task.info.name)
    subject = Subject(selector, device, together)
    stage(f"{selector.name}: the contract")
    findings = Contract(subject, audit_images).findings()
    habits, cost = None, None
    if not any(f.status == "broken" for f in findings if f.check in ("answers", "shape", "finite")):
        stage(f"{selector.name}: ties, centre, mirror images, others")
        habits = _habits(subject, [Subject(other, device, together) for other in others], audit_images)
        if cost_model is not None:
            stage(f"{selector.name} beside {cost_model}: cost")
            cost = measure_cost(subject, audit_images.alike(), cost_model)
    return Report(selector, task, device, audit_images.ids, tuple(findings), habits, cost, about or {})


def _habits(subject: Subject, others: Sequence[Subject], audit_images: AuditImages) -> Habits:
    scores = _scores(subject, audit_images)
    flips = {}
    for name, axis in (("horizontal", 1), ("vertical", 0)):
        flips[name] = flip_invariance(scores, _scores(subject, audit_images.mirrored(axis)), axis)
    return Habits(
        ties=float(np.mean([tied(one) for one in scores])),
        constant=float(np.mean([np.ptp(one) == 0 for one in scores])),
        centre=centre_bias(scores),
        flips=flips,
        agreement={one.entry.name: agreement(scores, _scores(one, audit_images), audit_images.ids) for one in others},
    )


def _scores(subject: Subject, audit_images: AuditImages) -> list[np.ndarray]:
    try:
        return subject.scores(audit_images)
    except Refused as refused:
        fault = refused.fault
        raise InputError(f"selector {subject.entry.name!r} fails on image {fault.image!r}: {fault.detail}") from refused
