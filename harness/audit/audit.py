"""The audit of one selector: its contract is checked, its scores and its cost are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ltrp_bench.harness.audit.audit_images import AuditImages
from ltrp_bench.harness.audit.cost import Cost, measure_cost
from ltrp_bench.harness.audit.measures import Measures, measure
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.scorer import check_ranks_all_objects
from ltrp_bench.results.schema.record import digest
from ltrp_bench.selectors.contract import BATCHES, Finding, check_contract
from ltrp_bench.selectors.errors import InputError

FORMAT: Final = 1
"""Version of the JSON file."""

MIN_IMAGES: Final = max(BATCHES)


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Extent of an audit.

    Attributes:
        images: number of images, from the first on.
        device: where the selectors run.
        batch_size: number of images per call in a run on that device; the cost depends on it, nothing else.
        cost_model: name of the model that the cost is compared with, see `measure_cost`; None leaves the cost out.
    """

    images: int = 32
    device: str = "cpu"
    batch_size: int = 1
    cost_model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Outcome of an audit.

    Attributes:
        selector, task: what was audited, on whose images.
        device: where the selector ran.
        image_ids: ids of the images.
        findings: one per check of the contract.
        measures: None if the selector gives no usable scores.
        cost: None if the selector gives no usable scores, or if the cost was left out.
        about: description of the machine.
    """

    selector: SelectorEntry
    task: TaskEntry
    device: str
    image_ids: tuple[str, ...]
    findings: tuple[Finding, ...]
    measures: Measures | None = None
    cost: Cost | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Findings of the checks that failed."""
        return tuple(finding for finding in self.findings if finding.status == "broken")

    def json(self) -> dict[str, Any]:
        """Content of the JSON file: plain, finite values. Only `about` and `cost` depend on the machine."""
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
            "measures": None if self.measures is None else self.measures.json(),
            "cost": None if self.cost is None else self.cost.json(),
            "device": self.device,
            "about": dict(self.about),
        }


def audit(
    selector: SelectorEntry,
    others: Sequence[SelectorEntry],
    task: TaskEntry,
    options: AuditOptions,
    progress: Callable[[str], None] = lambda stage: None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """Check and measure one selector.

    Args:
        selector: the selector, as in a run.
        others: selectors whose agreement with it is measured.
        task: gives images, patch grids and ground truth; its model, if any, is not used.
        options: extent of the audit.
        progress: called with each stage as it begins.
        about: description of the machine, for the report.

    Raises:
        InputError: there are too few images, one cannot be read, or another selector fails on them.
        UsageError: an oracle of a group of objects.
    """
    for entry in (selector, *others):
        check_ranks_all_objects(entry.selector)
    progress("reading images")
    images = AuditImages.of(task.task, options.images)
    if len(images) < MIN_IMAGES:
        raise InputError(f"an audit needs {MIN_IMAGES} images, task {task.info.name!r} has {len(images)}")
    progress(f"{selector.name}: the contract")
    same_size = images.one_size()
    findings = check_contract(same_size.probe(selector.selector, options.device))
    measures, cost = None, None
    if not any(f.status == "broken" for f in findings if f.check in ("answers", "shape", "finite")):
        progress(f"{selector.name}: ties, center, flips, agreement")
        measures = measure(selector, others, images, options.device)
        if options.cost_model is not None:
            progress(f"{selector.name}: cost compared with {options.cost_model}")
            cost = measure_cost(
                selector.selector,
                options.cost_model,
                same_size,
                device=options.device,
                batch_size=options.batch_size,
            )
    return Report(
        selector=selector,
        task=task,
        device=options.device,
        image_ids=images.ids,
        findings=tuple(findings),
        measures=measures,
        cost=cost,
        about=about or {},
    )
