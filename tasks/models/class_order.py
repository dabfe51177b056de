"""Classes of a model's outputs: names from the checkpoint or the user, and which class of a data set each output is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltrp_bench.selectors.errors import InputError, UsageError

ClassNames = str | Path | Sequence[str]
"""Option `classes`: names in the order of a model's outputs, or a file with one a line or a JSON list."""


def read_class_names(given: ClassNames | None) -> tuple[str, ...] | None:
    """Names of a model's outputs as the option `classes` gives them; None if it was not given.

    Raises:
        UsageError: no names. InputError: a file that cannot be read.
    """
    if given is None:
        return None
    if isinstance(given, (str, Path)) and not str(given).lstrip().startswith("["):
        path = Path(given).expanduser()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise InputError(f"classes={given}: cannot read the file ({why}); write one name a line") from None
        names: Any = [line.strip() for line in text.splitlines() if line.strip()]
        if text.lstrip().startswith("["):
            names = _names_of_json(given, text)
    elif isinstance(given, (str, Path)):
        names = _names_of_json(given, str(given))
    else:
        names = list(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"classes={given}: give the names of the model's outputs, in their order")
    return tuple(names)


def _names_of_json(given: str | Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise InputError(f"classes={given}: no valid JSON list of names") from None


def match_outputs(name: str, outputs: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Class of each output of a model, by names.

    Names are compared without case, spaces, dashes and everything after a comma or semicolon. Model and data set must
    have the same classes: an output without a class could only be wrong.

    Args:
        name: of the task, for error messages.
        outputs: names of the model's outputs.
        classes: the classes of the data set.

    Returns:
        [outputs] int64 indices into `classes`.

    Raises:
        InputError: the model has other classes.
    """
    own, wanted = [plain_name(c) for c in outputs], [plain_name(c) for c in classes]
    if own == wanted:
        return np.arange(len(own))
    if sorted(own) != sorted(wanted) or len(set(wanted)) != len(wanted):
        differing = sorted(set(wanted) - set(own)) or sorted(set(own) - set(wanted))
        alone = f"{', '.join(differing[:5])} in one alone" if differing else "one name stands for several"
        raise InputError(
            f"{name}: the model's {len(own)} classes ({outputs[0]}, …) are not the data set's {len(wanted)}: {alone}: "
            "wrong model for this data set; if the names in its file are not those of its outputs, give classes=FILE"
        )
    return np.array([wanted.index(c) for c in own])


def order_assumed(classes: Sequence[str]) -> str:
    """Line about outputs that no file names and that are taken in the order of the data set's classes."""
    shown = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return (
        f"the model's file does not name its {len(classes)} outputs; assumed to be the data set's classes in their "
        f"order ({shown}): if this is wrong, give classes=FILE"
    )


def plain_name(name: str) -> str:
    """Lower-case letters and digits of a name up to the first comma or semicolon."""
    first = name.lower().partition(",")[0].partition(";")[0]
    return "".join(letter for letter in first if letter.isalnum())
