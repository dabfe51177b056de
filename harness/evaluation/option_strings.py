"""Parsers of option strings: "NAME=FILE", "NAME.key=value" and JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ltrp_bench.selectors.errors import UsageError


def parse_value(text: str) -> Any:
    """Parse a JSON value (3, 0.5, true, null, [1, 2]); any other text is returned as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_weights(given: Iterable[str], selectors: Sequence[str]) -> dict[str, str]:
    """Parse "NAME=FILE", or "FILE" if there is one selector, to selector -> file.

    Raises:
        UsageError: "FILE" among several selectors.
    """
    weights: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if equals and name in selectors:
            weights[name] = file
        elif len(selectors) == 1:
            weights[selectors[0]] = text
        else:
            raise UsageError(f"--weights {text}: which selector is it for? write NAME=FILE ({', '.join(selectors)})")
    return weights


def parse_named_options(
    given: Iterable[str], names: Sequence[str], *, flag: str, form: str
) -> dict[str, dict[str, Any]]:
    """Parse "NAME.key=value" to name -> key -> value.

    Args:
        given: option strings.
        names: selectors or tasks of the run.
        flag: command-line option that the strings come from, for messages.
        form: form of the strings, for messages.

    Raises:
        UsageError: another form, or a name that is not in the run.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in given:
        left, equals, value = text.partition("=")
        name, dot, key = left.rpartition(".")
        if not (equals and dot and key):
            raise UsageError(f"{flag} {text}: write {form}")
        if name not in names:
            raise UsageError(f"{flag} {text}: {name!r} is not in this run ({', '.join(names)})")
        options.setdefault(name, {})[key] = parse_value(value)
    return options
