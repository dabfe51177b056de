"""A YAML file and the lines of its values."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ltrp_bench.selectors.errors import BenchError, UsageError

STANDARD_INPUT: Final = "-"

Location = Sequence[str | int]
"""Keys and positions that lead to a value: ("selectors", 0, "weights")."""


class _Loader(yaml.SafeLoader):
    """Plain data, in which 1e-3 is a number, as in YAML 1.2; PyYAML follows 1.1, which wants 1.0e-3."""


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes:
        name: its name in messages.
        data: its content as plain data.
        root: the same with lines.
    """

    name: str
    data: Any
    root: yaml.Node

    def line(self, location: Location) -> int:
        """Line of a value, from 1; that of the innermost part that there is."""
        node, line = self.root, self.root.start_mark.line
        for key in location:
            found = _child(node, key)
            if found is None:
                break
            node, line = found
        return line + 1

    def at(self, location: Location) -> str:
        """Place of a value for messages: "sweep.yaml:7"."""
        return f"{self.name}:{self.line(location)}"

    @contextmanager
    def located(self, location: Location) -> Iterator[None]:
        """Context in which the message of an error begins with the place of a value."""
        try:
            yield
        except BenchError as error:
            raise type(error)(f"{self.at(location)}: {error}") from error


def read_document(path: str | Path, name: str | None = None) -> Document:
    """Read a file, or standard input if the path is "-".

    Args:
        path: the file.
        name: its name in messages; its path by default.

    Raises:
        UsageError: the file cannot be read, or is no YAML, or a key occurs twice in one table.
    """
    shown = name or ("standard input" if str(path) == STANDARD_INPUT else str(path))
    try:
        data = sys.stdin.buffer.read() if str(path) == STANDARD_INPUT else Path(path).read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is no text in UTF-8") from error
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise UsageError(f"{shown} is empty")
        _check_keys(root, shown)
        return Document(shown, loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise UsageError(f"{shown}{line}: no valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # characters that YAML has not, impossible dates
        raise UsageError(f"{shown}: no valid YAML: {' '.join(str(error).split())}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _child(node: yaml.Node, key: str | int) -> tuple[yaml.Node, int] | None:
    """A value of a table or a list, and the line where it or its key begins."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line
    if isinstance(node, yaml.MappingNode):
        for name, value in reversed(node.value):  # keys that are merged in with << come first
            if name.value == str(key):
                return value, name.start_mark.line
    return None


def _check_keys(node: yaml.Node, shown: str, above: tuple[yaml.Node, ...] = ()) -> None:
    """Raise UsageError for a key that occurs twice in a table, or a table that holds itself."""
    line = f"{shown}:{node.start_mark.line + 1}"
    if node in above:
        raise UsageError(f"{line}: an alias within its own anchor")
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value, shown, (*above, node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key.value, str) and key.value in seen and key.value != "<<":
                raise UsageError(f"{shown}:{key.start_mark.line + 1}: {key.value!r} is given twice")
            seen.add(str(key.value))
            _check_keys(value, shown, (*above, node))


def dump(data: Mapping[str, Any]) -> str:
    """YAML text of plain data, in its order."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)
