"""Lines that commands print."""

from __future__ import annotations

import shutil
import sys
import textwrap

import typer


def print_note(line: str) -> None:
    """Print a note to stderr, such as something that was left out."""
    typer.echo(f"note: {line}", err=True)


def print_wrapped(line: str, indent: str = "") -> None:
    """Print a line to stdout. A terminal that is narrower gets it in several, broken between words.

    Args:
        line: the line.
        indent: what begins the further lines.
    """
    typer.echo("\n".join(wrapped(line, terminal_columns(), indent)))


def terminal_columns() -> int | None:
    """Width of the terminal; None for files and pipes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(line: str, width: int | None, indent: str = "") -> list[str]:
    """Lines of at most this width, as far as no word is longer; the line itself for None."""
    if width is None or len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def counted(number: int, noun: str) -> str:
    """ "1 image", "2 images": a number with its noun, whose plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
