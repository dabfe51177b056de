"""Builds the selectors and tasks of a `Request` from its names, files and options."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltrp_bench.harness.evaluation.option_strings import parse_named_options
from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry, selector_entry, task_entry
from ltrp_bench.harness.evaluation.recipes import (
    NO_SELECTOR,
    SelectorRecipe,
    TaskRecipe,
    distinct,
    import_from_here,
    with_weights,
)
from ltrp_bench.harness.evaluation.task_arguments import task_recipes
from ltrp_bench.selectors.errors import InputError, UsageError, WeightsNotGiven
from ltrp_bench.selectors.registry import option_types as selector_option_types
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.registry import create_task, option_names
from ltrp_bench.tasks.splits.split import load_split


def resolve_request(request: Request, notice: Callable[[str], None]) -> list[tuple[SelectorEntry, TaskEntry]]:
    """Build everything that a run needs before any work begins, so that a typing error is reported within seconds.

    Args:
        request: names and options.
        notice: called with a line about each option that some of the tasks do not have, and about everything that was
            assumed of weights, models and data.

    Returns:
        As `build_pairs`.

    Raises:
        UsageError: unknown names or options. InputError: missing or unsuitable data or weights.
    """
    selectors, tasks = selector_recipes(request), task_recipes(request, notice)
    return build_pairs(selectors, [equipped(task, request.device, request.batch_size) for task in tasks], notice)


def build_pairs(
    selectors: Sequence[SelectorRecipe | SelectorEntry],
    tasks: Sequence[TaskRecipe | TaskEntry],
    notice: Callable[[str], None],
) -> list[tuple[SelectorEntry, TaskEntry]]:
    """Build selectors and tasks.

    Args:
        selectors: recipes without tags, or selectors that were built before.
        tasks: recipes with a device, or tasks that were built before. Paths are expanded here, in both.
        notice: called with a line about everything that was assumed of weights, models and data.

    Returns:
        Each task with each selector, task by task. A selector whose weights depend on the task's domain is built once
        per domain and fold.

    Raises:
        UsageError: unknown names or options. InputError: missing or unsuitable data or weights.
    """
    selectors = [one.expanded() if isinstance(one, SelectorRecipe) else one for one in selectors]
    tasks = [one.expanded() if isinstance(one, TaskRecipe) else one for one in tasks]
    for split in dict.fromkeys(task.arguments.get("split") for task in tasks if isinstance(task, TaskRecipe)):
        if split is not None:
            load_split(split)  # a typing error in it is reported before a task's model is loaded
    # Likewise, before data is read.
    check_selectors([one for one in selectors if isinstance(one, SelectorRecipe)], "photos")
    built: dict[tuple[int, tuple[str, ...]], SelectorEntry] = {}
    pairs = []
    for recipe in tasks:
        task = recipe if isinstance(recipe, TaskEntry) else build_task(recipe)
        tags = weights_tags(task.task)
        for number, selector in enumerate(selectors):
            if (number, tags) not in built:
                built[number, tags] = (
                    selector if isinstance(selector, SelectorEntry) else build_selector(replace(selector, tags=tags))
                )
            pairs.append((built[number, tags], task))
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


def selector_recipes(request: Request) -> list[SelectorRecipe]:
    """Recipes of the selectors of a request, with its weights and options; equal ones once.

    Unless weights are given, a selector uses the bundled ones of the first tag that has any.

    Raises:
        UsageError: there is no selector, or weights or options belong to none.
    """
    given = [SelectorRecipe(name=one) if isinstance(one, str) else one for one in request.selectors]
    if not given:
        raise UsageError(NO_SELECTOR)
    here = import_from_here(given)  # options are checked against the signature of the user's own class
    recipes = distinct(with_weights(given, request.weights))
    options = parse_named_options(
        request.selector_options,
        recipes,
        flag="--selector-option",
        form="NAME.key=value",
        option_types=selector_option_types,
    )
    return distinct(
        replace(one, options={**one.options, **own}, folder=here if ":" in one.name else None)
        for one, own in zip(recipes, options, strict=True)
    )


def check_selectors(recipes: Iterable[SelectorRecipe], *tags: str) -> None:
    """Raise UsageError for an unknown name or tag; weights that are missing may exist for another domain."""
    for recipe in recipes:
        with contextlib.suppress(InputError, WeightsNotGiven):
            replace(recipe, tags=tags).spec()


def equipped(recipe: TaskRecipe, device: str, batch_size: int) -> TaskRecipe:
    """The recipe with the resources of its model, if it has one; neither changes results by more than rounding."""
    known = option_names(recipe.name)
    resources = {name: value for name, value in (("device", device), ("batch_size", batch_size)) if name in known}
    return replace(recipe, arguments={**resources, **recipe.arguments})


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
