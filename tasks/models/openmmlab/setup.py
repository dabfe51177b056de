"""The door to OpenMMLab (mmengine, mmcv, mmdet, mmseg): set up once, with or without compiled operators.

The maintained forks (`onedl-*`) bring mmcv without its compiled `mmcv._ext`. Where that is so, a module of
that name made of torchvision's operators is registered before anything of mmdet is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import logging
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ltrp_bench.selectors.errors import InputError

OpState = Literal["compiled", "stand-in", "missing"]
Package = Literal["mmdet", "mmseg"]
_EXTENSION = "mmcv._ext"
_INSTALL = "pip install onedl-mmengine onedl-mmcv onedl-mmdetection onedl-mmsegmentation"
_ready: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class OpsReport:
    """What `ltrp-bench doctor` tells of mmcv's operators: the state of each, and a note."""

    states: dict[str, OpState]
    note: str

    def names(self, state: OpState) -> list[str]:
        """The operators in that state, sorted."""
        return sorted(name for name, found in self.states.items() if found == state)


class _StandIn(types.ModuleType):
    """`mmcv._ext` where none is compiled; remembers every operator that mmcv asked for."""

    def __init__(self) -> None:
        from ltrp_bench.tasks.models.openmmlab import mmcv_ops

        super().__init__(_EXTENSION, "ltrp-bench's stand-in for mmcv's compiled operators")
        self.__spec__ = importlib.machinery.ModuleSpec(_EXTENSION, None)
        self.asked: set[str] = set()
        self._functions: dict[str, Callable[..., Any]] = dict(mmcv_ops.STAND_INS)
        self.get_compiler_version = mmcv_ops.get_compiler_version
        self.get_compiling_cuda_version = mmcv_ops.get_compiling_cuda_version

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        self.asked.add(name)
        if name in self._functions:
            return self._functions[name]
        return _raising(name)


def _raising(name: str) -> Callable[..., Any]:
    def missing(*args: Any, **kwargs: Any) -> Any:
        from ltrp_bench.tasks.models.openmmlab.mmcv_ops import missing_message

        raise InputError(missing_message(name))

    missing.__name__ = name
    return missing


def setup(package: Package = "mmdet", training: bool = False) -> None:
    """Make `package` usable: register the stand-in if needed, import and register the package's modules.

    Idempotent; safe for both packages in one process. `training` adds the package's hooks, metrics and
    optimisers (slower to import). Raises InputError if a package or a system library it wants is not there.
    """
    parts = ["models", "structures", "datasets"]
    if training:
        parts += ["engine", "evaluation", "visualization"]
    missing = [part for part in parts if (package, part) not in _ready]
    if not missing:
        return
    with _silence():
        try:
            _extension()
            for part in missing:
                importlib.import_module(f"{package}.{part}")
        except ImportError as error:
            raise InputError(_explain(error)) from error
    _quiet_logs()
    _ready.update((package, part) for part in missing)


def _extension() -> types.ModuleType:
    """The compiled `mmcv._ext`, or else the stand-in, now in `sys.modules`."""
    loaded = sys.modules.get(_EXTENSION)
    if loaded is not None:
        return loaded
    import mmcv

    if importlib.util.find_spec(_EXTENSION) is not None:
        try:
            return importlib.import_module(_EXTENSION)
        except (ImportError, OSError) as error:  # compiled for another torch
            note = f"mmcv's compiled operators do not load ({first_line(error)}): stand-ins are used"
            warnings.warn(note, stacklevel=2)
    module = _StandIn()
    sys.modules[_EXTENSION] = module
    mmcv._ext = module
    return module


def available_ops() -> OpsReport:
    """Every operator that mmcv asks `mmcv._ext` for, and whether it is compiled, a stand-in or missing.

    Never raises: where OpenMMLab is not installed the states are empty and the note says why.
    """
    with _silence():
        try:
            module = _extension()
            importlib.import_module("mmcv.ops")
        except ImportError as error:
            return OpsReport({}, _explain(error))
    if not isinstance(module, _StandIn):
        names = [name for name in dir(module) if not name.startswith("_")]
        return OpsReport(dict.fromkeys(names, "compiled"), "mmcv's own compiled operators are used")
    states: dict[str, OpState] = {
        name: "stand-in" if name in module._functions else "missing" for name in sorted(module.asked)
    }
    return OpsReport(states, "mmcv has no compiled operators here: torchvision's stand in for the common ones")


def config_root(package: Package = "mmdet") -> Path:
    """The folder of the configs that the installed package brings."""
    setup(package)
    location = sys.modules[package].__file__
    assert location is not None
    return Path(location).parent / ".mim" / "configs"


def load_config(name: str | Path, package: Package = "mmdet") -> Any:
    """An mmengine Config from a file, or from the name of one that the package brings.

    `name` may be a path, `retinanet/retinanet_r50_fpn_1x_coco` or only `retinanet_r50_fpn_1x_coco`.
    Raises InputError if there is none (naming near matches) or if it does not parse.
    """
    setup(package)
    from mmengine.config import Config

    path = _find_config(str(name), package)
    try:
        with _silence():
            return Config.fromfile(path)
    except Exception as error:  # a config is Python: it can fail in any way
        raise InputError(f"config {path} does not load: {type(error).__name__}: {first_line(error)}") from error


def _find_config(name: str, package: Package) -> Path:
    given = Path(name)
    if given.suffix in {".py", ".json", ".yaml", ".yml"} and given.is_file():
        return given
    root = config_root(package)
    stem = given.name.removesuffix(".py")
    found = sorted(p for p in root.rglob(f"{stem}.py") if str(p).endswith(f"/{name.removesuffix('.py')}.py"))
    if found:
        return found[0]
    import difflib

    known = {p.stem for p in root.rglob("*.py") if "_base_" not in p.parts}
    near = difflib.get_close_matches(stem, sorted(known), n=3, cutoff=0.4)
    hint = f"; near names: {', '.join(near)}" if near else ""
    raise InputError(f"no {package} config '{name}': neither a file nor one of the {len(known)} in {root}{hint}")


@contextmanager
def scope(package: Package = "mmdet") -> Iterator[None]:
    """Registries build from `package` inside the block, whatever the default is, without warnings."""
    setup(package)
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(package), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def plain_checkpoints() -> Iterator[None]:
    """Inside the block `torch.load(weights_only=True)` accepts the records that mmengine's checkpoints carry.

    They hold the history of the losses beside the weights: HistoryBuffer, numpy arrays, and a `getattr` that
    finds HistoryBuffer's own methods. `getattr` of anything else is refused.
    """
    import numpy as np
    import torch
    from mmengine.logging.history_buffer import HistoryBuffer

    def method_of_history(owner: Any, name: str) -> Any:
        if owner is not HistoryBuffer or name.startswith("_"):
            raise pickle.UnpicklingError(f"GLOBAL getattr({owner}, {name}) was not an allowed global")
        return getattr(owner, name)

    # numpy 2 moved its private core; files written with either name are read.
    core = importlib.import_module("numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray")
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, *(type(np.dtype(t)) for t in ("f4", "f8", "i8"))]
    for name in ("_reconstruct", "scalar"):
        function = getattr(core, name)
        allowed += [(function, f"numpy._core.multiarray.{name}"), (function, f"numpy.core.multiarray.{name}")]
    allowed += [(method_of_history, f"{module}.getattr") for module in ("builtins", "__builtin__")]
    with torch.serialization.safe_globals(allowed):
        yield


def strip_downloads(config: Any) -> None:
    """Remove, in place, what would fetch weights: the checkpoint brings them, or nothing does."""
    if isinstance(config, dict):
        loads = config.get("init_cfg")
        candidates = loads if isinstance(loads, (list, tuple)) else [loads]
        if any(isinstance(item, dict) and item.get("type") == "Pretrained" for item in candidates):
            config["init_cfg"] = None
        if isinstance(config.get("pretrained"), str):
            config["pretrained"] = None
        for value in list(config.values()):
            strip_downloads(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            strip_downloads(value)


@contextmanager
def _silence() -> Iterator[None]:
    """No warnings, and nothing printed: OpenMMLab prints notes about packages that nobody here asks for."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for messages of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _quiet_logs() -> None:
    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().setLevel(logging.ERROR)  # init_weights() logs every parameter otherwise


def _explain(error: ImportError) -> str:
    text = str(error)
    if "libGL" in text or "libgthread" in text or "libglib" in text:
        return f"OpenCV misses a system library ({text}): apt-get install libgl1 libglib2.0-0"
    if isinstance(error, ModuleNotFoundError):
        return f"OpenMMLab is not complete here ({text}): {_INSTALL}"
    return f"OpenMMLab does not import ({text}): {_INSTALL}"
