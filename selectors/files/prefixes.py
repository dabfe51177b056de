"""State dicts inside checkpoints: wrappers around them, and prefixes before their keys.

Trainings wrap a model, and each wrapper leaves a word before every key: `module.` (DataParallel), `_orig_mod.`
(torch.compile), `model.` (Lightning), `teacher.backbone.` (DINOv2), `visual.trunk.` (open_clip), and chains of them. A
list of such words is never complete, so a prefix is found by a key that tells the model: what stands before
`blocks.0.attn.qkv.weight` is the prefix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from ltrp_bench.selectors.errors import InputError

WRAPPERS: Final = (
    "model",
    "state_dict",
    "teacher",
    "model_state_dict",
    "model_ema",
    "module",
    "net",
    "target_encoder",
    "state_dict_ema",
    "ema_state_dict",
    "ema",
    "network",
    "model_state",
    "weights",
    "params",
    "encoder",
    "backbone",
    "student",
)
"""Keys of a checkpoint under which the state dict lies; the first one that is there is taken."""

_INNER: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Words of wrappers that may stand before any part of a model."""

_AVERAGED: Final = ("teacher", "ema", "model_ema", "ema_model", "target_encoder")
_SECOND: Final = ("student", "momentum_encoder", "momentum", "online_encoder")


def unwrap_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict inside the content of a torch file.

    Without the wrappers of official files ("model", "state_dict", "teacher", …), the words of wrappers within keys, and
    a "module." before all of them.

    Raises:
        InputError: there is none.
    """
    while isinstance(content, Mapping):
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner or len(tensors) > len(content) / 2:
            if tensors:
                return without_wrappers(tensors)
            break
        content = next((one for one in inner if one), inner[0])
    kind = f"keys {', '.join(map(str, list(content)[:4]))}" if isinstance(content, Mapping) else type(content).__name__
    raise InputError(f"cannot read weights {path}: no state dict inside ({kind})")


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict without the words of wrappers in its keys, and without a "module." before all of them."""
    found = {_without_inner(key): value for key, value in state.items()}
    while found and all(key.startswith("module.") for key in found):
        found = strip_prefix(found, "module.")
    return found


def _without_inner(key: str) -> str:
    for word in _INNER:
        key = key.replace(word, "")
    return key


def strip_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Entries with keys that start with `prefix`, under keys without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def prefixes_of(state: Mapping[str, Tensor], *telltale: str) -> list[str]:
    """Prefixes under which all the tell-tale keys lie, best first: none, the teacher's, the shortest; students last.

    Args:
        state: tensors by key.
        telltale: regular expressions of keys of the model that is looked for, without a prefix.
    """
    found: list[set[str]] = []
    for pattern in telltale:
        ends = re.compile(rf"^((?:.*\.)?){pattern}$")
        found.append({m[1] for key in state if (m := ends.match(key))})
    return sorted(set.intersection(*found), key=_order) if found else []


def _order(prefix: str) -> tuple[bool, int, int, str]:
    words = prefix.split(".")[:-1]
    rank = 0 if any(word in _AVERAGED for word in words) else 2 if any(word in _SECOND for word in words) else 1
    return prefix != "", rank, len(words), prefix


def bare_state(state: Mapping[str, Tensor], *telltale: str) -> dict[str, Tensor]:
    """The part of a state dict that lies under the best prefix of the tell-tale keys; all of it if there is none."""
    found = prefixes_of(state, *telltale)
    return strip_prefix(state, found[0]) if found else dict(state)


def ambiguous(found: Sequence[str]) -> bool:
    """True if the best two prefixes are equally good, so that neither may be taken silently."""
    return len(found) > 1 and _order(found[0])[:3] == _order(found[1])[:3]
