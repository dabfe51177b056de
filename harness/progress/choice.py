"""The display of a run's progress that suits where Python runs: a terminal, a notebook, a file, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from ltrp_bench.harness.progress.notebook import NotebookProgress
from ltrp_bench.harness.progress.terminal import RunProgress


class RunDisplay(Protocol):
    """Shows the progress of a run; a context manager."""

    def __enter__(self) -> RunDisplay:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state."""

    def start(self, images: Mapping[str, int]) -> None:
        """See `evaluation.execution.progress.Progress`."""

    def current(self, label: str) -> None:
        """See `evaluation.execution.progress.Progress`."""

    def advance(self, key: str, images: int, seconds: float | None) -> None:
        """See `evaluation.execution.progress.Progress`."""

    def notice(self, line: str) -> None:
        """Show a note."""

    @property
    def worked(self) -> int:
        """Number of images evaluated in this run, summed over groups."""


class NotesOnly(RunProgress):
    """Shows notes, and no progress."""

    def __init__(self, words: Callable[[str], str] = str) -> None:
        super().__init__(live=False, words=words)

    def _print_line(self) -> None:
        pass


def in_notebook() -> bool:
    """True in a Jupyter kernel, whose output is HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def display(progress: bool = True, words: Callable[[str], str] = str) -> RunDisplay:
    """The display for this process.

    Args:
        progress: False to show notes only.
        words: changes the text of notes.
    """
    if in_notebook():
        return NotebookProgress(shown=progress, words=words)
    return RunProgress(words=words) if progress else NotesOnly(words)
