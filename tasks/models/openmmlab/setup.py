"""Set-up of OpenMMLab (mmengine, mmcv, mmdet, mmseg), with or without mmcv's compiled operators.

The maintained forks (`onedl-*`) bring mmcv without its compiled `mmcv._ext`. If it is missing, a module of that name
made of torchvision's operators is registered before anything of mmdet is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import logging
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
    """State of each of mmcv's operators and a note, as `ltrp-bench doctor` prints them."""

    states: dict[str, OpState]
    note: str

    def names(self, state: OpState) -> list[str]:
        """Sorted names of the operators in that state."""
        return sorted(name for name, found in self.states.items() if found == state)


class _StandIn(types.ModuleType):
    """Replacement of a missing `mmcv._ext`; records every operator that mmcv requests."""

    def __init__(self) -> None:
        from ltrp_bench.tasks.models.openmmlab import mmcv_ops

        super().__init__(_EXTENSION, "ltrp-bench's stand-in for mmcv's compiled operators")
        self.__spec__ = importlib.machinery.ModuleSpec(_EXTENSION, None)
        self.requested: set[str] = set()
        self._functions: dict[str, Callable[..., Any]] = dict(mmcv_ops.STAND_INS)
        self.get_compiler_version = mmcv_ops.get_compiler_version
        self.get_compiling_cuda_version = mmcv_ops.get_compiling_cuda_version

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        self.requested.add(name)
        if name in self._functions:
            return self._functions[name]
        return _raising(name)


def _raising(name: str) -> Callable[..., Any]:
    def missing(*args: Any, **kwargs: Any) -> Any:
        from ltrp_bench.tasks.models.openmmlab.mmcv_ops import missing_message

        raise InputError(missing_message(name))

    missing.__name__ = name
    return missing


def setup(package: Package = "mmdet", *, training: bool = False) -> None:
    """Makes a package usable: registers the stand-in if needed, then imports and registers the package's modules.

    May be called again, and for both packages in one process.

    Args:
        package: "mmdet" or "mmseg".
        training: True to import hooks, metrics and optimizers, too, which takes longer.

    Raises:
        InputError: a package or a system library that it needs is missing.
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
    """Puts the compiled `mmcv._ext`, or else the stand-in, into `sys.modules` and returns it."""
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
    """Reports for every operator that mmcv requests whether it is compiled, a stand-in or missing.

    Never raises: if OpenMMLab is not installed, the report has no states and its note says why.
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
        name: "stand-in" if name in module._functions else "missing" for name in sorted(module.requested)
    }
    return OpsReport(states, "mmcv has no compiled operators here: torchvision's stand in for the common ones")


def config_root(package: Package = "mmdet") -> Path:
    """Folder of the configs that the installed package brings."""
    setup(package)
    location = sys.modules[package].__file__
    assert location is not None
    return Path(location).parent / ".mim" / "configs"


def load_config(name: str | Path, package: Package = "mmdet") -> Any:
    """Loads an mmengine Config.

    Args:
        name: a file, or a config that the package brings, as `retinanet/retinanet_r50_fpn_1x_coco` or only
            `retinanet_r50_fpn_1x_coco`.
        package: "mmdet" or "mmseg".

    Raises:
        InputError: there is no such config (with similar names) or it does not load.
    """
    setup(package)
    from mmengine.config import Config

    path = _find_config(str(name), package)
    try:
        with _silence():
            return Config.fromfile(path)
    except Exception as error:  # a config is Python code and raises exceptions of any type
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
    hint = f"; similar names: {', '.join(near)}" if near else ""
    raise InputError(f"no {package} config '{name}': neither a file nor one of the {len(known)} in {root}{hint}")


@contextmanager
def scope(package: Package = "mmdet") -> Iterator[None]:
    """Inside the block mmengine's registries build from `package`, without warnings."""
    setup(package)
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(package), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def strip_downloads(config: Any) -> None:
    """Removes from a config, in place, everything that would download weights."""
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
    """Suppresses warnings and prints: OpenMMLab prints notes about packages that are not needed here."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def first_line(error: BaseException) -> str:
    """First line of an error's text, for one-line messages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _quiet_logs() -> None:
    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().setLevel(logging.ERROR)  # init_weights() would log every parameter


def _explain(error: ImportError) -> str:
    text = str(error)
    if "libGL" in text or "libgthread" in text or "libglib" in text:
        return f"OpenCV lacks a system library ({text}): apt-get install libgl1 libglib2.0-0"
    if isinstance(error, ModuleNotFoundError):
        return f"OpenMMLab is not complete here ({text}): {_INSTALL}"
    return f"OpenMMLab does not import ({text}): {_INSTALL}"
