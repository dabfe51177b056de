"""Checks of options before anything is built: a wrong name or value is the user's error, in one line.

Selectors and tasks share them. Types understood are bool, int, float, str, Path, None, Literal, sequences and unions of
these; values of any other type are not checked. NumPy's numbers count as Python's.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ltrp_bench.selectors.errors import UsageError

_SIMPLE: Mapping[object, tuple[tuple[type, ...], str, str]] = {
    bool: ((bool,), "true or false", "true or false"),
    int: ((Integral,), "a whole number", "whole numbers"),
    float: ((Real,), "a number", "numbers"),
    str: ((str,), "text", "texts"),
    Path: ((str, Path), "a path", "paths"),
    types.NoneType: ((types.NoneType,), "null", "nulls"),
}
"""Type of an option -> types of the values that it takes, and names of one value and of several."""


def check_options(
    owner: str, factory: Callable[..., Any], options: Mapping[str, Any], *, unlisted: Collection[str] = ()
) -> None:
    """Check the names and types of options against the signature of a callable.

    Args:
        owner: start of the error message, e.g. "selector 'ltrp'".
        factory: class or function that takes the options as keyword arguments.
        options: the options; none that is required may be missing.
        unlisted: parameters that do not come from the user: error messages do not list them, types are not checked.

    Raises:
        UsageError: an unknown or missing option, or a value of the wrong type.
    """
    signature = inspect.signature(factory)
    listed = [name for name in signature.parameters if name not in unlisted]
    try:
        signature.bind(**options)
    except TypeError as error:
        for option in options:
            check_name(owner, option, signature.parameters, listed)
        raise UsageError(f"{owner}: {error}; its options: {', '.join(listed) or 'none'}") from None
    try:
        hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError):
        return  # annotations that only a type checker can resolve
    for option, value in options.items():
        if option not in unlisted:
            check_value(owner, option, value, hints.get(option, Any))


def check_name(owner: str, option: str, known: Collection[str], listed: Collection[str] | None = None) -> None:
    """Raise `UsageError` unless `option` is known; the message lists `listed`, by default all known options."""
    if option not in known:
        options = ", ".join(known if listed is None else listed) or "none"
        raise UsageError(f"{owner} has no option {option!r}; its options: {options}")


def check_value(owner: str, option: str, value: object, hint: Any) -> None:
    """Raise `UsageError` unless `value` is of the type `hint`, e.g. a `Literal`."""
    if not _fits(value, hint):
        raise UsageError(f"{owner}: {option} must be {_describe(hint)}, got {value!r}")


def check_whole(owner: str, option: str, value: object, least: int, most: int | None = None) -> None:
    """Raise `UsageError` unless `value` is a whole number (no bool) from `least` to `most`, both included."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        end = "on" if most is None else f"to {most}"
        raise UsageError(f"{owner}: {option} must be a whole number from {least} {end}, got {value!r}")


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is Literal:
        return any(_fits(value, type(choice)) and bool(value == choice) for choice in arguments)
    if origin in (tuple, list, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(one, arguments[0]) for one in value)
    if hint not in _SIMPLE:
        return True
    return isinstance(value, _SIMPLE[hint][0]) and (hint is bool or not isinstance(value, bool))


def _describe(hint: Any) -> str:
    """Text of the values that a type allows, e.g. "one of drop, fill or null"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (tuple, list, Sequence):
        item = arguments[0]
        return f"a list of {_SIMPLE[item][2]}" if item in _SIMPLE else f"a list, each {_describe(item)}"
    return _SIMPLE[hint][1] if hint in _SIMPLE else str(hint)
