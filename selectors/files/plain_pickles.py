"""Torch pickles of plain data: the one list of what may lie beside tensors, for every loader. Never runs foreign code.

Checkpoints hold more than weights: the command line, a config, the best accuracy as a NumPy number. torch's unpickler
(`weights_only=True`) refuses every class that it does not know. Those below are harmless: exact types of the standard
library and NumPy. For classes of configuration libraries and of people's own code, such as an enumeration or a
dataclass of options, `Record` stands in, so that nothing of theirs is imported or run. A file that needs anything else
of the standard library, NumPy or torch is refused by its name: it would be code, or a whole module instead of its
weights.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import importlib
import pickle
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import torch

from ltrp_bench.selectors.errors import InputError

_NEVER: Final = frozenset({*sys.stdlib_module_names, "builtins", "__builtin__", "torch", "numpy"})
"""Packages of which nothing but the types below is read; classes of all others are read as inert records."""

_MOST_RECORDS: Final = 200


class Record:
    """Stand-in for classes of other packages: what a pickle makes of it is a dictionary, and nothing runs."""

    def __new__(cls, *given: Any, **named: Any) -> Any:
        """An empty dictionary, of the one type with attributes that torch's unpickler fills."""
        return collections.OrderedDict()


def _dictionary(*given: Any) -> dict[Any, Any]:
    """Stand-in for `defaultdict`, whose items torch's unpickler does not set."""
    return {}


def _list(*given: Any) -> list[Any]:
    """Stand-in for `deque`, to which torch's unpickler does not append."""
    return list(given[0]) if given else []


def _method_of_record(owner: Any, name: str) -> Any:
    """`getattr` of a record's class, as the histories of mmengine need it; anything else is refused."""
    if owner is not Record or name.startswith("_"):
        raise pickle.UnpicklingError(f"GLOBAL getattr({owner}, {name}) was not an allowed global")
    return Record


def _numpy() -> list[Any]:
    kinds = {type(np.dtype(code)) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}
    kinds |= {type(np.dtype(code)) for code in ("c8", "c16", "S1", "U1", "M8[s]", "m8[s]")}
    scalars = [np.bool_, np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64]
    scalars += [np.uint8, np.uint16, np.uint32, np.uint64, np.str_, np.bytes_]
    # NumPy 2 renamed its private core module; files may name either.
    core = importlib.import_module("numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray")
    out: list[Any] = [np.ndarray, np.dtype, *kinds, *scalars]
    for name in ("_reconstruct", "scalar"):
        function = getattr(core, name)
        out += [(function, f"numpy.{room}.multiarray.{name}") for room in ("core", "_core")]
    return out


def safe_globals() -> list[Any]:
    """All that a pickle may name beside tensors, as `torch.serialization.safe_globals` takes it."""
    plain: list[Any] = [argparse.Namespace, types.SimpleNamespace, collections.OrderedDict, PurePosixPath, Record]
    plain += [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone]
    plain += [dict, list, tuple, set, frozenset, int, float, complex, str, bool, bytes, bytearray, slice, range]
    plain += [(_dictionary, "collections.defaultdict"), (_list, "collections.deque"), (typing.Any, "typing.Any")]
    # A path of any system, even where this one cannot build it.
    names = ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath", "Path", "PurePath")
    plain += [(PurePosixPath, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name in names]
    getters = [(_method_of_record, f"{module}.getattr") for module in ("builtins", "__builtin__")]
    return [*plain, *_numpy(), *getters]


def load_plain(path: Path) -> Any:
    """Content of a torch file on the CPU, as it was saved; objects of other packages as `Record`.

    Raises:
        InputError: a corrupt file, or one that needs a class which is not plain data; the message names it.
    """
    records: list[tuple[Callable[..., Any], str]] = []
    while True:
        try:
            # Opened here: given a path, torch goes by its suffix.
            with path.open("rb") as file, torch.serialization.safe_globals([*safe_globals(), *records]):
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL ([\w.]+)|got <class '([\w.]+)'>", str(error))
            name = (found[1] or found[2]) if found else None
            if name is None or "." not in name or name.partition(".")[0] in _NEVER or len(records) > _MOST_RECORDS:
                raise _refusal(path, name) from None
            records.append((Record, name))
        except Exception as error:
            # On other bytes the unpickler raises errors without meaning, e.g. KeyError with a bare number.
            why = f" ({_short(error)})" if isinstance(error, (OSError, RuntimeError)) else ""
            raise InputError(f"cannot read weights {path}: corrupt or not a torch file{why}") from None


def _refusal(path: Path, name: str | None) -> InputError:
    if name is None:
        return InputError(f"cannot read weights {path}: corrupt or not a torch file")
    whole = " (a whole module was saved, which is code)" if name.startswith("torch.nn.modules.") else ""
    return InputError(
        f"cannot read weights {path}: not a plain pickle of tensors, it needs {name}{whole}; re-save its state dict "
        "alone"
    )


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
