"""Parsers of option strings: "NAME=FILE", and "NAME.key=value", whose values are parsed by the option's own type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import parse_option


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
    given: Iterable[str],
    names: Sequence[str],
    *,
    flag: str,
    form: str,
    option_types: Callable[[str], Mapping[str, Any]] = lambda name: {},
) -> dict[str, dict[str, Any]]:
    """Parse "NAME.key=value" to name -> key -> value.

    Args:
        given: option strings.
        names: selectors or tasks of the run.
        flag: command-line option that the strings come from, for messages.
        form: form of the strings, for messages.
        option_types: gives option -> type of a selector or task, by which values are parsed; JSON where it has none.

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
        options.setdefault(name, {})[key] = parse_option(value, option_types(name).get(key, Any))
    return options
