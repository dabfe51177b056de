"""`ltrp-bench results export` and `ltrp-bench results import`."""

from __future__ import annotations

from pathlib import Path

import typer

results_app = typer.Typer(no_args_is_help=True, help="Share results: one checksummed archive out, or in.")


@results_app.command("export")
def export(
    archive: Path = typer.Argument(metavar="FILE", help="The archive to write, a zip."),
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="A run folder."),
    task: list[str] = typer.Option([], help="Only cells of this task; repeat."),
    selector: list[str] = typer.Option([], help="Only cells of this selector; repeat."),
    no_gallery: bool = typer.Option(False, "--no-gallery", help="Without the small images of the data sets."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Write finished cells to one archive that others can import."""
    from ltrp_bench.results.store.archive import export as write

    cells = write(folder, archive, task, selector, not no_gallery)
    typer.echo(f"{cells} cells in {archive} ({archive.stat().st_size / 1e6:.1f} MB)", err=True)


@results_app.command("import")
def import_(
    archive: Path = typer.Argument(metavar="FILE", help="What `results export` wrote."),
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="The run folder that takes them in."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Take the cells of an archive in, all or none; one that was altered is refused."""
    from ltrp_bench.results.store.archive import import_archive

    done = import_archive(archive, folder, lambda line: typer.echo(f"note: {line}", err=True))
    typer.echo(f"{len(done.new)} cells are new in {folder}, {len(done.known)} were there already", err=True)
