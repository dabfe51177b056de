"""`ltrp-bench weights`: list, fetch and verify official checkpoints."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import typer

from ltrp_bench.harness.cli.terminal.messages import print_wrapped
from ltrp_bench.harness.cli.zoo.page import way_to_get, zoo_page
from ltrp_bench.harness.evaluation.option_strings import takers_of
from ltrp_bench.selectors.errors import InputError, UsageError, near_or
from ltrp_bench.selectors.zoo.cache import cache_folder, cached, remedy, state_of, take
from ltrp_bench.selectors.zoo.network import check_repository
from ltrp_bench.selectors.zoo.table import TABLE, Checkpoint, checkpoints, find_all

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Which checkpoints to list."""

    name: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Selector, task, kind or name of a checkpoint; all by default. One name shows all that is known.",
            "metavar": "[NAME]...",
            "argument": True,
        },
    )
    form: Literal["table", "csv", "markdown"] = field(
        default="table",
        metadata={"help": "A table for the terminal, the whole CSV, or the page of the docs.", "flag": "--format"},
    )


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Which checkpoints to fetch."""

    name: tuple[str, ...] = field(
        metadata={"help": "Name of a checkpoint, such as dino=vit-s16.", "metavar": "NAME...", "argument": True}
    )


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Which checkpoints to verify."""

    name: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Name of a checkpoint; all that are in the cache by default.",
            "metavar": "[NAME]...",
            "argument": True,
        },
    )


def list_weights(options: ListOptions) -> None:
    """List official checkpoints of selectors and task models: who trained them with what, and how to get them."""
    if options.form == "markdown":
        if options.name:
            raise UsageError("--format markdown is the page of all checkpoints: leave the names out")
        sys.stdout.write(zoo_page())
    elif options.form == "csv":
        names = {one.name for one in _listed(options.name)}
        head, *lines = TABLE.read_text(encoding="utf-8").splitlines()
        typer.echo("\n".join([head, *(line for line in lines if line.split(",", 1)[0] in names)]))
    else:
        chosen = _listed(options.name)
        if len(chosen) == 1 and options.name[0] in (chosen[0].name, chosen[0].short):
            _print_details(chosen[0])
        else:
            _print_table(chosen)


def fetch_weights(options: FetchOptions) -> None:
    """Fetch official checkpoints into the cache, where `--weights NAME` finds them."""
    failed = 0
    for one in _chosen(options.name):
        try:
            typer.echo(f"{one.name}  {_fetched(one)}")
        except InputError as error:
            failed += 1
            typer.echo(f"ltrp-bench: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def verify_weights(options: VerifyOptions) -> None:
    """Compare the checkpoints in the cache with their published hashes, or those of their first use."""
    bad = count = 0
    for one in _chosen(options.name):
        path = cached(one)
        if path is None:
            if options.name:
                typer.echo(f"{one.name}  not in the cache" + ("; its hub verifies it" if one.on_hub else ""))
                bad += not one.on_hub
            continue
        count += 1
        state, why = state_of(one, path)
        bad += state != "ok"
        typer.echo(f"{one.name}  ok" if state == "ok" else f"{one.name}  {state}: {why}")
    if not count and not options.name:
        typer.echo(f"no checkpoints in {cache_folder()}")
    if bad:
        raise typer.Exit(1)


def _listed(names: Sequence[str]) -> tuple[Checkpoint, ...]:
    """The checkpoints of these names, or those that begin so. Raises UsageError for a name that none has."""
    longer: list[str] = []
    for name in names:
        begun = [one.name for one in checkpoints() if any(part.startswith(name) for part in (one.name, one.short))]
        longer += [name] if find_all(name) or not begun else begun
    return _chosen(longer)


def _chosen(names: Sequence[str]) -> tuple[Checkpoint, ...]:
    """The checkpoints of these names, each once. Raises UsageError for a name that is not in the table."""
    if not names:
        return checkpoints()
    found: dict[str, Checkpoint] = {}
    for name in names:
        some = find_all(name)
        if not some:
            hint = near_or(name, (one.name for one in checkpoints()), "`ltrp-bench weights list` shows all")
            raise UsageError(f"no checkpoint, selector or task {name!r}; {hint}")
        found.update((one.name, one) for one in some)
    return tuple(found.values())


def _fetched(checkpoint: Checkpoint) -> str:
    if not checkpoint.on_hub:
        return str(take(checkpoint))
    check_repository(checkpoint.repository, f"{checkpoint.url.partition(':')[2]}.safetensors")
    # Imported here, because it imports torch.
    from ltrp_bench.selectors.vit.hub import hub_file

    return str(hub_file(checkpoint.url))


_WIDE: Final = 110
"""Characters from which a terminal has room for all columns."""


def _print_table(chosen: Sequence[Checkpoint]) -> None:
    from rich.table import Table

    from ltrp_bench.harness.progress.terminal import console

    terminal = console()
    narrow = terminal.width < _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("name", "what it is", *(() if narrow else ("trained with", "license")), "how to get"):
        table.add_column(title, overflow="fold")
    table.columns[0].no_wrap = True
    for one in chosen:
        more = () if narrow else (one.supervision.replace("+", " + ") or "-", one.license or "-")
        mark = "" if cached(one) is None else " (in cache)"
        table.add_row(one.name, one.title, *more, way_to_get(one) + mark)
    terminal.print(table)
    typer.echo()
    if narrow:
        left_out = f"left out to fit {terminal.width} columns: trained with, license"
        print_wrapped(f"{left_out}; `ltrp-bench weights list NAME` shows them")
    print_wrapped(f"{_flags(chosen)}; cache: {cache_folder()} (LTRP_BENCH_CACHE)")
    print_wrapped(
        "how to get: automatic, ltrp-bench downloads it at first use; Hugging Face, the same from the hub, into the "
        "hub's own cache; by hand, where the authors' page sends no file to a program"
    )


def _flags(chosen: Sequence[Checkpoint]) -> str:
    """Which options take these checkpoints by their names."""
    takers = [takers_of(one) for one in chosen]
    of_selectors, of_tasks = (any(one[i] for one in takers) for i in range(2))
    if of_selectors and of_tasks:
        return "selectors take a NAME by --weights, models of tasks by --model-weights"
    return f"{'--model-weights' if of_tasks else '--weights'} NAME takes one"


def _print_details(one: Checkpoint) -> None:
    path = cached(one)
    facts = {
        "name": one.name,
        "what it is": one.title,
        "taken by": ", ".join(one.used_by),
        "trained with": one.supervision or "not known",
        "published at": one.page,
        "file": one.file,
        "address": one.url or "not known",
        "beside it": ", ".join(one.beside),
        "size": "" if one.size is None else f"{'about ' if one.approximate else ''}{one.size:,} bytes",
        "license": one.license or "not known",
        "SHA-256": one.sha256 + ("…" if 0 < len(one.sha256) < 64 else ""),
        "MD5": one.md5 + ("…" if 0 < len(one.md5) < 32 else ""),
        "stated by": one.source,
        "options": ", ".join(f"{name}={value}" for name, value in one.options.items()),
        "conversion": f"`ltrp-bench convert {one.convert}`, done on its own at first use" if one.convert else "",
        "in the cache": str(path) if path else f"no; {remedy(one)}" if not one.on_hub else "that of the hub",
    }
    for title, text in facts.items():
        if text:
            typer.echo(f"{title:13} {text}")
