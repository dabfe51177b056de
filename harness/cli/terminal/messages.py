"""Lines that commands print to stderr."""

from __future__ import annotations

import typer


def print_note(line: str) -> None:
    """Print a note, such as something that was left out."""
    typer.echo(f"note: {line}", err=True)


def counted(number: int, noun: str) -> str:
    """ "1 image", "2 images": a number with its noun, whose plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
