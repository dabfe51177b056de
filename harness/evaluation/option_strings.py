"""Parsers of option strings: "NAME=FILE", and "NAME.key=value", whose values are parsed by the option's own type."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ltrp_bench.selectors.errors import UsageError, near_or
from ltrp_bench.selectors.option_checks import parse_option
from ltrp_bench.selectors.zoo.table import Checkpoint, checkpoints


def split_list(text: str, *, spaced: bool = False) -> list[str]:
    r"""Items of a list such as "ltrp,random"; one item for a text without commas.

    A comma before a space belongs to an item, since labels hold such commas ("Lite0, fill"), and so does `\,`.

    Args:
        text: the list.
        spaced: True if items may follow a comma and a space, because none of them holds a comma: numbers.
    """
    parts = re.split(r"(?<!\\),\s*" if spaced else r"(?<!\\),(?!\s)", text)
    return [part.replace("\\,", ",").strip() if "," in text else part for part in parts]


def not_in_run(flag: str, text: str, name: str, known: Iterable[str]) -> UsageError:
    """Error for an option whose text names a selector or task that is not in the run."""
    names = list(dict.fromkeys(known))
    hint = near_or(name, names, f"the run has {', '.join(names)}")
    return UsageError(f"{flag} {text}: {name!r} is not in this run; {hint}")


def check_prefix(flag: str, text: str, known: Sequence[str]) -> None:
    """Raise UsageError if "NAME=PATH" has a name that is not known, rather than take all of it for a path.

    A path may hold "=" itself: a text that exists as a path, or has a "/" or a colon before the "=", is one.

    Args:
        flag: command-line option, for messages.
        text: value of the option.
        known: names of the run that may stand before the "=".
    """
    name, equals, _ = text.partition("=")
    if not equals or not name or re.search(r"[/\\:$~]", name) or name in known or Path(text).exists():
        return
    raise not_in_run(flag, text, name, known)


def parse_weights(given: Iterable[str], selectors: Sequence[str], labels: Sequence[str] = ()) -> dict[str, str]:
    """Parse "NAME=FILE", or "FILE" if there is one selector, to selector -> file.

    Args:
        given: option strings.
        selectors: names of the run's selectors, each once.
        labels: other names of some of them.

    Raises:
        UsageError: "FILE" among several selectors, a NAME that is not in the run, or a checkpoint of tasks' models.
    """
    weights: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if equals and name in (*selectors, *labels):
            weights[name] = file
            continue
        published = next((one for one in checkpoints() if text == one.name), None)
        if published is not None and not takers_of(published)[0] and not Path(text).exists():
            raise UsageError(f"--weights {text}: {text} is a model of a task: --model-weights {text}")
        if published is None:
            check_prefix("--weights", text, (*selectors, *labels))
        if len(selectors) == 1:
            weights[selectors[0]] = text
        else:
            raise UsageError(f"--weights {text}: which selector is it for? write NAME=FILE ({', '.join(selectors)})")
    return weights


def takers_of(checkpoint: Checkpoint) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The selectors and the tasks that take an official checkpoint."""
    from ltrp_bench.tasks.registry import task_names  # imports numpy, which most commands start without

    tasks = task_names()
    selectors = tuple(name for name in checkpoint.used_by if name not in tasks)
    return selectors, tuple(name for name in checkpoint.used_by if name in tasks)


class Named(Protocol):
    """A selector or task of a run, as options call it."""

    @property
    def name(self) -> str:
        """Its name, which others of the run may have as well."""

    @property
    def label(self) -> str | None:
        """Another name, of its own."""


def parse_named_options(
    given: Iterable[str],
    owners: Sequence[Named],
    *,
    flag: str,
    form: str,
    option_types: Callable[[str], Mapping[str, Any]] = lambda name: {},
) -> list[dict[str, Any]]:
    """Parse "NAME.key=value" to key -> value of each owner; NAME is a name or a label.

    Args:
        given: option strings.
        owners: selectors or tasks of the run.
        flag: command-line option that the strings come from, for messages.
        form: form of the strings, for messages.
        option_types: gives option -> type of a selector or task, by which values are parsed; JSON where it has none.

    Raises:
        UsageError: another form, or a name that is not in the run.
    """
    options: list[dict[str, Any]] = [{} for _ in owners]
    for text in given:
        left, equals, value = text.partition("=")
        name, dot, key = left.rpartition(".")
        if not (equals and dot and key):
            raise UsageError(f"{flag} {text}: write {form}")
        meant = [number for number, owner in enumerate(owners) if name in (owner.name, owner.label)]
        if not meant:
            raise not_in_run(flag, text, name, (owner.label or owner.name for owner in owners))
        for number in meant:
            options[number][key] = parse_option(value, option_types(owners[number].name).get(key, Any))
    return options


def expanded(text: str) -> str:
    """A text with environment variables and a leading `~` expanded; "NAME=FILE" with those of its file.

    Raises:
        UsageError: a variable that is not set, in what is no existing path.
    """
    found = os.path.expandvars(text)
    name, equals, value = found.partition("=")
    if equals and value.startswith("~") and "/" not in name:
        found = f"{name}={os.path.expanduser(value)}"  # noqa: PTH111
    elif found.startswith("~"):
        found = os.path.expanduser(found)  # noqa: PTH111
    unset = re.search(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", found)
    if unset is not None and not Path(found.partition("=")[2] if equals else found).exists():
        raise UsageError(f"{text}: the environment variable {unset[1] or unset[2]} is not set")
    return found
