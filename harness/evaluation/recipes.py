"""Recipes of selectors and tasks: names, files and options from which any process builds them alike.

A request is a list of each. This module imports nothing heavy, so that names and files can be checked at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from ltrp_bench.harness.evaluation.option_strings import expanded, parse_weights
from ltrp_bench.results.leaderboard.variants import shown_model
from ltrp_bench.selectors.errors import InputError, UsageError, unknown_name
from ltrp_bench.selectors.zoo.cache import take
from ltrp_bench.selectors.zoo.network import check_repository, check_timm_model
from ltrp_bench.selectors.zoo.table import HUB, TIMM, find, ways

if TYPE_CHECKING:
    from ltrp_bench.selectors.registry import SelectorSpec

GROUPS: Final = {"selector": "ltrp_bench.selectors", "task": "ltrp_bench.tasks"}
"""Entry points, as in `selectors.registry` and `tasks.registry`, which import torch."""

NO_SELECTOR: Final = "give at least one --selector; `ltrp-bench list selectors` shows them"
NO_TASK: Final = "give at least one --task; `ltrp-bench list tasks` shows them"


@dataclass(frozen=True, kw_only=True)
class SelectorRecipe:
    """A selector by name.

    Attributes:
        name: as `selectors.registry.resolve` takes it, e.g. "ltrp.photos" or "package.module:Class".
        weights: file of weights, or "timm:MODEL"; None takes bundled ones.
        tags: of bundled weights; the first that has any is taken.
        options: of the selector's constructor.
        folder: where the module of "package.module:Class" may lie; None for installed selectors.
        label: its name in tables and figures, if the user gave one.
    """

    name: str
    weights: str | None = None
    tags: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    label: str | None = None

    @property
    def shown(self) -> str | None:
        """Its label, or else its name with the backbone that was chosen for it, "clip (vit_base_patch16_224)".

        An official checkpoint is shown by its name.
        """
        if self.label is not None:
            return self.label
        chosen = self.options.get("model")
        if self.weights is not None and (published := find(self.name.partition(".")[0], self.weights)) is not None:
            chosen = published.short
        for given in (chosen, self.weights):
            if str(given).startswith((TIMM, HUB)):
                chosen = str(given).partition(":")[2]
                break
        return None if chosen is None else f"{self.name} ({chosen})"

    @property
    def weights_file(self) -> str | None:
        """Name of the file of its weights, without its folder; None for bundled weights and those of a hub."""
        if self.weights is None or self.weights.startswith((TIMM, HUB)):
            return None
        return Path(self.weights).name

    def expanded(self) -> SelectorRecipe:
        """The recipe with `~` and environment variables in its texts expanded. Raises UsageError for an unset one."""
        weights = None if self.weights is None else expanded(self.weights)
        return replace(self, weights=weights, options=_expanded(self.options))

    def check_name(self) -> None:
        """Raise UsageError for a name that is not installed; tags and `package.module:Class` are checked later."""
        if ":" not in self.name:
            _check_name("selector", self.name.partition(".")[0])

    def check_files(self) -> None:
        """Raise InputError if there are no such weights; an official checkpoint is fetched if need be."""
        if self.weights is not None:
            _check_weights(self.name.partition(".")[0], self.weights, f"weights of selector {self.name!r}: no file")

    def spec(self) -> SelectorSpec:
        """The selector before it is built. Raises UsageError or InputError as `resolve` does."""
        # Imported here, because it imports torch.
        from ltrp_bench.selectors.registry import resolve

        if self.folder is not None:
            _import_from(self.folder)
        return resolve(self.name, self.weights, self.tags, **self.options)


@dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """A task by name.

    Attributes:
        name: as `tasks.registry.create_task` takes it, e.g. "coco-det".
        arguments: of `create_task`: data and options.
        label: its name in tables and figures, if the user gave one.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None

    @property
    def model(self) -> str | None:
        """Name of its model, or of the file of the model's weights; None if the user gave neither."""
        model, weights = (self.arguments.get(name) for name in ("model", "model_weights"))
        if model is not None:
            return shown_model(str(model))
        return None if weights is None else Path(str(weights)).name

    def expanded(self) -> TaskRecipe:
        """The recipe with `~` and environment variables in its texts expanded. Raises UsageError for an unset one."""
        return replace(self, arguments=_expanded(self.arguments))

    def check_name(self) -> None:
        """Raise UsageError for a name that is not installed."""
        _check_name("task", self.name)

    def check_files(self) -> None:
        """Raise InputError if there is no such checkpoint of the model; an official one is fetched, if need be."""
        weights = self.arguments.get("model_weights")
        if weights is not None:
            _check_weights(self.name, str(weights), f"model_weights of task {self.name!r}: no such file")

    def on(self, device: str) -> TaskRecipe:
        """The recipe with the task's model on another device."""
        if "device" not in self.arguments:
            return self
        return replace(self, arguments={**self.arguments, "device": device})


def import_from_here(recipes: Iterable[SelectorRecipe]) -> str:
    """The current folder, from which Python now imports `package.module:Class`."""
    here = str(Path.cwd())
    if any(":" in one.name for one in recipes):
        _import_from(here)
    return here


def _import_from(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that it shadows nothing


def check_model_weights(tasks: Iterable[str], weights: str) -> None:
    """Raise InputError unless `--model-weights` is a file, a name on a hub, or a checkpoint of each of these tasks."""
    for task in tasks:
        _check_weights(task, weights, f"--model-weights {weights}: no such file", named=False)


def _check_weights(owner: str, weights: str, missing: str, *, named: bool = True) -> None:
    """Raise InputError where weights are no file, no name on a hub and no official checkpoint; fetch the last.

    Args:
        owner: name of the selector or task.
        weights: as given.
        missing: beginning of the message.
        named: True if the message is to name the weights.
    """
    if weights.startswith(HUB) and "/" in weights:
        lab, name = weights.removeprefix(HUB).split("/")[:2]
        check_repository(f"{lab}/{name}", f"{name}.safetensors")
    if weights.startswith(TIMM):
        check_timm_model(weights.removeprefix(TIMM))
    if weights.startswith((TIMM, HUB)) or Path(weights).is_file():
        return
    published = find(owner, weights)
    if published is None:
        raise InputError(f"{missing}{f' {weights}' if named else ''}; {ways(owner, weights)}")
    if published.on_hub:
        check_repository(published.repository, f"{published.url.partition(':')[2]}.safetensors")
    else:
        take(published)


def _check_name(kind: Literal["selector", "task"], name: str) -> None:
    installed = {one.name for one in entry_points(group=GROUPS[kind])}
    if name not in installed:
        raise unknown_name(kind, name, installed)


Recipe = TypeVar("Recipe", SelectorRecipe, TaskRecipe)


def distinct(recipes: Iterable[Recipe]) -> list[Recipe]:
    """The recipes in order, equal ones once."""
    found: list[Recipe] = []
    for recipe in recipes:
        if recipe not in found:
            found.append(recipe)
    return found


def names_of(recipes: Sequence[SelectorRecipe] | Sequence[TaskRecipe]) -> list[str]:
    """Names of the recipes, each once."""
    return list(dict.fromkeys(recipe.name for recipe in recipes))


def labels_of(recipes: Sequence[SelectorRecipe] | Sequence[TaskRecipe]) -> list[str]:
    """Labels of the recipes that have one. Options of single recipes may call them by these as well as by names."""
    return [recipe.label for recipe in recipes if recipe.label is not None]


def with_weights(recipes: Sequence[SelectorRecipe], given: Iterable[str]) -> list[SelectorRecipe]:
    """The recipes with weights that were given as "NAME=FILE", or as "FILE" if there is one selector.

    Raises:
        UsageError: "FILE" among several.
    """
    weights = parse_weights(given, names_of(recipes), labels_of(recipes))
    found = (weights.get(recipe.label or recipe.name, weights.get(recipe.name)) for recipe in recipes)
    return [one if file is None else replace(one, weights=file) for one, file in zip(recipes, found, strict=True)]


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return expanded(value)
    if isinstance(value, Mapping):
        return {key: _expanded(one) for key, one in value.items()}
    return [_expanded(one) for one in value] if isinstance(value, list) else value


def check_ratios(keep_ratios: float | Iterable[float]) -> tuple[float, ...]:
    """Sort one or several keep ratios and drop duplicates; UsageError if there is none, or one outside (0, 1]."""
    ratios = [keep_ratios] if isinstance(keep_ratios, (int, float)) else sorted(set(keep_ratios))
    for ratio in ratios:
        if not 0.0 < ratio <= 1.0:
            hint = f"; did you mean {ratio / 100:g}?" if 1.0 < ratio <= 100.0 else ""
            raise UsageError(f"keep ratio {ratio:g} is not in (0, 1]: it is the share of patches kept{hint}")
    if not ratios:
        raise UsageError("give at least one --keep-ratio")
    return tuple(ratios)
