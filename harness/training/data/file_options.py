"""Options of a data set's files, given to a training as to the tasks on it: "key=value"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import check_name, check_value, parse_option
from ltrp_bench.tasks.options import DataOptions

Options = TypeVar("Options", bound=DataOptions)

_OWN = ("data", "strict")  # have flags of their own


def file_options(kind: type[Options], given: Sequence[str], **known: Any) -> Options:
    """The options of a data set.

    Args:
        kind: their dataclass.
        given: "key=value" each.
        known: the options that have flags of their own; `subset` may be given either way.

    Raises:
        UsageError: an option that the data set does not have, or a value that it cannot have.
    """
    types = get_type_hints(kind)
    names = [one.name for one in fields(kind) if one.name not in _OWN]
    values = dict(known)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--task-option {text}: write key=value")
        check_name("this data set", key, names)
        values[key] = parse_option(value, types[key])
        check_value("this data set", key, values[key], types[key])
    return kind(**values)
