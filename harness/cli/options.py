"""Typer commands derived from option dataclasses, so that an option is declared once and shared between commands.

A command is a function of frozen, keyword-only dataclasses. Every field with a help text becomes an
option; fields without one keep their default and are not shown:

    @dataclass(frozen=True, kw_only=True)
    class LoaderOptions:
        batch_size: int = field(default=16, metadata={"help": "Images per batch.", "min": 1})
        amp: Literal["none", "bfloat16"] = field(default="none", metadata={"help": "Mixed precision."})
        data: tuple[str, ...] = field(default=(), metadata={"help": "Folder of a data set; repeat.", "metavar": "DIR"})

    @options_command(app, "run")
    def run(loader: LoaderOptions) -> None: ...

Metadata of a field:
    help: text of `--help`; makes the field an option.
    flag: name of the option, if it is not the field's ("--format" for a field `form`).
    metavar: placeholder in `--help`; choices are listed by default.
    min, max: inclusive range of a number.
    argument: True for a positional argument.
    optional: True if the default depends on other options; the command takes the group as `Overrides[Group]`.

Paths: in every text and every path, a leading `~` and environment variables are expanded before the command sees them,
also after the `=` of `NAME=FILE` and `key=value`: no shell expands them in `--out=~/runs`, a Makefile or a YAML file.

Types of a field: str, int, float, bool, Path, a `Literal` of strings (choices), any of these or None, a tuple of fixed
length, and `tuple[X, ...]` or `list[X]` (an option that may be repeated). A bool is a switch `--name`, or
`--name/--no-name` if it is on by default. Choices and ranges are checked by typer (exit code 2).
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer

from ltrp_bench.selectors.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., None])
Group = TypeVar("Group")

DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=typer.Option(False, "--debug", help="Show the traceback of an error."),
    annotation=bool,
)


@dataclass(frozen=True)
class Overrides(Generic[Group]):
    """The options of a dataclass that were given, before the defaults of the others are known.

    Attributes:
        group: the dataclass.
        given: values of its fields; optional ones are absent if they were not given.
    """

    group: type[Group]
    given: Mapping[str, Any]

    def build(self, **defaults: Any) -> Group:
        """The dataclass with these defaults in the place of its own."""
        return self.group(**{**defaults, **self.given})


def options_command(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Register a function of option dataclasses as the command `name` of `app`, with `--debug` added.

    Parameters of other types (`typer.Context`, plain typer parameters) are passed on as they are.

    Raises:
        TypeError: two dataclasses of the command have an option of the same name.
    """

    def register(function: Command) -> Command:
        app.command(name)(command_of(function))
        return function

    return register


def command_of(function: Callable[..., None]) -> Callable[..., None]:
    """The function that typer registers for a function of option dataclasses, with a parameter for each option."""
    hints = get_type_hints(function)
    groups = {name: hints[name] for name in inspect.signature(function).parameters if _is_group(hints[name])}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        own = _parameters(_group_of(groups[name])) if name in groups else [parameter.replace(annotation=hints[name])]
        for one in own:
            if one.name in parameters:
                raise TypeError(f"{function.__name__}: two options named {one.name}")
            parameters[one.name] = one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    parameters[DEBUG.name] = DEBUG

    @functools.wraps(function)
    def command(**given: Any) -> None:
        built = {name: build_options(group, given) for name, group in groups.items()}
        others = {name: given[name] for name in hints if name in given and name not in groups}
        function(**others, **built)

    command.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return command


def build_options(hint: Any, given: Mapping[str, Any]) -> Any:
    """An instance of an option dataclass, or its `Overrides`, from what typer parsed.

    Choices become strings, and repeated options tuples.
    """
    group = _group_of(hint)
    hints = get_type_hints(group)
    values = {
        one.name: _value(given[one.name], hints[one.name])
        for one in _exposed(group)
        if not (one.metadata.get("optional") and given[one.name] is None)
    }
    return group(**values) if hint is group else Overrides(group, values)


def _is_group(hint: Any) -> bool:
    return is_dataclass(hint) or get_origin(hint) is Overrides


def _group_of(hint: Any) -> type:
    """The dataclass of a parameter's annotation, `Group` or `Overrides[Group]`."""
    group: type = get_args(hint)[0] if get_origin(hint) is Overrides else hint
    return group


def _exposed(group: type) -> list[Field[Any]]:
    return [one for one in fields(group) if "help" in one.metadata]


def _parameters(group: type) -> list[inspect.Parameter]:
    """A typer parameter for each option of a dataclass."""
    hints = get_type_hints(group)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_declaration(one, hints[one.name]),
            annotation=_typer_type(hints[one.name] | None if one.metadata.get("optional") else hints[one.name]),
        )
        for one in _exposed(group)
    ]


def _declaration(one: Field[Any], hint: Any) -> Any:
    """The `typer.Option` or `typer.Argument` of a field."""
    known = one.metadata
    choices = _choices(hint)
    shown = {key: known[key] for key in ("help", "min", "max") if key in known}
    shown["metavar"] = known.get("metavar", " | ".join(choices) or None)
    default: Any = ... if one.default_factory is MISSING else one.default_factory()
    if one.default is not MISSING:
        default = one.default
    if known.get("optional"):
        default = None
    if isinstance(default, tuple) and _is_repeated(hint):
        default = list(default)
    if known.get("argument"):
        if _is_repeated(hint) and not default:
            default = None  # click 8.1 allows no other default of repeated arguments
        return typer.Argument(default, **shown)
    flags = [known["flag"]] if "flag" in known else []
    if hint is bool and default is False and not flags:
        flags = ["--" + one.name.replace("_", "-")]  # typer would add --no-name
    return typer.Option(default, *flags, **shown)


def _typer_type(hint: Any) -> Any:
    """The annotation that typer is given for a field's: an enum for choices, a list for what may be repeated."""
    if choices := _choices(hint):
        # typer reads an enum's values in every version, and within lists, which it does not for `Literal`.
        known = Enum("Choice", {choice: choice for choice in choices})  # type: ignore[misc]
        return list[known] if _is_repeated(hint) else known | None if _is_optional(hint) else known  # type: ignore[valid-type]
    if _is_repeated(hint):
        return list[get_args(hint)[0]]  # type: ignore[misc]
    return hint


def _value(given: Any, hint: Any) -> Any:
    if isinstance(given, Enum):
        return given.value
    if _is_repeated(hint):
        plain = [_value(one, None) for one in given or ()]
        return plain if get_origin(hint) is list else tuple(plain)
    if isinstance(given, (list, tuple)):
        return type(given)(_value(one, None) for one in given)
    if isinstance(given, Path):
        return Path(expanded(str(given)))
    return expanded(given) if isinstance(given, str) else given


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


def _choices(hint: Any) -> Sequence[str]:
    """The strings of a `Literal`, also within `| None`, a list or a tuple of any length; empty for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if _is_repeated(hint) or _is_optional(hint):
        return next((found for found in map(_choices, get_args(hint)) if found), ())
    return ()


def _is_repeated(hint: Any) -> bool:
    return get_origin(hint) is list or (get_origin(hint) is tuple and get_args(hint)[1:] == (...,))


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
