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
    commas: True for an option of names that may be repeated and also takes several in one value, "a,b". Numbers and
        choices that may be repeated always do; paths, "NAME=FILE" and "key=value" never do, for they may hold commas.

A command that takes `Given[Group]` gets what was given alone, and fills in the rest itself.

Paths: in every text and every path, a leading `~` and environment variables are expanded before the command sees them,
also after the `=` of `NAME=FILE` and `key=value`: no shell expands them in `--out=~/runs`, a Makefile or a YAML file.

Types of a field: str, int, float, bool, Path, a `Literal` of strings (choices), any of these or None, a tuple of fixed
length, and `tuple[X, ...]` or `list[X]` (an option that may be repeated). A bool is a switch `--name`, or
`--name/--no-name` if it is on by default. Choices and ranges are checked by typer (exit code 2).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer

from ltrp_bench.harness.cli.terminal.completion import COMPLETIONS
from ltrp_bench.harness.evaluation.option_strings import expanded, split_list

Command = TypeVar("Command", bound=Callable[..., None])
Group = TypeVar("Group")

_NUMBERS: Final[Mapping[Any, str]] = {int: "integer", float: "number"}
_PLACEHOLDERS: Final[Mapping[Any, str]] = {int: "INTEGER", float: "FLOAT", str: "TEXT"}

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


@dataclass(frozen=True)
class Given(Generic[Group]):
    """The options of a dataclass that were given; a file may say the others.

    Attributes:
        group: the dataclass.
        values: values of its fields as they were written, that is without expanded paths; absent if not given.
    """

    group: type[Group]
    values: Mapping[str, Any]

    def build(self, **others: Any) -> Group:
        """The dataclass, with these values of options that were not given; paths are expanded."""
        found = {**others, **self.values}
        hints = get_type_hints(self.group)
        return self.group(**{name: _value(value, hints[name]) for name, value in found.items()})


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
        own = _parameters(groups[name]) if name in groups else [parameter.replace(annotation=hints[name])]
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
    """An instance of an option dataclass, its `Overrides` or its `Given`, from what typer parsed.

    Choices become strings, and repeated options tuples.
    """
    group = _group_of(hint)
    hints = get_type_hints(group)
    if get_origin(hint) is Given:
        written = {one.name: _value(_given(one, hints, given), hints[one.name], _as_written) for one in _exposed(group)}
        return Given(group, {name: value for name, value in written.items() if value not in (None, ())})
    values = {
        one.name: _value(_given(one, hints, given), hints[one.name])
        for one in _exposed(group)
        if not (one.metadata.get("optional") and given[one.name] is None)
    }
    return group(**values) if hint is group else Overrides(group, values)


def joined(parsed: Iterable[Sequence[Any]]) -> list[Any]:
    """Values of an option that takes lists, in order: typer parses each use of the option to a list of its own."""
    return [value for one in parsed or () for value in one]


def _given(one: Field[Any], hints: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    return joined(given[one.name]) if _takes_lists(one, hints[one.name]) else given[one.name]


def _is_group(hint: Any) -> bool:
    return is_dataclass(hint) or get_origin(hint) in (Overrides, Given)


def _group_of(hint: Any) -> type:
    """The dataclass of a parameter's annotation, `Group`, `Overrides[Group]` or `Given[Group]`."""
    group: type = get_args(hint)[0] if get_origin(hint) in (Overrides, Given) else hint
    return group


def _exposed(group: type) -> list[Field[Any]]:
    return [one for one in fields(group) if "help" in one.metadata]


def _parameters(annotation: Any) -> list[inspect.Parameter]:
    """A typer parameter for each option of a dataclass, or of the one of `Overrides` or `Given`."""
    group, given = _group_of(annotation), get_origin(annotation) is Given
    hints = get_type_hints(group)
    out = []
    for one in _exposed(group):
        hint, optional = hints[one.name], given or bool(one.metadata.get("optional"))
        out.append(
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_declaration(one, hint, optional=optional, given=given),
                annotation=list[str]
                if _takes_lists(one, hint)
                else _typer_type(hint | None if optional and not (given and _is_repeated(hint)) else hint),
            )
        )
    return out


def _declaration(one: Field[Any], hint: Any, *, optional: bool, given: bool) -> Any:
    """The `typer.Option` or `typer.Argument` of a field.

    Args:
        one: the field.
        hint: its type.
        optional: True if it has no value where it is not given.
        given: True for a field of `Given`, whose default is shown all the same.
    """
    known = one.metadata
    choices = _choices(hint)
    shown = {key: known[key] for key in ("help", "min", "max") if key in known}
    shown["metavar"] = known.get("metavar", " | ".join(choices) or None)
    if one.name in COMPLETIONS:
        shown["autocompletion"] = COMPLETIONS[one.name]
    default: Any = ... if one.default_factory is MISSING else one.default_factory()
    if one.default is not MISSING:
        default = one.default
    if optional:
        if given and default not in (..., None, (), False):
            several = isinstance(default, tuple)
            text = " ".join(map(str, default)) if several else one.name if default is True else str(default)
            shown["show_default"] = text
        default = () if given and _is_repeated(hint) else None
    if isinstance(default, tuple) and _is_repeated(hint):
        default = list(default)
    if known.get("argument"):
        if _is_repeated(hint) and not default:
            default = None  # click 8.1 allows no other default of repeated arguments
        return typer.Argument(default, **shown)
    if _takes_lists(one, hint):
        shown["parser"] = _list_parser(hint, known.get("min"))
        shown["metavar"] = shown["metavar"] or _PLACEHOLDERS[get_args(hint)[0]]
    flags = [known["flag"]] if "flag" in known else []
    if hint is bool and one.default is False and not flags:
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


def _takes_lists(one: Field[Any], hint: Any) -> bool:
    """True for an option that takes "a,b" for two values."""
    if not _is_repeated(hint) or one.metadata.get("argument"):
        return False
    return bool(one.metadata.get("commas") or _choices(hint) or get_args(hint)[0] in (int, float))


def _list_parser(hint: Any, least: float | None) -> Callable[[Any], list[Any]]:
    """Parser of one value of an option that takes lists; values that are no text are defaults."""
    choices = _choices(hint)
    kind: Any = str if choices else get_args(hint)[0]

    def item(text: str) -> Any:
        if choices and text not in choices:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, choices))}.")
        try:
            value = kind(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is not a valid {_NUMBERS[kind]}{_share_of(text, kind) or '.'}"
            ) from None
        if least is not None and value < least:
            raise typer.BadParameter(f"{value} is not in the range x>={least}.")
        return value

    def parse(given: Any) -> list[Any]:
        if not isinstance(given, str):
            return [given]
        parts = split_list(given, spaced=kind is not str)
        if not all(parts):
            raise typer.BadParameter(f"{given!r} has an empty item; write items with one comma between them.")
        return [item(part) for part in parts]

    return parse


def _share_of(text: str, kind: Any) -> str:
    """End of the message on a percentage where a number was expected; "" for other texts."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?) ?%", text)
    return f"; did you mean {float(found[1]) / 100:g}?" if kind is float and found else ""


def _value(given: Any, hint: Any, text: Callable[[str], str] = expanded) -> Any:
    if isinstance(given, Enum):
        return given.value
    if _is_repeated(hint):
        plain = [_value(one, None, text) for one in given or ()]
        return plain if get_origin(hint) is list else tuple(plain)
    if isinstance(given, (list, tuple)):
        return type(given)(_value(one, None, text) for one in given)
    if isinstance(given, Path):
        return Path(text(str(given)))
    return text(given) if isinstance(given, str) else given


def _as_written(text: str) -> str:
    return text


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
