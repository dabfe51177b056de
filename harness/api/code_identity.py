"""Identity of selectors and tasks that are objects: a digest of their source code and of their state.

Followed: the source of the class, its bases and the classes and functions of the user's that they use; globals and
closures of these; and the attributes of the object. Libraries are named, not read. docs/python.md says what is not
followed.
"""

from __future__ import annotations

import ast
import dis
import enum
import functools
import hashlib
import inspect
import linecache
import pickle
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from ltrp_bench.results.schema.record import digest
from ltrp_bench.selectors.errors import UsageError

_LIBRARIES: Final = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})
_SITE: Final = ("site-packages", "dist-packages")
_PACKAGE: Final = "ltrp_bench"
_MODULE_INTERNALS: Final = frozenset(vars(nn.Module()))


def object_identity(candidate: Any, kind: str, name: str) -> dict[str, Any]:
    """Everything that the results of an object depend on, as plain JSON.

    Args:
        candidate: a selector or a task. If it has a method `identity()`, that stands for its attributes.
        kind: "selector" or "task", for messages.
        name: its name, for messages.

    Raises:
        UsageError: source code that cannot be found, or an attribute that cannot be digested.
    """
    reader = _Reader(f"{kind} {name!r}")
    own = getattr(candidate, "identity", None)
    state = reader.digested(own(), "identity()") if callable(own) else reader.state(candidate)
    return {"class": type(candidate).__qualname__, "source": digest(reader.sources(type(candidate))), "state": state}


def source_digest(candidate: Any, kind: str, name: str) -> str | None:
    """Digest of the user's code behind an object; None if its class is part of a library."""
    sources = _Reader(f"{kind} {name!r}").sources(type(candidate))
    return digest(sources) if any("library" not in source for source in sources) else None


def state_digest(candidate: Any) -> str:
    """Digest of an object's models and plain attributes, by which a change after its creation is noticed."""
    reader = _Reader(type(candidate).__name__)
    kinds = (nn.Module, str, bool, int, float)
    return digest({key: reader.digested(one, key) for key, one in vars(candidate).items() if isinstance(one, kinds)})


def is_library(found: Any) -> bool:
    """True if a class or function belongs to a package that is installed, or to ltrp-bench itself."""
    module = getattr(found, "__module__", None) or ""
    if module == "__main__":
        return False
    if module.partition(".")[0] == _PACKAGE:
        return True
    try:
        file = inspect.getfile(found)
    except (TypeError, OSError):
        return True  # built in
    path = Path(file).resolve()
    return any(part in _SITE for part in path.parts) or any(path.is_relative_to(folder) for folder in _LIBRARIES)


class _Reader:
    """Reads what one object consists of.

    Args:
        owner: the object, for messages.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._open: list[int] = []

    def sources(self, cls: type) -> list[dict[str, Any]]:
        """Source of a class and of its bases, but for those that every class has."""
        bases = [base for base in cls.__mro__ if base.__module__ not in ("builtins", "abc", "typing")]
        return [self.code(base) for base in bases]

    def state(self, candidate: Any) -> Any:
        """Digests of the attributes of an object."""
        if isinstance(candidate, nn.Module):
            return self._module(candidate)
        names = [name for base in type(candidate).__mro__ for name in _slots(base) if hasattr(candidate, name)]
        attributes = {name: getattr(candidate, name) for name in names} | dict(getattr(candidate, "__dict__", {}))
        return {name: self.digested(value, name) for name, value in sorted(attributes.items())}

    def code(self, found: Any) -> dict[str, Any]:
        """Source of a class or function with what it refers to; the name alone for one of a library."""
        name = f"{found.__module__}.{found.__qualname__}"
        if is_library(found):
            version = vars(found).get("version") if isinstance(found, type) else None
            return {"library": name, "version": None if version is None else str(version)}
        if found.__module__ != "__main__" and (file := _file(found)) is not None:
            return {"file": hashlib.sha256(file.read_bytes()).hexdigest(), "name": found.__qualname__}
        if id(found) in self._open:
            return {"again": found.__qualname__}
        self._open.append(id(found))
        try:
            if isinstance(found, type):
                return self._class(found)
            return {"source": self._text(found), **self._references(found)}
        finally:
            self._open.pop()

    def _class(self, found: type) -> dict[str, Any]:
        functions = list(_functions(found))
        attributes = {
            name: self.digested(value, f"{found.__name__}.{name}")
            for name, value in sorted(vars(found).items())
            if not name.startswith(("__", "_abc_")) and not _is_code(value)
        }
        text = self._class_text(found, functions) if functions else ""
        return {"source": text, "attributes": attributes, "references": [self._references(one) for one in functions]}

    def _references(self, function: types.FunctionType) -> dict[str, Any]:
        """Values of the globals, closures and defaults that a function uses."""
        names = sorted(set(_global_names(function.__code__)))
        values = {name: function.__globals__[name] for name in names if name in function.__globals__}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__":
                try:
                    values[name] = cell.cell_contents
                except ValueError:  # not assigned yet
                    continue
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        return {
            "globals": {name: self.digested(value, name) for name, value in values.items()},
            "defaults": [self.digested(value, f"default of {function.__name__}") for value in defaults],
        }

    def digested(self, value: Any, name: str) -> Any:
        """A value as plain JSON: itself where it is short and plain, else a digest."""
        if isinstance(value, (str, bool, int, type(None))) and not isinstance(value, enum.Enum):
            return value
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
            return _array(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, types.MethodType):
            return [self.code(value.__func__), self._nested(value.__self__, name)]
        if isinstance(value, (type, types.FunctionType)):
            return self.code(value)
        if isinstance(value, functools.partial):
            return [self.digested(one, name) for one in (value.func, list(value.args), value.keywords)]
        if isinstance(value, (list, tuple)):
            return [self.digested(one, name) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted(digest(self.digested(one, name)) for one in value)
        if isinstance(value, Mapping):
            return sorted([digest(self.digested(key, name)), self.digested(one, name)] for key, one in value.items())
        if isinstance(value, Path):
            return str(value)
        return self._nested(value, name)

    def _nested(self, value: Any, name: str) -> Any:
        """Digest of another object: of its class and attributes if it is the user's, else of its pickle."""
        if id(value) in self._open:
            return {"again": type(value).__qualname__}
        if not is_library(type(value)):
            self._open.append(id(value))
            try:
                return {"source": self.sources(type(value)), "state": self.state(value)}
            finally:
                self._open.pop()
        try:
            return {"pickle": hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()}
        except Exception as error:  # pickle raises whatever the object's class does
            raise UsageError(
                f"{self._owner}: {name} is a {type(value).__qualname__}, which cannot be part of its fingerprint: give "
                "the class a method identity() that returns all that its results depend on, as plain JSON"
            ) from error

    def _module(self, module: nn.Module) -> dict[str, Any]:
        """Digest of a torch module: its own code, structure, tensors and the attributes of modules of the user's."""
        own = [one for one in module.modules() if not is_library(type(one))]
        attributes = [
            {key: self.digested(value, key) for key, value in sorted(vars(one).items()) if key not in _MODULE_INTERNALS}
            for one in own
        ]
        tensors = {
            name: _array(value) for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)
        }
        return {
            "sources": [self.sources(cls) for cls in dict.fromkeys(type(one) for one in own)],
            "text": digest(repr(module)),
            "tensors": digest(tensors),
            "attributes": attributes,
        }

    def _text(self, function: types.FunctionType) -> str:
        try:
            return textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError) as error:
            raise self._no_source(function) from error

    def _class_text(self, found: type, functions: list[types.FunctionType]) -> str:
        """Source of a class, found by its methods: `inspect.getsource` finds no class of a notebook cell."""
        for function in functions:
            code = function.__code__
            lines = linecache.getlines(code.co_filename, function.__globals__)
            try:
                tree = ast.parse("".join(lines))
            except SyntaxError:  # a cell with magics
                return "\n".join(self._text(one) for one in functions)
            for node in ast.walk(tree):
                inside = isinstance(node, ast.ClassDef) and node.lineno <= code.co_firstlineno <= (node.end_lineno or 0)
                if isinstance(node, ast.ClassDef) and inside and node.name == found.__name__:
                    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                    return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
        raise self._no_source(found)

    def _no_source(self, found: Any) -> UsageError:
        return UsageError(
            f"{self._owner}: the source code of {found.__qualname__} cannot be found, so its results cannot be told "
            "from those of other code: write it into a file and import it from there"
        )


def _functions(cls: type) -> Iterator[types.FunctionType]:
    """Functions that the body of a class defines, without decorators that keep the original."""
    for value in vars(cls).values():
        for one in (value, *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "func"))):
            if isinstance(one, types.FunctionType) and inspect.unwrap(one).__qualname__.startswith(cls.__qualname__):
                yield inspect.unwrap(one)


def _is_code(value: Any) -> bool:
    descriptors = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
    return isinstance(value, (*descriptors, types.MemberDescriptorType, types.GetSetDescriptorType))


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return tuple(one for one in ((slots,) if isinstance(slots, str) else slots) if not one.startswith("__"))


def _global_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _array(value: Any) -> dict[str, Any]:
    """Digest of a tensor or array; the device does not matter."""
    if isinstance(value, torch.Tensor):
        kind, shape = str(value.dtype), list(value.shape)
        flat = value.detach().cpu().contiguous().flatten()
        data: Callable[[], bytes] = flat.view(torch.uint8).numpy().tobytes if flat.numel() else bytes
    else:
        array = np.asarray(value)
        if array.dtype.hasobject:
            return {"pickle": hashlib.sha256(pickle.dumps(array, protocol=4)).hexdigest()}
        kind, shape, data = array.dtype.str, list(array.shape), array.tobytes
    return {"dtype": kind, "shape": shape, "sha256": hashlib.sha256(data()).hexdigest()}


def _file(found: Any) -> Path | None:
    try:
        path = Path(inspect.getfile(found))
    except (TypeError, OSError):
        return None
    return path if path.is_file() else None
