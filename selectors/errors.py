"""The two errors that users see: `UsageError` (exit code 2) and `InputError` (exit code 1).

Both derive from `BenchError`. The command line prints their message, which is one line, and exits with their code.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import ClassVar, Final


class BenchError(Exception):
    """Base of all errors meant for the user. The message is one line: what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1
    """Exit code of the command line."""


class InputError(BenchError):
    """Data, weights or results that are missing, damaged or of the wrong kind (exit code 1)."""


class UsageError(BenchError):
    """A name, option or combination of options that does not exist or is not valid (exit code 2)."""

    exit_code = 2


class WeightsNotGiven(UsageError):
    """A selector needs weights, none were given, and none are bundled for this domain (exit code 2)."""


_LISTS: Final = {"selector": "selectors", "task": "tasks", "label set": "label-sets"}
"""Kind of name -> what `ltrp-bench list` calls all of that kind."""


def unknown_name(kind: str, name: str, known: Collection[str]) -> UsageError:
    """Error for an unknown name, with the closest known name or, without one, where to find all of them.

    Args:
        kind: "selector", "task", "label set", or another noun.
        name: name as given by the user.
        known: all known names.
    """
    if kind == "selector" and name.lower().startswith("deit"):
        example = "--weights evit=timm:deit_small_patch16_224"
        return UsageError(f"no {kind} {name!r}; DeiT is a model, which methods take as weights, such as {example}")
    shown = f"`ltrp-bench list {_LISTS[kind]}` shows all" if kind in _LISTS else ""
    return UsageError(f"no {kind} {name!r}; {near_or(name, known, shown)}")


def near_or(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """End of a message on an unknown name: "did you mean 'x'?" where a known name is like it.

    Args:
        name: name as given by the user.
        known: all known names.
        otherwise: end of the message where none is like it; "" for a list of all.
    """
    names = list(dict.fromkeys(known))
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return otherwise or (f"there are {', '.join(sorted(names))}" if names else "there are none")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelled one is most like, or the only one that contains it; None if there is none."""
    names = list(dict.fromkeys(known))
    lower = {one.lower(): one for one in reversed(names)}
    if found := difflib.get_close_matches(name.lower(), lower, n=1):
        return lower[found[0]]
    within = [one for one in names if name.lower() in one.lower()]
    return within[0] if len(within) == 1 and len(name) > 1 else None
