"""Messages in the words of Python: what the command line calls `--no-full` is the argument `full=False` here.

Tasks, selectors and results serve both interfaces, and their messages name command-line flags.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Final, ParamSpec, TypeVar

from ltrp_bench.selectors.errors import BenchError

_ARGUMENTS: Final[Mapping[str, str]] = {
    "selector": "selectors",
    "task": "tasks",
    "keep_ratio": "keep_ratios",
    "seed": "seeds",
    "metric": "metrics",
    "control": "controls",
    "group": "groups",
    "max_pixels": "ltrp_bench.tasks.data.decoding.limit_pixels",
}
"""Flag -> argument, where they differ; an underscore stands for a hyphen."""

_SWITCHES: Final = ("strict", "skip_bad_images", "count_exposed", "sizes", "folds")
"""Flags without a value."""

_ALWAYS_VALUED: Final = ("device", "unseen_by", "test")
"""Flags after which any word is the value; after others, only placeholders such as FILE and names with digits are."""

_COMMAND: Final = re.compile(r"(`ltrp-bench [^`]*`)")
_OPTION: Final = re.compile(r"--(?:task|selector)-option (?:[\w.-]+\.)?(\w+)(?:=([^\s,;:)]+))?")
_METHOD: Final = re.compile(r"\b(leaderboard|plot|report) (--[\w-]+(?: [\w.-]*\w)?)")
_FLAG: Final = re.compile(r"(?<![\w-])--(no-)?([a-z][a-z-]*[a-z])(?: ([^\s,;()`]*[^\s,;:()`.]))?")
_PLACEHOLDER: Final = re.compile(r"[A-Z]+(\.\w+)?|\w*[\d_]\w*|\w+=\S+")

P = ParamSpec("P")
R = TypeVar("R")


def in_python(text: str) -> str:
    """A message with arguments of Python instead of flags; commands in backticks stay."""
    return "".join(part if _COMMAND.fullmatch(part) else _arguments(part) for part in _COMMAND.split(text))


def python_messages(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of functions of the Python API, whose errors it words by `in_python`."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BenchError as error:
            error.args = (in_python(str(error)), *error.args[1:])
            raise

    return call


def _arguments(text: str) -> str:
    text = _OPTION.sub(_option, text)
    text = _METHOD.sub(lambda found: f"{found[1]}({_FLAG.sub(_argument, found[2])})", text)
    return _FLAG.sub(_argument, text)


def _option(found: re.Match[str]) -> str:
    """`--task-option subset=NAME` -> `create_task(..., subset="NAME")`."""
    owner = "create_task" if found[0].startswith("--task") else "create_selector"
    return f"{owner}(..., {found[1]}={'...' if found[2] is None else _value(found[2])})"


def _argument(found: re.Match[str]) -> str:
    negated, flag, value = found[1], found[2].replace("-", "_"), found[3]
    name = _ARGUMENTS.get(flag, flag)
    if negated:
        return f"{name}=False" + ("" if value is None else f" {value}")
    if flag in _SWITCHES:
        return f"{name}=True" + ("" if value is None else f" {value}")
    if value is None:
        return name
    if flag in _ALWAYS_VALUED or _PLACEHOLDER.fullmatch(value):
        # "NAME=FILE" and "dino=model.pth" name the selector as well.
        return f"{name}={_value(value.rpartition('=')[2])}"
    return f"{name} {value}"


def _value(text: str) -> str:
    if text in ("true", "false"):
        return text.capitalize()
    return text if re.fullmatch(r"[\d.]+", text) else f'"{text}"'
