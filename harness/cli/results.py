"""`ltrp-bench results export` and `ltrp-bench results import`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import typer

from ltrp_bench.harness.cli.option_groups import ResultFilter, RunDirectory, SharingOptions
from ltrp_bench.harness.cli.terminal.messages import counted, print_note


@dataclass(frozen=True, kw_only=True)
class NewArchive:
    """Archive to write."""

    archive: Path = field(metadata={"help": "Path of the zip archive to write.", "metavar": "FILE", "argument": True})


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Archive to read."""

    archive: Path = field(
        metadata={"help": "Path to an archive written by `results export`.", "metavar": "FILE", "argument": True}
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ResultFilter, SharingOptions):
    """Results that go into an archive."""

    no_gallery: bool = field(default=False, metadata={"help": "Leave out thumbnails of the data sets' images."})


def export_results(target: NewArchive, directory: RunDirectory, options: ExportOptions) -> None:
    """Write results to one archive with checksums, for others to import."""
    from ltrp_bench.results.store.archive import export

    gallery = not options.no_gallery
    paths = options.with_paths
    cells = export(directory.folder, target.archive, options.task, options.selector, gallery, with_paths=paths)
    size = target.archive.stat().st_size / 1e6
    typer.echo(f"{counted(cells, 'cell')} in {target.archive} ({size:.1f} MB)", err=True)


@dataclass(frozen=True, kw_only=True)
class TargetDirectory:
    """Where imported results go."""

    folder: Path = field(
        default=Path("runs"),
        metadata={"help": "Run directory to add the results to.", "metavar": "[DIR]", "argument": True},
    )


@dataclass(frozen=True, kw_only=True)
class ReplicateOptions:
    """Cells that the run directory has already, as another machine measured them."""

    tolerance: float = field(
        default=0.005,
        metadata={"help": "Largest difference of a headline metric that counts as rounding.", "min": 0},
    )


def import_results(source: Archive, directory: TargetDirectory, replicates: ReplicateOptions) -> None:
    """Add the results of an archive to a run directory: all of them, or none if the archive was altered.

    Cells that are there already, with numbers that differ by rounding, are kept as replicates.
    """
    from ltrp_bench.results.store.archive import import_archive

    done = import_archive(source.archive, directory.folder, print_note, replicates.tolerance)
    line = f"{counted(len(done.new), 'new cell')} in {directory.folder}, {len(done.known)} known already"
    if done.replicates:
        number = counted(len(done.replicates), "replicate")
        line += f", {number} of other machines (headline metrics differ by at most {done.spread:.2g})"
    typer.echo(line, err=True)
