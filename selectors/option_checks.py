"""Checks of options before anything is built: a wrong name or value is the user's error, in one line.

Selectors and tasks share them. Types understood are bool, int, float, str, Path, None, Literal, sequences and unions of
these; values of any other type are not checked. NumPy's numbers count as Python's.
"""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import Unpack

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

_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


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
    signature = signature_of(factory)
    listed = [name for name in signature.parameters if name not in unlisted]
    try:
        signature.bind(**options)
    except TypeError as error:
        for option in options:
            check_name(owner, option, signature.parameters, listed)
        raise UsageError(f"{owner}: {error}; its options: {', '.join(listed) or 'none'}") from None
    hints = _types(factory)
    for option, value in options.items():
        if option not in unlisted:
            check_value(owner, option, value, hints.get(option, Any))


def signature_of(factory: Callable[..., Any]) -> inspect.Signature:
    """Signature of a callable, with the options that it passes on.

    The options of `**name: Unpack[Options]` are keyword parameters that default to None. `**options` in the constructor
    of a class stands for the parameters of the next constructor among its base classes, with their defaults, except
    those that it has itself.
    """
    signature = inspect.signature(factory)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    _, shared = _hints(factory)
    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in shared]
    if not shared and (base := _passed_on_to(factory)) is not None:
        passed = [one for one in signature_of(base).parameters.values() if one.name not in signature.parameters]
        more = [one.replace(kind=one.KEYWORD_ONLY) for one in passed if one.kind is not one.VAR_KEYWORD]
        more += [one for one in passed if one.kind is one.VAR_KEYWORD]
    return signature.replace(parameters=[*own, *more]) if more else signature


def _passed_on_to(factory: Callable[..., Any]) -> type | None:
    """Base class whose constructor gets the `**options` of a class; None if there is none.

    A constructor of which the parameter has another name may do with it what it likes.
    """
    if not inspect.isclass(factory):
        return None
    parameters = inspect.signature(factory).parameters
    if "options" not in parameters or parameters["options"].kind is not inspect.Parameter.VAR_KEYWORD:
        return None
    owners = [one for one in factory.__mro__ if "__init__" in vars(one) and one is not object]
    return owners[1] if len(owners) > 1 else None


def _hints(factory: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Types of a callable's own parameters, and of those in an unpacked `TypedDict`.

    Empty for annotations that only a type checker can resolve.
    """
    try:
        own = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError):
        return {}, {}
    unpacked = [name for name, hint in own.items() if get_origin(hint) is Unpack]
    shared = get_type_hints(get_args(own.pop(unpacked[0]))[0]) if unpacked else {}
    return own, shared


def _types(factory: Callable[..., Any]) -> dict[str, Any]:
    """Parameter of `signature_of` -> its annotation; empty if they cannot be resolved."""
    own, shared = _hints(factory)
    base = None if shared else _passed_on_to(factory)
    return {**(_types(base) if base is not None else {}), **own, **shared}


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


def option_types(factory: Callable[..., Any]) -> dict[str, Any]:
    """Option -> type of a callable's keyword arguments; without an annotation, the type of the default."""
    hints = _types(factory)
    found: dict[str, Any] = {}
    for name, parameter in signature_of(factory).parameters.items():
        default = parameter.default
        known = default is not inspect.Parameter.empty and type(default) in _SIMPLE and default is not None
        found[name] = hints.get(name, type(default) if known else Any)
    return found


def parse_option(text: str, hint: Any = Any) -> Any:
    """Value of an option from its text on the command line, by the option's own type.

    Args:
        text: as the user typed it.
        hint: type of the option. Text and paths are taken as they stand, so that "2017", "1e3" and "null" remain text;
            text in double quotes is unquoted. Everything else is JSON, where a flag may also be written as a word.

    Returns:
        The value; the text itself if it is of no form that the type takes, which `check_value` then refuses.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    kinds = _alternatives(hint)
    for kind in kinds:
        if get_origin(kind) is Literal:
            for choice in get_args(kind):
                if str(choice) == text:
                    return choice
    others = [kind for kind in kinds if kind not in (str, Path, types.NoneType)]
    if isinstance(value, str):
        return _spelled(text, others) if value == text else value
    if any(_fits(value, kind) for kind in others):
        return value
    if str in kinds or Path in kinds:
        return text
    word = _spelled(text, others)
    return value if word is text else word


def _spelled(text: str, kinds: Collection[Any]) -> object:
    """A number or flag that is not written as in JSON: ".5", "True", "no", "1" for a flag; else the same text."""
    word = text.strip().lower()
    if bool in kinds and word in _WORDS:
        return _WORDS[word]
    if float in kinds and "_" not in word:
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    return text


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(part for one in get_args(hint) for part in _alternatives(one))
    return (hint,)


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
