"""Selectors and tasks as objects: made by name, or of the user's own classes, and what they are in a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from ltrp_bench.harness.api.code_identity import object_identity, source_digest, state_digest
from ltrp_bench.harness.api.wording import python_messages
from ltrp_bench.harness.evaluation.environment import usable_device
from ltrp_bench.harness.evaluation.option_strings import expanded
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry, selector_entry
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe, import_from_here
from ltrp_bench.harness.evaluation.request import build_selector, build_task, equipped
from ltrp_bench.results.schema.record import Identity, TaskInfo
from ltrp_bench.selectors.base import Selector, as_selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import Task

SelectorLike = str | Selector | type | Any
"""Name of a selector, an object with the attributes of `Selector`, or a class whose constructor needs no argument."""

TaskLike = str | Task | type
"""Name of a task, a `Task`, or a class of tasks whose constructor needs no argument."""


@dataclass(frozen=True)
class _Made:
    """How an object was made here.

    Attributes:
        recipe: its name and options.
        state: what it was like then: a later change makes it an object of the user's own.
    """

    recipe: SelectorRecipe | TaskRecipe
    state: str


_made: Final[WeakKeyDictionary[Any, _Made]] = WeakKeyDictionary()


@python_messages
def create_selector(name: str, weights: str | Path | None = None, **options: Any) -> Selector:
    """Build a selector by name.

    Args:
        name: as on the command line: "random", "ltrp.photos" or "package.module:Class"; `ltrp-bench list selectors`.
        weights: file of weights, "timm:MODEL" or "hf-hub:OWNER/NAME"; None takes bundled ones.
        options: of the selector's constructor, and `domain`, "photos" or "shapes", which chooses bundled weights.

    Returns:
        The selector. `evaluate` gives it the fingerprint that its name and options have on the command line.

    Raises:
        UsageError: an unknown name or option. InputError: weights that are missing or do not fit.
    """
    domain = options.pop("domain", None) or ()
    tags = (domain,) if isinstance(domain, str) else tuple(domain)
    recipe = SelectorRecipe(name=name, weights=None if weights is None else str(weights), options=options)
    folder = import_from_here([recipe])
    recipe = replace(recipe.expanded(), tags=tags, folder=folder if ":" in name else None)
    selector = build_selector(recipe).selector
    if tags:  # the domain that was asked for, whatever the tasks of a run are
        spec = recipe.spec()
        recipe = replace(recipe, name=spec.name, options=dict(spec.options), tags=())
    _made[selector] = _Made(recipe, state_digest(selector))
    return selector


@python_messages
def create_task(name: str, data: str | Path | None = None, **options: Any) -> Task:
    """Build a task by name.

    Args:
        name: as on the command line, e.g. "coco-det"; `ltrp-bench list tasks`.
        data: folder of the data set; None for tasks on `shapes`.
        options: of the task: `limit`, `model`, `model_weights`, `split`, ...; see the page of the task.

    Returns:
        The task. `evaluate` gives it the fingerprint that its name and options have on the command line.

    Raises:
        UsageError: an unknown name or option. InputError: data or weights that are missing or damaged.
    """
    arguments = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    if data is not None:
        arguments["data"] = str(data)
    recipe = TaskRecipe(name=name, arguments=arguments)
    recipe.check_name()
    device = usable_device("auto") if "device" not in arguments else arguments["device"]
    recipe = equipped(recipe, device, SweepOptions(device=device).effective_batch_size).expanded()
    task = build_task(recipe).task
    _made[task] = _Made(recipe, Identity.of(task.identity()).text)
    return task


def as_list(given: Any, kind: str) -> list[Any]:
    """One selector or task, or several, as a list. Raises UsageError if there is none."""
    several = list(given) if isinstance(given, (list, tuple, set, frozenset)) else [given]
    if not several:
        raise UsageError(f"give at least one {kind}, by name or as an object")
    return several


def selector_sources(given: Iterable[SelectorLike]) -> list[SelectorRecipe | SelectorEntry]:
    """Recipes of selectors by name and of those that `create_selector` made; entries of the user's own objects.

    Raises:
        UsageError: an unknown name, an object that is no selector or has no fingerprint, or one name for two objects.
    """
    found: list[SelectorRecipe | SelectorEntry] = []
    for one in given:
        if isinstance(one, str):
            recipe = SelectorRecipe(name=expanded(one))
            recipe.check_name()
            folder = import_from_here([recipe])
            found.append(replace(recipe, folder=folder if ":" in one else None))
            continue
        made = _unchanged(one)
        if made is not None:
            found.append(cast(SelectorRecipe, made.recipe))
            continue
        candidate, name = _own(one, "selector")
        selector = as_selector(candidate, name)
        identity = {"name": name, **object_identity(candidate, "selector", name)}
        found.append(selector_entry(selector, name, identity))
    return _distinct(found)


def selector_entries(given: Iterable[SelectorLike], tags: tuple[str, ...]) -> list[SelectorEntry]:
    """Selectors that are to score images only, so that objects need no fingerprint.

    Args:
        given: names, objects or classes.
        tags: of bundled weights, for names.
    """
    entries = []
    for one in given:
        if isinstance(one, str):
            recipe = cast(SelectorRecipe, selector_sources([one])[0])
            entries.append(build_selector(replace(recipe, tags=tags)))
        else:
            candidate, name = _own(one, "selector")
            entries.append(selector_entry(as_selector(candidate, name), name, {"name": name}))
    return entries


def task_sources(given: Iterable[TaskLike], device: str, batch_size: int) -> list[TaskRecipe | TaskEntry]:
    """Recipes of tasks by name, and entries of objects. Arguments, except for names, as in `equipped`.

    An object that `create_task` made for another device is built again.

    Raises:
        UsageError: an unknown name, an object that is no task, or one whose source code cannot be found.
    """
    found: list[TaskRecipe | TaskEntry] = []
    for one in given:
        if isinstance(one, str):
            recipe = TaskRecipe(name=expanded(one))
            recipe.check_name()
            found.append(recipe)
            continue
        task, name = _own(one, "task")
        if not isinstance(task, Task):
            raise UsageError(
                f"{name!r} is no task: its class must derive from ltrp_bench.Task; see docs/extending/task.md"
            )
        if len(task) == 0:
            raise UsageError(f"task {name!r} has no images")
        made = _made.get(task)
        identity = task.identity()
        if made is not None and made.state == Identity.of(identity).text:
            recipe = cast(TaskRecipe, made.recipe)
            own = {key: value for key, value in recipe.arguments.items() if key not in ("device", "batch_size")}
            wanted = equipped(replace(recipe, arguments=own), device, batch_size)
            identity = {**identity, "name": name}
            same = dict(wanted.arguments) == dict(recipe.arguments)
            found.append(TaskEntry(task, _task_info(task, identity), wanted) if same else wanted)
            continue
        source = source_digest(task, "task", name)
        identity = {**identity, "name": name, **({} if source is None else {"source": source})}
        found.append(TaskEntry(task, _task_info(task, identity)))
    return _distinct(found)


def _task_info(task: Task, identity: dict[str, Any]) -> TaskInfo:
    return TaskInfo(task.name, task.headline, Identity.of(identity))


def _unchanged(candidate: Any) -> _Made | None:
    """How `create_selector` made an object; None if it did not, or if the object was changed since."""
    try:
        made = _made.get(candidate)
    except TypeError:  # cannot be hashed or weakly referenced
        return None
    return made if made is not None and made.state == state_digest(candidate) else None


def _own(given: Any, kind: str) -> tuple[Any, str]:
    """An object and its name; an instance of a class."""
    if isinstance(given, type):
        try:
            given = given()
        except TypeError as error:
            raise UsageError(f"{kind} {given.__name__}: {error}; give an object of this class instead") from error
    name = getattr(given, "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{type(given).__name__} is no {kind}: it has no `name`; see docs/extending/{kind}.md")
    return given, name


Source = TypeVar("Source", SelectorRecipe | SelectorEntry, TaskRecipe | TaskEntry)


def _distinct(found: list[Source]) -> list[Source]:
    """The sources in order, equal ones once."""
    out: list[Source] = []
    keys: list[Any] = []
    for one in found:
        key = one.info.identity if isinstance(one, (SelectorEntry, TaskEntry)) else one
        if key not in keys:
            keys.append(key)
            out.append(one)
    return out
