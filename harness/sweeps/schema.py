"""Tables of a sweep file, and their check: unknown keys with the nearest name, wrong types with the line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from ltrp_bench.harness.engines.names import Engine
from ltrp_bench.harness.sweeps.document import Document
from ltrp_bench.selectors.errors import UsageError, near_or, nearest

Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


class Table(BaseModel):
    """Base class of all tables: no other keys, and no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class SelectorTable(Table):
    """A selector.

    Attributes:
        name: as after `--selector`.
        weights: file of weights, or "timm:MODEL".
        options: of its constructor.
        label: its name in tables and figures.
    """

    name: Text
    weights: Text | None = None
    options: dict[str, Any] = {}
    label: Text | None = None


class SharedOptions(Table):
    """Options of tasks that also stand at the top of a file, for all tasks that have them.

    Attributes:
        data, limit, limit_seed, split, narrow_as, strict: as the options of the command line.
    """

    data: Text | None = None
    limit: Count | None = None
    limit_seed: int | None = None
    split: Text | None = None
    narrow_as: Literal["seen", "unseen"] | None = None
    strict: bool | None = None

    def shared(self) -> dict[str, Any]:
        """The options of these that are given."""
        return self.model_dump(include=set(SharedOptions.model_fields), exclude_none=True)


class TaskTable(SharedOptions):
    """A task.

    Attributes:
        name: as after `--task`.
        model, model_weights: as the options of the command line.
        options: other options.
        label: its name in tables and figures.
    """

    name: Text
    model: Text | None = None
    model_weights: Text | None = None
    options: dict[str, Any] = {}
    label: Text | None = None


class EngineTable(Table):
    """Where the work is done.

    Attributes:
        name: the engine.
        jobs, address, gpus_per_job, cpus_per_job, threads, workers, batch_size, device: as the options of `run`.
    """

    name: Engine | None = None
    jobs: Count | None = None
    address: Text | None = None
    gpus_per_job: Annotated[float, Field(ge=0)] | None = None
    cpus_per_job: Annotated[float, Field(ge=0)] | None = None
    threads: Count | None = None
    workers: Annotated[int, Field(ge=0)] | None = None
    batch_size: Count | None = None
    device: Text | None = None


def _table_of_name(value: Any) -> Any:
    """A name alone is a table with that name."""
    return {"name": value} if isinstance(value, str) else value


class SweepTables(SharedOptions):
    """A whole file.

    Attributes:
        selectors, tasks: tables or names.
        keep_ratios: shares of patches kept.
        seeds, full, out, max_pixels, skip_bad_images: as the options of the command line.
        engine: table or name.
    """

    selectors: list[Annotated[SelectorTable, BeforeValidator(_table_of_name)]] = []
    tasks: list[Annotated[TaskTable, BeforeValidator(_table_of_name)]] = []
    keep_ratios: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1)] | None = None
    full: bool | None = None
    out: Text | None = None
    engine: Annotated[EngineTable, BeforeValidator(_table_of_name)] = EngineTable()
    max_pixels: Count | None = None
    skip_bad_images: bool | None = None


def parse_tables(document: Document) -> SweepTables:
    """Check a file. Raises UsageError with the first mistake and its line."""
    if not isinstance(document.data, dict):
        raise UsageError(f"{document.at(())}: a sweep is a table with the keys {_keys(SweepTables)}")
    try:
        return SweepTables.model_validate(document.data)
    except ValidationError as error:
        first = min(error.errors(include_url=False), key=lambda one: document.line(one["loc"]))
        raise UsageError(f"{document.at(first['loc'])}: {_text(first)}") from None


_TABLES: Final[Mapping[str, type[Table]]] = {"selectors": SelectorTable, "tasks": TaskTable, "engine": EngineTable}

_EXPECTED: Final = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a text (quote what looks like a number)",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a name or a table",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
"""What pydantic's types of errors expect, in the words of the file."""


def _text(error: ErrorDetails) -> str:
    """What is wrong, in the words of the file."""
    location = error["loc"]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    if error["type"] == "extra_forbidden":
        table = _TABLES[cast(str, location[0])] if len(location) > 1 else SweepTables
        return f"unknown key {name}; {near_or(str(location[-1]), table.model_fields, f'there are {_keys(table)}')}"
    if error["type"] == "missing":
        return f"{name} is missing"
    what = _EXPECTED.get(error["type"]) or error["msg"].replace("Input should be", "must be")
    choices = re.findall("'([^']+)'", what) if error["type"] == "literal_error" else []
    near = nearest(str(error["input"]), choices)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{name} {what}, got {error['input']!r}{hint}"


def _keys(table: type[Table]) -> str:
    own = [name for name in table.model_fields if name not in SharedOptions.model_fields]
    return ", ".join([*own, *(name for name in table.model_fields if name not in own)])
