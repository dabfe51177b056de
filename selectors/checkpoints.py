"""Reading and writing of weights: plain tensors only, with an error of one line for any other file."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from ltrp_bench.selectors.errors import BenchError, InputError
from ltrp_bench.selectors.files.digests import sha256_of
from ltrp_bench.selectors.files.file_kinds import SUFFIXES, kind_of
from ltrp_bench.selectors.files.model_signs import looks_like
from ltrp_bench.selectors.files.plain_pickles import load_plain
from ltrp_bench.selectors.files.prefixes import bare_state, strip_prefix
from ltrp_bench.selectors.files.weight_sets import Weights, read_weights
from ltrp_bench.selectors.zoo.table import HUB, TIMM

__all__ = [
    "HUB",
    "TIMM",
    "Weights",
    "bare_state",
    "check_depths",
    "load_built",
    "load_content",
    "load_into",
    "load_metadata",
    "load_state",
    "looks_like",
    "mismatch",
    "read_weights",
    "resolve",
    "save_safetensors",
    "sha256_of",
    "shipped",
    "stored_arguments",
    "strip_prefix",
]

WEIGHTS = Path(__file__).parent / "weights"


P = ParamSpec("P")
R = TypeVar("R")
Module = TypeVar("Module", bound=nn.Module)


def shipped(tag: str) -> Path:
    """File of the bundled weights with a tag, e.g. "ltrp.shapes"; `InputError` for an unknown tag."""
    path = WEIGHTS / f"{tag}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))) or "none"
        raise InputError(f"no bundled weights named {tag!r} (bundled: {known}); give a file instead")
    return path


def resolve(path_or_tag: str | Path) -> Path:
    """Resolve a path or the tag of bundled weights to a file; `InputError` for an unknown tag."""
    path = Path(path_or_tag).expanduser()
    if path.exists() or path.suffix in SUFFIXES or "/" in str(path_or_tag):
        return path
    return shipped(str(path_or_tag))


def load_metadata(path: str | Path) -> dict[str, str]:
    """Metadata of a safetensors file, whatever its name; empty for a torch file."""
    path = Path(path)
    if kind_of(path) != "safetensors":
        return {}
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read weights {path}: corrupt safetensors file ({_short(error)})") from None


def stored_config(path: str | Path, key: str = "config") -> dict[str, Any]:
    """Mapping that our own files keep as JSON in their metadata; empty for other files, `InputError` if damaged."""
    try:
        found = json.loads(load_metadata(path).get(key, "{}"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"cannot read weights {path}: the {key!r} in its metadata is damaged")
    return found


def builds_from_config(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a function that builds a model by the configuration in a file, its first argument.

    What such a configuration breaks when it is damaged (a width of 1.5, a size of terabytes) is the file's fault, an
    `InputError`. Errors with files without a configuration are raised as they are.
    """

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BenchError:
            raise
        except Exception as error:
            path = resolve(cast(str | Path, args[0])) if args else None
            if path is None or not stored_config(path):
                raise
            why = f"{type(error).__name__}: {_short(error)}"
            raise InputError(f"cannot read weights {path}: its configuration describes no model ({why})") from error

    return checked


def load_state(path: str | Path) -> dict[str, Tensor]:
    """Load all tensors of a checkpoint, on the CPU, by key.

    Reads safetensors and torch pickles of plain tensors (never code), told by their bytes, without the wrappers of
    official files ("model", "state_dict", "teacher", …) and without the prefixes that wrappers of modules leave.

    Raises:
        InputError: the file is missing, corrupt, or holds anything but plain weights.
    """
    return read_weights(path).state


def load_content(path: str | Path) -> Any:
    """Load the content of a torch file as it was saved, for files with several state dicts; {} for a safetensors file.

    Plain data only, never code. Errors as in `load_state`.
    """
    path = Path(path)
    return {} if kind_of(path) == "safetensors" else load_plain(path)


def stored_arguments(path: str | Path) -> dict[str, Any]:
    """Command line that official torch files keep as a namespace under "args"; empty for files without one."""
    content = load_content(path)
    given = content.get("args") if isinstance(content, dict) else None
    return vars(given) if isinstance(given, Namespace) else {}


def load_into(module: nn.Module, state: Mapping[str, Tensor], what: str = "model") -> None:
    """Load a state dict into a module; all keys and shapes must match.

    Args:
        module: module to load into.
        state: tensors by key.
        what: description of the module for the error, e.g. "LTRP ranker from ltrp.pth".

    Raises:
        InputError: keys are missing, unexpected or of another shape, and what the weights look like; or tensors that
            are not finite floating-point numbers.
    """
    _check_fit(module.state_dict(), state, what)
    module.load_state_dict(dict(state))


def load_built(build: Callable[[], Module], state: Mapping[str, Tensor], what: str) -> Module:
    """Build a module from a file's configuration and load its weights, as `load_into` does.

    Keys and shapes are compared before memory is taken: a damaged configuration may describe a model of terabytes.

    Args:
        build: builds the module; called twice, first without memory.
        state, what: as for `load_into`.
    """
    with torch.device("meta"):
        own = build().state_dict()
    _check_fit(own, state, what)
    module = build()
    load_into(module, state, what)
    return module


def check_depths(measured: Mapping[str, Any], stored: Mapping[str, Any], what: str) -> None:
    """Raise `InputError` if a stored configuration has other numbers of blocks than the tensors beside it.

    Building millions of blocks takes forever, even without memory for their weights.

    Args:
        measured: configuration that follows from the tensors.
        stored: configuration in the file.
        what: description of the model for the error.
    """
    for name in ("depth", "decoder_depth"):
        if name in stored and name in measured and stored[name] != measured[name]:
            raise InputError(f"{what}: its configuration says {name} {stored[name]}, its tensors {measured[name]}")


def _check_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    _check_numbers(state, own, what)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {_size(state[key])} instead of {_size(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        raise mismatch(what, state, missing, unexpected, shapes)


def _check_numbers(state: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Raise `InputError` for tensors that are no plain floating-point numbers where the model has some."""
    for key, value in state.items():
        if key not in own or not own[key].is_floating_point() or value.is_meta:
            continue
        if not value.is_floating_point() or value.layout != torch.strided:
            kind = str(value.dtype).removeprefix("torch.") if value.layout == torch.strided else "sparse"
            raise InputError(f"weights do not fit {what}: {key} is {kind}, not of plain floating-point numbers")
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"weights do not fit {what}: {key} holds NaN or infinite numbers")


def mismatch(
    what: str,
    state: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str] | None = None,
    shapes: list[str] | None = None,
) -> InputError:
    """Error for weights of another model, in one line."""
    parts = [
        f"{len(keys)} {name}: {', '.join(keys[:4])}{', …' if len(keys) > 4 else ''}"
        for name, keys in (
            ("keys missing", missing),
            ("unexpected", unexpected or []),
            ("of another shape", shapes or []),
        )
        if keys
    ]
    return InputError(f"weights do not fit {what}: {'; '.join(parts)}; the file looks like {looks_like(state)}")


def save_safetensors(
    path: str | Path,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write weights as safetensors, atomically: the file is either the old or the complete new one.

    Args:
        path: file to write.
        state: tensors by key.
        metadata: entries by name; values that are not strings are stored as JSON.
        dtype: type of the stored floating-point tensors; None keeps each as it is. Counters stay integers.

    Raises:
        InputError: the file cannot be written, or a number is too large for the type.
    """
    path = Path(path)
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()}
    tensors = {key: _stored(key, value, dtype) for key, value in state.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_ordered(safetensors_bytes(tensors, metadata=text)))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # noqa: PTH101
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"cannot write weights {path}: {error.strerror}") from None


def _stored(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu()
    if dtype is None or not value.is_floating_point():
        return value.contiguous().clone()
    converted = value.to(dtype).contiguous().clone()
    if bool((converted.isinf() & ~value.isinf()).any()):
        raise InputError(f"cannot store {key} as {str(dtype).removeprefix('torch.')}: its largest number does not fit")
    return converted


def _ordered(data: bytes) -> bytes:
    """The same safetensors file with a sorted header: the order of the library varies from run to run."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
