"""Tasks by name, from the entry points of installed packages."""

from __future__ import annotations

import inspect
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from ltrp_bench.selectors.errors import UsageError, option_error, unknown_name
from ltrp_bench.tasks.base import Task

GROUP = "ltrp_bench.tasks"
SPEED = ("device", "batch_size")
"""Options that `run` hands to every task that has them; no value of theirs is a slip of the command."""


def create_task(name: str, data: str | Path | None = None, **options: Any) -> Task:
    """Build a task.

    Args:
        name: e.g. "coco-det"; `task_names` lists them.
        data: folder of the data set; tasks on `shapes` take none.
        options: keyword arguments of the task, see `option_names`.

    Raises:
        UsageError: unknown name or option, or a value it cannot take. InputError: missing or corrupt data or weights.
    """
    factory = _load(name)
    arguments = dict(options) if data is None else {"data": Path(data).expanduser(), **options}
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise UsageError(f"task {name!r}: {error}; its options: {', '.join(option_names(name))}") from error
    try:
        return cast(Task, factory(**arguments))
    except (TypeError, ValueError) as error:
        given = {key: value for key, value in options.items() if value is not None and key not in SPEED}
        if not given:
            raise
        raise UsageError(option_error("task", name, given, error)) from error


def task_names() -> list[str]:
    """All installed names, sorted."""
    return sorted(_installed())


def option_names(name: str) -> list[str]:
    """Names of a task's options."""
    return list(inspect.signature(_load(name)).parameters)


def option_default(name: str, option: str) -> Any:
    """What a task takes for an option that is not given; None where it has no such option or no default."""
    found = inspect.signature(_load(name)).parameters.get(option)
    return None if found is None or found.default is inspect.Parameter.empty else found.default


@lru_cache(maxsize=1)
def _installed() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP)}


def _load(name: str) -> Any:
    found = _installed().get(name)
    if found is None:
        raise unknown_name("task", name, _installed())
    return found.load()
