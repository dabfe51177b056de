"""Declarative entry of a built-in task: its family, data set, split and defaults, from which the task is built."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from ltrp_bench.selectors.option_checks import check_name, check_value
from ltrp_bench.tasks.base import Task
from ltrp_bench.tasks.options import DataOptions, ShapesData, TaskOptions

if TYPE_CHECKING:
    from ltrp_bench.tasks.dataset_task import DatasetTask

NO_SPLIT: Final = "no bundled split for its categories"
"""Note on a task without a default split."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Tasks that differ in data set and defaults alone.

    Attributes:
        name: e.g. "detection".
        options: their options, beside those of the data.
        builder: "module:function" that makes the task of a spec, of data options and of task options; it is imported
            when a task is built.
    """

    name: str
    options: type[TaskOptions]
    builder: str

    def build(self, spec: TaskSpec, data: Any, options: Any) -> DatasetTask[Any]:
        """Make the task of a spec."""
        make: Callable[[TaskSpec, Any, Any], DatasetTask[Any]] = pkgutil.resolve_name(self.builder)
        return make(spec, data, options)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A built-in task. Calling it with options builds the task.

    Attributes:
        name: as on the command line, e.g. "coco-det".
        summary: one line for lists of tasks.
        family: what is measured, and how.
        dataset: key of the data set in `data_sources`.
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
        used, values = self._data(given)
        task = self.family.build(self, used, _make(self.family.options, values))
        task.limit_seed = used.limit_seed
        return task

    def data_options(self, given: Mapping[str, Any]) -> DataOptions:
        """Options of the data. Raises UsageError for an unknown option, or a value that it cannot have."""
        return self._data(given)[0]

    def _data(self, given: Mapping[str, Any]) -> tuple[DataOptions, dict[str, Any]]:
        """Options of the data, and values of all options."""
        self._check(given)
        values = {**self.option_defaults, **given, **self.fixed}
        used: DataOptions = _make(self.data, values)
        return used, values

    @cached_property
    def option_defaults(self) -> dict[str, Any]:
        """Option -> default, of everything that can be given."""
        own: dict[str, Any] = {} if self.split_note else {"split": self.split}
        declared = {f.name: f.default for kind in (self.data, self.family.options) for f in fields(kind)}
        out = {name: value for name, value in {**declared, **own, **self.defaults}.items() if name not in self.fixed}
        assert MISSING not in out.values(), f"{self.name}: an option without a default"
        return out

    @cached_property
    def option_types(self) -> dict[str, Any]:
        """Option -> type, of everything that can be given."""
        hints = {**get_type_hints(self.data), **get_type_hints(self.family.options)}
        return {name: hints[name] for name in self.option_defaults}

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
        owner = f"task {self.name!r}"
        for name in given:
            check_name(owner, name, self.option_defaults)
        for name, value in given.items():
            check_value(owner, name, value, self.option_types[name])


def _make(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(**{f.name: values[f.name] for f in fields(kind)})
