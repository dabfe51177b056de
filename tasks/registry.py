"""Tasks by name, from the entry points of installed packages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from ltrp_bench.selectors.errors import UsageError, unknown_name
from ltrp_bench.selectors.option_checks import check_options
from ltrp_bench.selectors.option_checks import option_types as types_of
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.data_sources import locate
from ltrp_bench.tasks.models.named_weights import with_named_weights
from ltrp_bench.tasks.task_spec import NO_SPLIT, TaskSpec

GROUP: Final = "ltrp_bench.tasks"
"""Group of entry points of tasks."""


def create_task(name: str, data: str | Path | None = None, **options: Any) -> Task:
    """Build a task.

    Args:
        name: e.g. "coco-det"; `task_names` lists them.
        data: folder of the data set; tasks on `shapes` take none.
        options: keyword arguments of the task, see `option_names`. `model_weights` may name an official checkpoint,
            see `models.named_weights`.

    Raises:
        UsageError: unknown name or option, or a value that the option cannot have. Options of third-party tasks are
            checked against the signature and its annotations.
        InputError: missing or corrupt data or weights.
    """
    factory = _load(name)
    options = with_named_weights(name, options)
    arguments = dict(options) if data is None else {"data": Path(data).expanduser(), **options}
    if not isinstance(factory, TaskSpec):
        # As text, the folder also fits tasks that annotate it as `str`.
        given = options if data is None else {"data": str(data), **options}
        check_options(f"task {name!r}", factory, given)
    task: Task = factory(**arguments)
    return task


def check_data(name: str, given: Mapping[str, Any]) -> None:
    """Check that the data of a built-in task is where its options say, by the names of its files; no model is imported.

    Options that `create_task` would refuse are left to it, and so are tasks of other packages.

    Args:
        name: the task.
        given: its options, and `data`.

    Raises:
        UsageError: no folder given. InputError: nothing found there.
    """
    factory = _load(name)
    if not isinstance(factory, TaskSpec):
        return
    try:
        data = factory.data_options(given)
    except UsageError:
        return
    locate(factory.dataset, data)


def is_built_in(name: str) -> bool:
    """True for an installed task of this package, whose options are known without importing torch."""
    found = _installed().get(name)
    return found is not None and found.module == "ltrp_bench.tasks.catalog"


def task_names() -> list[str]:
    """All installed names, sorted."""
    return sorted(_installed())


def option_names(name: str) -> list[str]:
    """Names of a task's options."""
    return list(option_defaults(name))


def option_defaults(name: str) -> dict[str, Any]:
    """Option -> default of a task; None for an option of a third-party task that has no default."""
    factory = _load(name)
    if isinstance(factory, TaskSpec):
        return dict(factory.option_defaults)
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: None if p.default is inspect.Parameter.empty else p.default for p in parameters}


def option_types(name: str) -> dict[str, Any]:
    """Option -> type of a task, as annotated or, in third-party tasks, as its default is."""
    factory = _load(name)
    return dict(factory.option_types) if isinstance(factory, TaskSpec) else types_of(factory)


def default_split(name: str) -> tuple[str | None, str]:
    """Name of the split that a task uses if none is given, and a note on it; neither its data nor its model is read.

    Returns:
        (split, note). For tasks on `shapes` it is the default fold; for tasks whose split follows from the layout of
        their data the usual one, with a note on the others; None, with the reason, where none is known.

    Raises:
        UsageError: no such task.
    """
    factory = _load(name)
    if isinstance(factory, TaskSpec):
        return factory.default_split()
    split = option_defaults(name).get("split")
    return (None, NO_SPLIT) if split is None else (str(split), "")


@lru_cache(maxsize=1)
def _installed() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP)}


def _load(name: str) -> Any:
    found = _installed().get(name)
    if found is None:
        raise unknown_name("task", name, _installed())
    return found.load()
