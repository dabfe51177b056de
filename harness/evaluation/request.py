"""Builds the selectors and tasks of a `Request` from its names, files and options."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltrp_bench.harness.evaluation.option_strings import parse_named_options, parse_weights
from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry, selector_entry, task_entry
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.option_checks import parse_option
from ltrp_bench.selectors.registry import option_types as selector_option_types
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.registry import create_task, option_names, option_types
from ltrp_bench.tasks.splits.split import load_split


def resolve_request(request: Request, notice: Callable[[str], None]) -> list[tuple[SelectorEntry, TaskEntry]]:
    """Build everything that a run needs before any work begins, so that a typing error is reported within seconds.

    Args:
        request: names and options.
        notice: called with a line about each option that some of the tasks do not have, and about everything that was
            assumed of weights, models and data.

    Returns:
        Each task with each selector, task by task. A selector whose weights depend on the task's domain is built once
        per domain and fold.

    Raises:
        UsageError: unknown names or options. InputError: missing or unsuitable data or weights.
    """
    selectors, tasks = tuple(dict.fromkeys(request.selectors)), tuple(dict.fromkeys(request.tasks))
    if not selectors:
        raise UsageError("give at least one --selector; `ltrp-bench list selectors` shows them")
    if not tasks:
        raise UsageError("give at least one --task; `ltrp-bench list tasks` shows them")
    requested = RequestedSelectors.from_request(request)
    arguments = TaskArguments(tasks, notice).from_request(request)
    if (split := request.shared.get("split")) is not None:
        load_split(split)  # a typing error in it is reported before a task's model is loaded
    requested.check_names("photos")  # likewise, before data is read
    built: dict[tuple[str, tuple[str, ...]], SelectorEntry] = {}
    pairs = []
    for task_name in tasks:
        task = build_task(TaskRecipe(name=task_name, arguments=arguments[task_name]))
        for name in selectors:
            tags = weights_tags(task.task)
            if (name, tags) not in built:
                built[name, tags] = build_selector(requested.recipe(name, tags))
            pairs.append((built[name, tags], task))
    announce_assumptions((one for pair in pairs for one in pair), notice)
    return pairs


def announce_assumptions(entries: Iterable[SelectorEntry | TaskEntry], notice: Callable[[str], None]) -> None:
    """Say in one line each what selectors and tasks assumed, since neither files nor options say it."""
    lines: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry, SelectorEntry):
            lines.update((f"{entry.name}: {line}", None) for line in entry.selector.assumptions)
        else:
            lines.update((f"{entry.info.name}: {line}", None) for line in entry.task.assumptions)
    for line in lines:
        notice(line)


@dataclass(frozen=True)
class RequestedSelectors:
    """The selectors of a request.

    Attributes:
        names: names of the selectors, each once.
        weights: selector -> file.
        options: selector -> options of its constructor.
    """

    names: tuple[str, ...]
    weights: dict[str, str]
    options: dict[str, dict[str, Any]]

    @classmethod
    def from_request(cls, request: Request) -> RequestedSelectors:
        """Parse the weights and options of a request. Raises UsageError if one belongs to no selector of it."""
        names = tuple(dict.fromkeys(request.selectors))
        if any(":" in name for name in names) and (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)  # options are checked against the signature of the user's own class
        options = parse_named_options(
            request.selector_options,
            names,
            flag="--selector-option",
            form="NAME.key=value",
            option_types=selector_option_types,
        )
        return cls(names, parse_weights(request.weights, names), options)

    def check_names(self, *tags: str) -> None:
        """Raise UsageError for an unknown name or tag; weights that are missing may exist for another domain."""
        for name in self.names:
            with contextlib.suppress(InputError):
                self.recipe(name, tags).spec()

    def recipe(self, name: str, tags: Sequence[str]) -> SelectorRecipe:
        """Recipe of a selector. Unless weights were given, it uses the bundled ones of the first tag that has any."""
        return SelectorRecipe(
            name=name,
            weights=self.weights.get(name),
            tags=tuple(tags),
            options=self.options.get(name, {}),
            folder=str(Path.cwd()) if ":" in name else None,
        )


def weights_tags(task: Task) -> tuple[str, ...]:
    """Tags of weights that suit a task: its domain, then its domain and fold ("shapes", "shapes0")."""
    fold = "" if task.split is None else task.split.label_set.partition("/")[2]
    return (task.domain, f"{task.domain}{fold}") if fold else (task.domain,)


def build_selector(recipe: SelectorRecipe) -> SelectorEntry:
    """Build a selector. Raises UsageError for unsuitable options, InputError for weights that do not fit."""
    spec = recipe.spec()
    identity = spec.identity()
    if ":" in spec.name:
        # Users edit their own selectors between runs, so results of older code must not be reused.
        identity["source"] = _source_digest(spec.factory)
    selector = spec.create()
    if selector.readings:
        identity["readings"] = dict(selector.readings)
    return selector_entry(selector, spec.name, identity, recipe)


def build_task(recipe: TaskRecipe) -> TaskEntry:
    """Build a task. Raises UsageError for unknown options, InputError for missing or unsuitable files."""
    return task_entry(create_task(recipe.name, **recipe.arguments), recipe)


def _source_digest(factory: Any) -> str | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(factory))
    except TypeError:
        return None
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


class TaskArguments:
    """Arguments of `create_task` for each task of a run.

    Args:
        tasks: names of the tasks.
        notice: called with a line about each option that some of the tasks do not have.
    """

    def __init__(self, tasks: Sequence[str], notice: Callable[[str], None]) -> None:
        self._tasks, self._notice = tasks, notice
        self._known = {name: frozenset(option_names(name)) for name in tasks}
        self._arguments: dict[str, dict[str, Any]] = {name: {} for name in tasks}

    def from_request(self, request: Request) -> dict[str, dict[str, Any]]:
        """Task -> arguments. Raises UsageError for options that no task has, or that are written in another form."""
        for option, value in request.shared.items():
            if value is not None:
                self._share(option, dict.fromkeys(self._tasks, value), f"--{option.replace('_', '-')}")
        for text in request.data:
            name, equals, folder = text.partition("=")
            if equals and name in self._tasks:
                self._arguments[name]["data"] = folder
            else:
                self._share("data", dict.fromkeys(self._tasks, text), "--data")
        for text in request.task_options:
            self._add_option(text)
        for name in self._tasks:
            for option, value in (("device", request.device), ("batch_size", request.batch_size)):
                if option in self._known[name]:
                    self._arguments[name].setdefault(option, value)
        return self._arguments

    def _add_option(self, text: str) -> None:
        """Add "TASK.key=value", or "key=value" to every task with such an option."""
        key, equals, value = text.partition("=")
        if "." in key:
            named = parse_named_options(
                [text], self._tasks, flag="--task-option", form="TASK.key=value", option_types=option_types
            )
            for name, options in named.items():
                self._arguments[name].update(options)
        elif not equals or not key:
            raise UsageError(f"--task-option {text}: write TASK.key=value or key=value")
        else:
            values = {name: parse_option(value, option_types(name).get(key, Any)) for name in self._tasks}
            self._share(key, values, f"--task-option {key}")

    def _share(self, option: str, values: Mapping[str, Any], flag: str) -> None:
        """Set an option of every task that has it to the task's own value."""
        having = [name for name in self._tasks if option in self._known[name]]
        if not having:
            raise UsageError(f"{flag}: none of the tasks in this run has such an option ({', '.join(self._tasks)})")
        if lacking := [name for name in self._tasks if name not in having]:
            self._notice(f"{flag} does not apply to {', '.join(lacking)}")
        for name in having:
            self._arguments[name][option] = values[name]
