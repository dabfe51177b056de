"""The two errors that users see: `UsageError` (exit code 2) and `InputError` (exit code 1).

Both derive from `BenchError`. The command line prints their message, which is one line, and exits with their code.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import ClassVar


class BenchError(Exception):
    """Base of all errors meant for the user. The message is one line: what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1
    """Exit code of the command line."""


class InputError(BenchError):
    """Data, weights or results that are missing, damaged or of the wrong kind (exit code 1)."""


class UsageError(BenchError):
    """A name, option or combination of options that does not exist or is not valid (exit code 2)."""

    exit_code = 2


def unknown_name(kind: str, name: str, known: Collection[str]) -> UsageError:
    """Error for an unknown name, with the closest known name and a list of all of them.

    Args:
        kind: "selector" or "task".
        name: name as given by the user.
        known: all known names.
    """
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"no {kind} {name!r}{hint} (there are {', '.join(sorted(known))})")
