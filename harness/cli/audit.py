"""`ltrp-bench audit`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import typer

from ltrp_bench.harness.cli.option_groups import DeviceOptions, ImageLimit, SharingOptions, check_names
from ltrp_bench.harness.cli.terminal.messages import print_note
from ltrp_bench.harness.evaluation.options import Request, SweepOptions
from ltrp_bench.selectors.errors import UsageError

OTHERS: Final = ("random", "center", "variance", "oracle")
"""Selectors whose agreement with the audited one is always measured."""

NO_COST: Final = "none"


@dataclass(frozen=True, kw_only=True)
class AuditedSelector:
    """The selector, and others to compare it with."""

    selector: str = field(
        metadata={
            "help": "Selector to audit: a name, a name with a tag, or package.module:Class.",
            "metavar": "SELECTOR",
            "argument": True,
        }
    )
    weights: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Path to its weights, or to those of another selector; repeat.",
            "metavar": "FILE | NAME=FILE",
        },
    )
    selector_option: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Option of the selector, or of another one; repeat for several.",
            "metavar": "key=value | NAME.key=value",
        },
    )
    against: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Another selector to compare scores with; several as a,b or repeated.",
            "metavar": "NAME",
            "commas": True,
        },
    )


@dataclass(frozen=True, kw_only=True)
class AuditImageOptions:
    """Images of the audit."""

    task: str | None = field(
        default=None,
        metadata={"help": "Task whose images are used; by default shapes-coverage, or coco-coverage with --data."},
    )
    data: str | None = field(
        default=None, metadata={"help": "Directory of a data set in COCO format.", "metavar": "DIR"}
    )
    task_option: tuple[str, ...] = field(
        default=(), metadata={"help": "Option of the task; repeat for several.", "metavar": "key=value"}
    )
    images: int = field(default=32, metadata={"help": "Number of images: the first ones of the task.", "min": 8})


@dataclass(frozen=True, kw_only=True)
class CostOptions(DeviceOptions, ImageLimit):
    """Measurement of the cost."""

    cost_model: str | None = field(
        default=None,
        metadata={
            "help": "Model to compare the cost with: shapes-detector, a timm model, or none; by default "
            "shapes-detector, or vit_base_patch16_224 for photographs.",
            "metavar": "NAME",
        },
    )
    batch_size: int = field(
        default=16, metadata={"help": "Batch size of the cost measurement on a GPU; 1 on a CPU.", "min": 1}
    )


@dataclass(frozen=True, kw_only=True)
class AuditFile(SharingOptions):
    """File to write beside the printed tables."""

    json_file: Path | None = field(
        default=None, metadata={"help": "Path of a JSON file for all results.", "flag": "--json", "metavar": "FILE"}
    )


def audit(audited: AuditedSelector, source: AuditImageOptions, compute: CostOptions, file: AuditFile) -> None:
    """Check a selector against the interface, and measure ties, center bias, mirror invariance, cost and agreement.

    The exit code is 1 if a check fails.
    """
    check_names(
        [audited.selector, *audited.against],
        () if source.task is None else (source.task,),
        data=() if source.data is None else (source.data,),
        task_options=source.task_option,
    )

    from ltrp_bench.harness.audit.audit import AuditOptions
    from ltrp_bench.harness.audit.audit import audit as audit_selector
    from ltrp_bench.harness.audit.cost import DEFAULT, check_model
    from ltrp_bench.harness.cli.terminal.audit_tables import contract_table, measures_table
    from ltrp_bench.harness.evaluation.environment import provenance, usable_device
    from ltrp_bench.harness.evaluation.request import resolve_request
    from ltrp_bench.harness.progress.terminal import console
    from ltrp_bench.results.schema.atomic_io import atomic_write
    from ltrp_bench.results.schema.redaction import here

    device = usable_device(compute.device)
    compute.set_limit()
    if compute.cost_model not in (None, NO_COST):
        check_model(str(compute.cost_model))
    batch_size = SweepOptions(batch_size=compute.batch_size, device=device).effective_batch_size
    request = _request(audited, source, device, batch_size)
    with console(stderr=True).status("building") as status:
        pairs = resolve_request(request, print_note)
        entry, task = pairs[0]
        model = DEFAULT[task.task.domain] if compute.cost_model is None else compute.cost_model
        options = AuditOptions(
            images=source.images,
            device=device,
            batch_size=batch_size,
            cost_model=None if model == NO_COST else model,
        )
        others = [other for other, _ in pairs[1:]]
        report = audit_selector(entry, others, task, options, status.update, provenance(device)())
    console().print(contract_table(report))
    console().print(measures_table(report))
    if file.json_file is not None:
        content = report.json()
        if not file.with_paths:
            content["about"] = here().provenance(content["about"])
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        atomic_write(file.json_file, text.encode())
    for finding in report.broken:
        typer.echo(f"contract broken: {finding.check}, on image {finding.image!r}: {finding.detail}", err=True)
    if report.broken:
        raise typer.Exit(1)


def _request(audited: AuditedSelector, source: AuditImageOptions, device: str, batch_size: int) -> Request:
    names = tuple(dict.fromkeys([audited.selector, *OTHERS, *audited.against]))
    return Request(
        selectors=names,
        tasks=(source.task or ("shapes-coverage" if source.data is None else "coco-coverage"),),
        weights=tuple(_named_weights(text, audited.selector, names) for text in audited.weights),
        selector_options=tuple(_named_option(text, audited.selector) for text in audited.selector_option),
        data=() if source.data is None else (source.data,),
        task_options=source.task_option,
        device=device,
        batch_size=batch_size,
    )


def _named_weights(text: str, selector: str, names: Sequence[str]) -> str:
    """ "NAME=FILE"; a file alone belongs to the audited selector."""
    name, equals, _ = text.partition("=")
    return text if equals and name in names else f"{selector}={text}"


def _named_option(text: str, selector: str) -> str:
    """ "NAME.key=value"; "key=value" alone belongs to the audited selector."""
    key, equals, _ = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--selector-option {text}: write key=value or NAME.key=value")
    return text if "." in key else f"{selector}.{text}"
