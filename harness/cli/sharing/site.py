"""`ltrp-bench site`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import typer

from ltrp_bench.harness.cli.boards import board_options, board_sources
from ltrp_bench.harness.cli.option_groups import ExposureOptions, IntervalOptions
from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.selectors.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Archives:
    """Archives of several labs."""

    archive: tuple[Path, ...] = field(
        default=(),
        metadata={"help": "Archives of `results export`, or folders of them.", "metavar": "FILE ...", "argument": True},
    )


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """The site and its rules."""

    out: Path = field(default=Path("site"), metadata={"help": "Directory of the site."})
    title: str = field(default="ltrp-bench", metadata={"help": "Title of the pages."})
    strict: bool = field(default=False, metadata={"help": "Exit with code 1 if any archive is left out."})
    data_revision: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Leave out archives with another revision of a task's data; repeat for several.",
            "metavar": "TASK=HEX",
        },
    )


def site(archives: Archives, options: SiteOptions, intervals: IntervalOptions) -> None:
    """Build a static leaderboard from the archives of many labs; those that fail a check are left out and named.

    The exit code is 1 if all are left out.
    """
    files = list(_files(archives.archive))
    if not files:
        raise UsageError("no archives: name files of `ltrp-bench results export`, or a folder of them")
    revisions = dict(_revision(text) for text in options.data_revision)

    from ltrp_bench.results.report.site import build_site
    from ltrp_bench.results.report.submissions import Rules

    settings = replace(board_options(ExposureOptions(), intervals), intervals=not intervals.no_intervals)
    rules = Rules(splits=known_splits(), version=version("ltrp-bench"), data=revisions)
    found = build_site(files, options.out, rules, settings, title=options.title, **board_sources())
    left_out = [one for one in found if one.reason]
    for one in left_out:
        typer.echo(f"{one.name} is left out: {one.reason}", err=True)
    used = len(found) - len(left_out)
    line = f"{used} of {counted(len(found), 'archive')} used"
    typer.echo(f"{options.out / 'index.html'}: {line}" if used else f"{line}; no site was written", err=True)
    if not used or (options.strict and left_out):
        raise typer.Exit(1)


def known_splits() -> frozenset[str]:
    """Fingerprints of the splits of this version: the bundled ones, and those of label sets and category lists."""
    from ltrp_bench.tasks.splits.label_sets import category_lists, label_sets_for, split_for
    from ltrp_bench.tasks.splits.split import load_split, shipped_splits

    bundled = {load_split(name).fingerprint() for name in shipped_splits()}
    lists = category_lists().values()
    return frozenset(bundled | {split_for(name, own).fingerprint() for own in lists for name in label_sets_for(own)})


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.zip")) if path.is_dir() else [path]


def _revision(text: str) -> tuple[str, str]:
    task, equals, revision = text.partition("=")
    if not equals or not task or not revision or set(revision) - set("0123456789abcdef"):
        raise UsageError(
            f"--data-revision {text}: write TASK=HEX, with the first digits of `data` in a cell's identity"
        )
    return task, revision
