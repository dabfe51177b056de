"""What a person asked `run` for, as selectors and tasks that are ready: names, files and options resolved."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry, selector_entry, task_entry
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import SelectorSpec, resolve
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.registry import create_task, option_names
from ltrp_bench.tasks.splits.split import load_split

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """The selectors and tasks of a run.

    Attributes:
        selectors: names, as `selectors.registry` knows them.
        tasks: names, as `tasks.registry` knows them.
        weights: "FILE" (for the one selector there is) or "NAME=FILE".
        selector_options: "NAME.key=value".
        data: "DIR" (for every task that reads files) or "TASK=DIR".
        task_options: "TASK.key=value" or "key=value" (for every task that has such an option).
        shared: options of every task that has them, None where not asked for: limit, model, split, ...
        device, batch_size: handed to tasks that have such options.
    """

    selectors: Sequence[str]
    tasks: Sequence[str]
    weights: Sequence[str] = ()
    selector_options: Sequence[str] = ()
    data: Sequence[str] = ()
    task_options: Sequence[str] = ()
    shared: Options = field(default_factory=dict)
    device: str = "cpu"
    batch_size: int = 16


def ready(request: Request, notice: Callable[[str], None]) -> list[tuple[SelectorEntry, TaskEntry]]:
    """Build everything a run needs, before any work: a typing error costs seconds, not hours.

    Args:
        request: as asked.
        notice: told of options that some of the tasks do not have.

    Returns:
        Each task with each selector, task by task. A selector whose weights depend on the task's domain is
        built once a domain and fold.

    Raises:
        UsageError: unknown names or options. InputError: data or weights that are missing or do not fit.
    """
    selectors, tasks = tuple(dict.fromkeys(request.selectors)), tuple(dict.fromkeys(request.tasks))
    if not selectors:
        raise UsageError("give at least one --selector; `ltrp-bench list selectors` shows them")
    if not tasks:
        raise UsageError("give at least one --task; `ltrp-bench list tasks` shows them")
    chosen = Chosen.of(request)
    own = _task_arguments(request, tasks, notice)
    if (split := request.shared.get("split")) is not None:
        load_split(split)  # a slip in it must not wait for a task's model
    chosen.look_up("photos")  # before any data is read
    built: dict[tuple[str, tuple[str, ...]], SelectorEntry] = {}
    pairs = []
    for task_name in tasks:
        task = task_entry(create_task(task_name, **own[task_name]))
        for name in selectors:
            tags = weights_tags(task.task)
            if (name, tags) not in built:
                built[name, tags] = chosen.build(name, tags)
            pairs.append((built[name, tags], task))
    return pairs


@dataclass(frozen=True)
class Chosen:
    """The selectors of a request, with the weights and options that it gives them by name."""

    names: tuple[str, ...]
    weights: dict[str, str]
    options: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, request: Request) -> Chosen:
        """Raises UsageError for weights or options that are nobody's."""
        names = tuple(dict.fromkeys(request.selectors))
        if any(":" in name for name in names) and (here := str(Path.cwd())) not in sys.path:
            # A file beside the user; last, so that it shadows nothing.
            sys.path.append(here)
        options = _by_name(request.selector_options, names, "--selector-option", "NAME.key=value")
        return cls(names, _weights(request.weights, names), options)

    def look_up(self, tags: str | Sequence[str]) -> None:
        """Find all names, so that a slip in the last fails at once; missing weights may come with another domain."""
        for name in self.names:
            with contextlib.suppress(InputError):
                self._spec(name, tags)

    def build(self, name: str, tags: str | Sequence[str]) -> SelectorEntry:
        """One of them, by default with weights of the first tag that any ship for."""
        return _entry(self._spec(name, tags))

    def _spec(self, name: str, tags: str | Sequence[str]) -> SelectorSpec:
        return resolve(name, self.weights.get(name), tags, **self.options.get(name, {}))


def weights_tags(task: Task) -> tuple[str, ...]:
    """Tags under which weights for a task may ship: its domain, then its domain and fold ("shapes", "shapes0")."""
    fold = "" if task.split is None else task.split.label_set.partition("/")[2]
    return (task.domain, f"{task.domain}{fold}") if fold else (task.domain,)


def _entry(spec: SelectorSpec) -> SelectorEntry:
    """The selector built, with what a fingerprint holds of it."""
    identity = spec.identity()
    if ":" in spec.name:
        # Somebody's own file, still being written: an edit must not find the results of the older code.
        identity["source"] = _source_digest(spec.factory)
    return selector_entry(spec.create(), spec.name, identity)


def _source_digest(factory: Any) -> str | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(factory))
    except TypeError:
        return None
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _weights(given: Iterable[str], selectors: Sequence[str]) -> dict[str, str]:
    """Selector -> file, from "NAME=FILE"; "FILE" alone where there is one selector. Raises UsageError."""
    out: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if equals and name in selectors:
            out[name] = file
        elif len(selectors) == 1:
            out[selectors[0]] = text
        else:
            raise UsageError(f"--weights {text}: of which selector? write NAME=FILE ({', '.join(selectors)})")
    return out


def _by_name(
    given: Iterable[str], names: Sequence[str], flag: str, form: str, everyone: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """name -> its options, from "NAME.key=value"; "key=value" goes to `everyone`. Raises UsageError."""
    out: dict[str, dict[str, Any]] = {}
    for text in given:
        left, equals, value = text.partition("=")
        name, dot, key = left.rpartition(".")
        if not equals or not key or (not dot and not everyone):
            raise UsageError(f"{flag} {text}: write {form}")
        if dot and name not in names:
            raise UsageError(f"{flag} {text}: {name!r} is not in this run ({', '.join(names)})")
        for one in [name] if dot else everyone:
            out.setdefault(one, {})[key] = parse_value(value)
    return out


def parse_value(text: str) -> Any:
    """A JSON value if it is one (3, 0.5, true, null, [1, 2]), else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _task_arguments(request: Request, tasks: Sequence[str], notice: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """task -> arguments of `create_task`."""
    known = {name: frozenset(option_names(name)) for name in tasks}
    out: dict[str, dict[str, Any]] = {name: {} for name in tasks}

    def share(option: str, value: Any, flag: str) -> None:
        having = [name for name in tasks if option in known[name]]
        if not having:
            raise UsageError(f"{flag}: none of the tasks in this run has such an option ({', '.join(tasks)})")
        if lacking := [name for name in tasks if name not in having]:
            notice(f"{flag} does not apply to {', '.join(lacking)}")
        for name in having:
            out[name][option] = value

    for option, value in request.shared.items():
        if value is not None:
            share(option, value, f"--{option.replace('_', '-')}")
    for text in request.data:
        name, equals, folder = text.partition("=")
        if equals and name in tasks:
            out[name]["data"] = folder
        else:
            share("data", text, "--data")
    for text in request.task_options:
        left = text.partition("=")[0]
        if "." in left:
            for name, options in _by_name([text], tasks, "--task-option", "TASK.key=value").items():
                out[name].update(options)
        elif "=" not in text or not left:
            raise UsageError(f"--task-option {text}: write TASK.key=value or key=value")
        else:
            share(left, parse_value(text.partition("=")[2]), f"--task-option {left}")
    for name in tasks:
        for option, speed in (("device", request.device), ("batch_size", request.batch_size)):
            if option in known[name]:
                out[name].setdefault(option, speed)
    return out
