"""Checks of options before anything is built: a wrong name or value is the user's error, in one line."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ltrp_bench.selectors.errors import UsageError

_SIMPLE: Mapping[object, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    Path: ((str, Path), "a path"),
    types.NoneType: ((types.NoneType,), "null"),
}
"""Type of a parameter -> types of the values that it takes, and how to call them."""


def check_options(owner: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Check the names and types of options against the signature of what takes them.

    Annotations understood are bool, int, float, str, Path, None, Literal, sequences and unions of these; values of
    parameters with any other annotation are not checked.

    Args:
        owner: start of the error message, e.g. "selector 'ltrp'".
        factory: class or function that takes the options as keyword arguments.
        options: the options; none that is required may be missing.

    Raises:
        UsageError: an unknown or missing option, or a value of the wrong type.
    """
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        known = ", ".join(option_names(factory)) or "none"
        raise UsageError(f"{owner}: {error}; its options: {known}") from None
    try:
        hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError):
        return  # annotations that only a type checker can resolve
    for option, value in options.items():
        check_value(owner, option, value, hints.get(option, Any))


def option_names(factory: Callable[..., Any]) -> list[str]:
    """Names of the keyword arguments of a selector's class or factory, without "weights"."""
    return [name for name in inspect.signature(factory).parameters if name != "weights"]


def check_value(owner: str, option: str, value: object, hint: Any) -> None:
    """Raise `UsageError` unless `value` fits a type as in `check_options`, e.g. a `Literal`."""
    if not _fits(value, hint):
        raise UsageError(f"{owner}: {option} is {_describe(hint)}, got {value!r}")


def check_whole(owner: str, option: str, value: object, least: int, most: int | None = None) -> None:
    """Raise `UsageError` unless `value` is an int (no bool) from `least` to `most`, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        end = "on" if most is None else f"to {most}"
        raise UsageError(f"{owner}: {option} is a whole number from {least} {end}, got {value!r}")


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (tuple, list, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(one, arguments[0]) for one in value)
    if hint not in _SIMPLE:
        return True
    return isinstance(value, _SIMPLE[hint][0]) and (hint is bool or not isinstance(value, bool))


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (tuple, list, Sequence):
        return f"a list, each {_describe(arguments[0])}"
    return _SIMPLE[hint][1] if hint in _SIMPLE else str(hint)
