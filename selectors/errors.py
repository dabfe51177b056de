"""The two errors a user can cause; the command line prints their one line and exits with their code."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any


class BenchError(Exception):
    """Base of all errors whose message is one line for a person: what was wrong, where, what to do."""

    exit_code = 1


class InputError(BenchError):
    """Data, weights or results are missing, corrupt or of another kind (exit code 1)."""

    exit_code = 1


class UsageError(BenchError):
    """The command or call asked for something that does not exist or does not fit (exit code 2)."""

    exit_code = 2


def option_error(kind: str, name: str, options: Mapping[str, Any], error: Exception) -> str:
    """One line for an option's value that a selector or task (`kind`) cannot take."""
    given = ", ".join(f"{key}={value}" for key, value in options.items())
    why = " ".join(str(error).split()) or type(error).__name__
    return f"{kind} {name!r} cannot be built with {given}: {why}"


def unknown_name(kind: str, name: str, known: Collection[str]) -> UsageError:
    """That there is no selector or task (`kind`) of that name; it names the nearest one and all there are."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"no {kind} {name!r}{hint} (there are {', '.join(sorted(known))})")
