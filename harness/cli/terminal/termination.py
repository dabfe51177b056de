"""SIGTERM ends a run as Ctrl-C does: what is finished is kept, and a line says so."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import typer

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as of a shell."""

TERMINATED: Final = 128 + signal.SIGTERM


def ends_on_sigterm(command: Callable[..., None]) -> Callable[..., None]:
    """The command, ended by SIGTERM as by Ctrl-C, but with exit code 143: schedulers send it before they kill."""

    @functools.wraps(command)
    def wrapped(**given: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return command(**given)
        received: list[int] = []

        def stop(number: int, frame: FrameType | None) -> None:
            if not received:  # a scheduler may send several
                received.append(number)
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, stop)
        try:
            command(**given)
        except (KeyboardInterrupt, typer.Exit) as end:
            if received and getattr(end, "exit_code", INTERRUPTED) == INTERRUPTED:
                raise typer.Exit(TERMINATED) from None
            raise
        finally:
            signal.signal(signal.SIGTERM, before)

    return wrapped
