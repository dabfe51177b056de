"""Declarative entry of a built-in task: its family, data set, split and defaults, from which the task is built."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from numbers import Integral, Real
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.options import DataOptions, ShapesData, TaskOptions

NO_SPLIT: Final = "no split of its categories ships"
"""Note on a task without a default split."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Tasks that differ in data set and defaults alone.

    Attributes:
        name: e.g. "detection".
        options: their options, beside those of the data.
        build: makes the task of a spec, of data options and of task options.
    """

    name: str
    options: type[TaskOptions]
    build: Callable[[TaskSpec, Any, Any], Task]


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A built-in task. Calling it with options builds the task.

    Attributes:
        name: as on the command line, e.g. "coco-det".
        summary: one line for lists of tasks.
        family: what is measured, and how.
        dataset: key of the data set in `builders`.
        data: options of the data set.
        split: split that is used if none is given; None for `shapes`, which has folds, and if no split is bundled.
        split_note: note on splits of other layouts of the data. If there is one, `split` is that of the usual layout,
            and the layout found decides.
        defaults: defaults of options that differ from those of the dataclasses.
        fixed: options of the family that this task sets itself, so that they cannot be given.
    """

    name: str
    summary: str
    family: Family
    dataset: str
    data: type[DataOptions]
    split: str | None = None
    split_note: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, data: Any = None, /, **options: Any) -> Task:
        """Build the task.

        Args:
            data: folder of the data set, the same as the option `data`.
            options: see `option_defaults`.

        Raises:
            UsageError: unknown option, or a value that it cannot have. InputError: missing or corrupt data or weights.
        """
        given = options if data is None else {"data": data, **options}
        self._check(given)
        values = {**self.option_defaults, **given, **self.fixed}
        return self.family.build(self, _make(self.data, values), _make(self.family.options, values))

    @cached_property
    def option_defaults(self) -> dict[str, Any]:
        """Option -> default, of everything that can be given."""
        own: dict[str, Any] = {} if self.split_note else {"split": self.split}
        declared = {f.name: f.default for kind in (self.data, self.family.options) for f in fields(kind)}
        out = {name: value for name, value in {**declared, **own, **self.defaults}.items() if name not in self.fixed}
        assert MISSING not in out.values(), f"{self.name}: an option without a default"
        return out

    def default_split(self) -> tuple[str | None, str]:
        """Name of the split that is used if none is given, and a note on it, which may be empty."""
        if issubclass(self.data, ShapesData):
            fold = self.option_defaults["fold"]
            return f"shapes/{fold}", f"fold {fold}; the other fold swaps the halves: shapes/{1 - fold}"
        if self.split is None:
            return None, NO_SPLIT
        return self.split, self.split_note

    def _check(self, given: Mapping[str, Any]) -> None:
        """Raise UsageError for an unknown option, or a value that is not of its type."""
        known = self.option_defaults
        if unknown := [name for name in given if name not in known]:
            raise UsageError(f"task {self.name!r} has no option {unknown[0]!r}; its options: {', '.join(known)}")
        hints = {**get_type_hints(self.data), **get_type_hints(self.family.options)}
        for name, value in given.items():
            if not _fits(value, hints[name]):
                raise UsageError(f"task {self.name!r}: {name} must be {_described(hints[name])}, got {value!r}")


def _make(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(**{f.name: values[f.name] for f in fields(kind)})


def _fits(value: Any, hint: Any) -> bool:
    """True if a value is of the type that a field's annotation names; NumPy's numbers count as Python's."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is Literal:
        return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in args)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(_fits(item, args[0]) for item in value)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, hint)


def _described(hint: Any) -> str:
    """Text of the values that a field's annotation allows, None left out: "drop or fill", "a whole number"."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_described(one) for one in args if one is not types.NoneType))
    if origin is Literal:
        return " or ".join(str(one) for one in args)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return "a list of whole numbers"
    return {int: "a whole number", float: "a number"}.get(hint, "text")
