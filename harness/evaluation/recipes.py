"""Recipes of selectors and tasks: names, files and options from which any process builds them alike."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ltrp_bench.selectors.registry import SelectorSpec, resolve


@dataclass(frozen=True, kw_only=True)
class SelectorRecipe:
    """A selector by name.

    Attributes:
        name: as `selectors.registry.resolve` takes it, e.g. "ltrp.photos" or "package.module:Class".
        weights: file of weights, or "timm:MODEL"; None takes bundled ones.
        tags: of bundled weights; the first that has any is taken.
        options: of the selector's constructor.
        folder: where the module of "package.module:Class" may lie; None for installed selectors.
    """

    name: str
    weights: str | None = None
    tags: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def spec(self) -> SelectorSpec:
        """The selector before it is built. Raises UsageError or InputError as `resolve` does."""
        if self.folder is not None and self.folder not in sys.path:
            # The user's own module in the current folder; last, so that it shadows nothing.
            sys.path.append(self.folder)
        return resolve(self.name, self.weights, self.tags, **self.options)


@dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """A task by name.

    Attributes:
        name: as `tasks.registry.create_task` takes it, e.g. "coco-det".
        arguments: of `create_task`: data and options.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def on(self, device: str) -> TaskRecipe:
        """The recipe with the task's model on another device."""
        if "device" not in self.arguments:
            return self
        return replace(self, arguments={**self.arguments, "device": device})
