"""Reading and writing of weights: plain tensors only, with an error of one line for any other file."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from ltrp_bench.selectors.errors import BenchError, InputError
from ltrp_bench.selectors.files.file_kinds import kind_of
from ltrp_bench.selectors.files.plain_pickles import load_plain
from ltrp_bench.selectors.files.prefixes import bare_state, strip_prefix, unwrap_state, without_wrappers

__all__ = [
    "bare_state",
    "load_content",
    "load_into",
    "load_metadata",
    "load_state",
    "looks_like",
    "mismatch",
    "resolve",
    "save_safetensors",
    "sha256_of",
    "shipped",
    "strip_prefix",
    "unwrap_state",
]

WEIGHTS = Path(__file__).parent / "weights"
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")

# Keys that identify a kind of model, most specific first, for the "looks like" of error messages.
SIGNS: tuple[tuple[str, str], ...] = (
    (r"^score_net\.", "an LTRP ranker (official wrapping)"),
    (r"^score_head\.", "an LTRP ranker of ltrp-bench"),
    (r"^(wfm\.|decoder_blocks\.\d+\.cross_attn\.)", "a CrossMAE pretraining checkpoint"),
    (r"^register_tokens$", "DINOv2 with registers, which the ViTs here do not have"),
    (r"^blocks\.\d+\.mlp\.w12\.", "DINOv2's giant, with an MLP that the ViTs here do not have"),
    (r"^blocks\.\d+\.ls1\.gamma$", "DINOv2 or DeiT III (layer scale)"),
    (
        r"^(.*\.)?transformer\.resblocks\.|^(.*\.)?visual\.(class_embedding|conv1)",
        "CLIP in OpenAI's or open_clip's own names",
    ),
    (r"^(.*\.)?vision_model\.|^(text_model|logit_scale|logit_bias)(\.|$)", "CLIP or SigLIP"),
    (r"^norm_pre\.weight$", "the image tower of CLIP: give model=TIMM_NAME"),
    (r"^attn_pool\.", "the image tower of SigLIP or of another model with attention pooling"),
    (r"^(mask_token|decoder_blocks\.)", "a MAE pretraining checkpoint"),
    (r"^score_predictor\.", "a DynamicViT"),
    (r"^policy\.state_encoder\.", "a GFNet"),
    (
        r"^(backbone\.)?.*last_layer\.weight_[gv]|^head\.mlp\.|^student\.|^backbone\.cls_token",
        "a DINO checkpoint",
    ),
    (r"^(bbox_head|rpn_head|roi_head|mask_head|transformer)\.", "a detector"),
    (r"^decode_head\.", "a segmentor"),
    (r"^layer4\.\d+\.conv1\.weight", "a ResNet"),
    (r"^blocks\.0\.attn\.qkv\.weight", "a plain vision transformer (timm, DeiT, EViT or DINO backbone)"),
)


P = ParamSpec("P")
R = TypeVar("R")


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


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of the bytes of a file."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read weights {path}: {error.strerror}") from None
    return digest.hexdigest()


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
    path = Path(path)
    if kind_of(path) != "safetensors":
        return unwrap_state(load_content(path), path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return without_wrappers({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read weights {path}: corrupt safetensors file ({_short(error)})") from None


def load_content(path: str | Path) -> Any:
    """Load the content of a torch file as it was saved, for files with several state dicts; {} for a safetensors file.

    Plain data only, never code. Errors as in `load_state`.
    """
    path = Path(path)
    return {} if kind_of(path) == "safetensors" else load_plain(path)


def load_into(module: nn.Module, state: Mapping[str, Tensor], what: str = "model") -> None:
    """Load a state dict into a module; all keys and shapes must match.

    Args:
        module: module to load into.
        state: tensors by key.
        what: description of the module for the error, e.g. "LTRP ranker from ltrp.pth".

    Raises:
        InputError: keys are missing, unexpected or of another shape; the message says what the weights look like.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {_size(state[key])} instead of {_size(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        raise mismatch(what, state, missing, unexpected, shapes)
    module.load_state_dict(dict(state))


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


def looks_like(state: Mapping[str, Tensor]) -> str:
    """Guess, for error messages, which model a state dict belongs to."""
    for pattern, name in SIGNS:
        if any(re.search(pattern, key) for key in state):
            return name
    return f"something unknown ({', '.join(list(state)[:3])}, …)" if state else "an empty checkpoint"


def save_safetensors(path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write weights as safetensors, atomically: the file is either the old or the complete new one.

    Args:
        path: file to write.
        state: tensors by key.
        metadata: entries by name; values that are not strings are stored as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()}
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
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
