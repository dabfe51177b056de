"""A sweep as the user wrote it: recipes of selectors and tasks, and settings, from a file, a suite or neither.

What the command line gives overrides a file. Nothing heavy is imported before the names of a sweep are checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ltrp_bench.harness.evaluation.recipes import (
    NO_SELECTOR,
    NO_TASK,
    Recipe,
    SelectorRecipe,
    TaskRecipe,
    distinct,
    import_from_here,
    with_weights,
)
from ltrp_bench.selectors.errors import UsageError, near_or

if TYPE_CHECKING:
    from ltrp_bench.harness.sweeps.document import Document

RESERVED: Final = ("name", "weights", "domain")
"""Arguments of `selectors.registry.resolve`, which are no options of a selector."""

WORKERS: Final = ("name", "jobs", "address", "gpus_per_job", "cpus_per_job")
"""Keys of the file's engine that are options of the engine itself; the others change where models run."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep; empty where there is no file.

    Attributes:
        selectors, tasks: recipes, with paths as they were written.
        defaults: options for all tasks that have them.
        grid, compute, workers, output: values of options of `run`, by their names in its option dataclasses.
        document: the file, for the lines of messages.
    """

    selectors: tuple[SelectorRecipe, ...] = ()
    tasks: tuple[TaskRecipe, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)
    compute: Mapping[str, Any] = field(default_factory=dict)
    workers: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    document: Document | None = None

    def choose(
        self, selectors: Sequence[str], tasks: Sequence[str], weights: Iterable[str], model_weights: str | None = None
    ) -> tuple[tuple[SelectorRecipe, ...], tuple[TaskRecipe, ...]]:
        """Selectors and tasks of a run: those of these names or labels, all of the file where none are given.

        Args:
            selectors, tasks: names or labels; one that the file has not is a selector or task without options.
            weights: "FILE" or "NAME=FILE" of selectors, instead of those of the file.
            model_weights: checkpoint for all tasks, if those of the file are not to be used.

        Raises:
            UsageError: there is none, an unknown name, or two of one label. InputError: no such weights.
        """
        chosen = _chosen(selectors, self.selectors, SelectorRecipe)
        tasks_chosen = _chosen(tasks, self.tasks, TaskRecipe)
        hint = "" if self.document is None else f", or write it into {self.document.name}"
        for found, text in ((chosen, NO_SELECTOR), (tasks_chosen, NO_TASK)):
            if not found:
                raise UsageError(text.replace(";", f"{hint};"))
        self._check_names("selectors", chosen)
        self._check_names("tasks", tasks_chosen)
        weighted = with_weights(chosen, weights)
        for before, after in zip(chosen, weighted, strict=True):
            with self._located("selectors", before, "weights"):
                after.expanded().check_files()
        for task in tasks_chosen if model_weights is None else ():
            with self._located("tasks", task, "model_weights"):
                task.expanded().check_files()
        return tuple(weighted), tuple(tasks_chosen)

    def check_options(self) -> None:
        """Raise UsageError for an option in the file that a selector or task has not, or of another type."""
        # Imported here, because they import torch.
        from ltrp_bench.selectors.registry import option_types as selector_option_types
        from ltrp_bench.tasks.registry import option_types as task_option_types

        import_from_here(self.selectors)
        for selector in self.selectors:
            with self._located("selectors", selector, "name"):
                types = selector_option_types(selector.name)
            self._check_table("selectors", selector, selector.options, types)
        for task in self.tasks:
            self._check_table("tasks", task, task.arguments, task_option_types(task.name))

    def _check_table(
        self,
        kind: Literal["selectors", "tasks"],
        recipe: SelectorRecipe | TaskRecipe,
        options: Mapping[str, Any],
        types: Mapping[str, Any],
    ) -> None:
        from ltrp_bench.selectors.option_checks import check_value

        owner = f"{kind.removesuffix('s')} {recipe.name!r}"
        known = [name for name in types if kind == "tasks" or name not in RESERVED]
        for name, value in options.items():
            with self._located(kind, recipe, name):
                if name not in known:
                    raise UsageError(f"{owner} has no option {name!r}; {near_or(name, known)}")
                check_value(owner, name, value, types[name])

    def _check_names(self, kind: Literal["selectors", "tasks"], recipes: Sequence[Recipe]) -> None:
        known: dict[str, SelectorRecipe | TaskRecipe] = {}
        for recipe in recipes:
            with self._located(kind, recipe, "name"):
                recipe.check_name()
            with self._located(kind, recipe, "label"):
                shown = recipe.label or recipe.name
                other = known.setdefault(shown, recipe)
                if other != recipe and (other.label or recipe.label):
                    raise UsageError(f"two {kind} are called {shown!r}: choose another label for one of them")

    @contextmanager
    def _located(
        self, kind: Literal["selectors", "tasks"], recipe: SelectorRecipe | TaskRecipe, key: str
    ) -> Iterator[None]:
        """Context in which errors begin with the place of a recipe's key, if the file has it."""
        place = self._place(kind, recipe)
        if place is None or self.document is None:
            yield
            return
        table = self.document.data[kind][place]
        inner = ("options", key) if isinstance(table, dict) and key in table.get("options", {}) else (key,)
        with self.document.located((kind, place, *inner)):
            yield

    def _place(self, kind: Literal["selectors", "tasks"], recipe: SelectorRecipe | TaskRecipe) -> int | None:
        recipes: Sequence[SelectorRecipe | TaskRecipe] = self.selectors if kind == "selectors" else self.tasks
        return next((number for number, one in enumerate(recipes) if one is recipe), None)


def _chosen(names: Sequence[str], recipes: Sequence[Recipe], make: type[Recipe]) -> list[Recipe]:
    """The recipes of a file that these names or labels mean; a name that the file has not is a selector by itself."""
    if not names:
        return distinct(recipes)
    found: list[Recipe] = []
    for name in names:
        own = [one for one in recipes if one.label == name] or [one for one in recipes if one.name == name]
        found += own or [make(name=name)]
    return distinct(found)


def read_sweep(given: str) -> Sweep:
    """Read a sweep: a file, standard input ("-"), or a suite by name.

    Raises:
        UsageError: no such file or suite, or a mistake in it, with its line.
    """
    # Imported here: a run without a file needs neither YAML nor pydantic.
    from ltrp_bench.harness.sweeps.schema import parse_tables
    from ltrp_bench.harness.sweeps.suites import find_document

    document = find_document(given)
    tables = parse_tables(document)
    selectors = tuple(
        SelectorRecipe(name=one.name, weights=one.weights, options=one.options, label=one.label)
        for one in tables.selectors
    )
    tasks = []
    for number, task in enumerate(tables.tasks):
        models = {"model": task.model, "model_weights": task.model_weights}
        fields = {**task.shared(), **{name: value for name, value in models.items() if value is not None}}
        for name in task.options:
            if name in fields:
                raise UsageError(f"{document.at(('tasks', number, 'options', name))}: {name} is given twice")
        tasks.append(TaskRecipe(name=task.name, arguments={**fields, **task.options}, label=task.label))
    engine = tables.engine.model_dump(exclude_none=True)
    workers = {"engine" if name == "name" else name: engine.pop(name) for name in WORKERS if name in engine}
    settings = tables.model_dump(include={"max_pixels", "skip_bad_images"}, exclude_none=True)
    grid = {"keep_ratio": tables.keep_ratios, "seed": tables.seeds, "full": tables.full}
    return Sweep(
        selectors=selectors,
        tasks=tuple(tasks),
        defaults=tables.shared(),
        grid={name: tuple(one) if isinstance(one, list) else one for name, one in grid.items() if one is not None},
        compute={**engine, **settings},
        workers=workers,
        output={} if tables.out is None else {"out": tables.out},
        document=document,
    )


def effective_tables(
    selectors: Sequence[SelectorRecipe],
    tasks: Sequence[TaskRecipe],
    *,
    grid: Mapping[str, Any],
    compute: Mapping[str, Any],
    workers: Mapping[str, Any],
    out: str,
) -> dict[str, Any]:
    """Tables of a file that runs the same sweep again.

    Args:
        selectors, tasks: recipes with all options, and with paths as they were written.
        grid, compute, workers: values of options of `run`, by their names in its option dataclasses.
        out: folder of the results, as it was written.
    """
    fields = ("data", "model", "model_weights", "limit", "limit_seed", "split", "narrow_as", "strict")
    task_tables = []
    for one in tasks:
        own = {name: one.arguments[name] for name in fields if name in one.arguments}
        options = {name: value for name, value in one.arguments.items() if name not in fields}
        task_tables.append(_table({"name": one.name, "label": one.label, **own, "options": options}))
    settings = {name: compute[name] for name in ("max_pixels", "skip_bad_images")}
    engine = {name: value for name, value in {**workers, **compute}.items() if name not in (*settings, "engine")}
    return {
        "selectors": [
            _table({"name": one.name, "label": one.label, "weights": one.weights, "options": dict(one.options)})
            for one in selectors
        ],
        "tasks": task_tables,
        "keep_ratios": list(grid["keep_ratio"]),
        "seeds": list(grid["seed"]),
        "full": grid["full"],
        "out": out,
        "engine": _table({"name": workers["engine"], **engine}),
        **_table(settings),
    }


def _table(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are given."""
    return {name: value for name, value in values.items() if value is not None and value != {}}
