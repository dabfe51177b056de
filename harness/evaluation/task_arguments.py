"""Arguments of the tasks of a request, and where their data is, before anything heavy is imported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ltrp_bench.harness.evaluation.option_strings import check_prefix, parse_named_options
from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.evaluation.recipes import NO_TASK, TaskRecipe, distinct, names_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import parse_option
from ltrp_bench.tasks.registry import check_data, is_built_in, option_names, option_types


def check_task_data(request: Request) -> None:
    """Check options and data of the built-in tasks of a request by the names of files, before torch is imported.

    Tasks of other packages are left for later, since importing them may import torch.

    Raises:
        UsageError, InputError: as of `task_recipes` and of the tasks.
    """
    recipes = [TaskRecipe(name=one) if isinstance(one, str) else one for one in request.tasks]
    if not recipes or not all(is_built_in(recipe.name) for recipe in recipes):
        return
    for recipe in task_recipes(request, lambda line: None):
        expanded = recipe.expanded()
        check_data(expanded.name, expanded.arguments)


def task_recipes(request: Request, notice: Callable[[str], None]) -> list[TaskRecipe]:
    """Recipes of the tasks of a request, with its options; equal ones once.

    Args:
        request: names and options.
        notice: called with a line about each option that some of the tasks do not have.

    Raises:
        UsageError: there is no task, or an option belongs to none or is written in another form.
    """
    given = [TaskRecipe(name=one) if isinstance(one, str) else one for one in request.tasks]
    if not given:
        raise UsageError(NO_TASK)
    return TaskArguments(distinct(given), notice).from_request(request)


class TaskArguments:
    """Arguments of `create_task` for each task of a run.

    Args:
        recipes: the tasks.
        notice: called with a line about each option that some of the tasks do not have.
    """

    def __init__(self, recipes: Sequence[TaskRecipe], notice: Callable[[str], None]) -> None:
        self._recipes, self._notice = recipes, notice
        self._names = names_of(recipes)
        self._known = [frozenset(option_names(recipe.name)) for recipe in recipes]
        self._arguments: list[dict[str, Any]] = [{} for _ in recipes]

    def from_request(self, request: Request) -> list[TaskRecipe]:
        """The recipes with the options of a request.

        Raises:
            UsageError: an option that no task has, or that is written in another form.
        """
        for option, value in request.defaults.items():
            if value is not None:
                self._share(option, [value] * len(self._recipes), option)
        for arguments, recipe in zip(self._arguments, self._recipes, strict=True):
            arguments.update(recipe.arguments)
        for option, value in request.shared.items():
            if value is not None:
                self._share(option, [value] * len(self._recipes), f"--{option.replace('_', '-')}")
        for text in request.data:
            name, equals, folder = text.partition("=")
            own = [name in (recipe.name, recipe.label) for recipe in self._recipes]
            if equals and any(own):
                for arguments in itertools.compress(self._arguments, own):
                    arguments["data"] = folder
            else:
                check_prefix("--data", text, [name for one in self._recipes for name in (one.name, one.label) if name])
                self._share("data", [text] * len(self._recipes), "--data")
        for text in request.task_options:
            self._add_option(text)
        return distinct(
            replace(recipe, arguments=arguments)
            for recipe, arguments in zip(self._recipes, self._arguments, strict=True)
        )

    def _add_option(self, text: str) -> None:
        """Add "TASK.key=value", or "key=value" to every task with such an option."""
        key, equals, value = text.partition("=")
        if "." in key:
            named = parse_named_options(
                [text], self._recipes, flag="--task-option", form="TASK.key=value", option_types=option_types
            )
            for arguments, own in zip(self._arguments, named, strict=True):
                arguments.update(own)
        elif not equals or not key:
            raise UsageError(f"--task-option {text}: write TASK.key=value or key=value")
        else:
            values = [parse_option(value, option_types(one.name).get(key, Any)) for one in self._recipes]
            self._share(key, values, f"--task-option {key}")

    def _share(self, option: str, values: Sequence[Any], flag: str) -> None:
        """Set an option of every task that has it to the task's own value."""
        having = [option in known for known in self._known]
        if not any(having):
            raise UsageError(f"{flag}: none of the tasks in this run has such an option ({', '.join(self._names)})")
        if lacking := [recipe.name for recipe, has in zip(self._recipes, having, strict=True) if not has]:
            self._notice(f"{flag} does not apply to {', '.join(dict.fromkeys(lacking))}")
        for arguments, value in itertools.compress(zip(self._arguments, values, strict=True), having):
            arguments[option] = value
