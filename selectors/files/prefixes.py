"""Prefixes before the keys of state dicts.

Trainings wrap a model, and each wrapper leaves a word before every key: `module.` (DataParallel), `_orig_mod.`
(torch.compile), `model.` (Lightning), `teacher.backbone.` (DINOv2), `visual.trunk.` (open_clip), and chains of them. A
list of such words is never complete, so a prefix is found by a key that tells the model: what stands before
`blocks.0.attn.qkv.weight` is the prefix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

_INNER: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Words of wrappers that may stand before any part of a model."""

_COUNTERS: Final = ("n_averaged", "steps")
"""Counters beside a module that torch or mmengine averages."""

_AVERAGES: Final = ("ema", "teacher", "target", "swa", "averaged")
_SECOND_AVERAGES: Final = ("momentum", "k", "m")
"""Parts of words for moving averages; those of contrastive learning come after the encoders that are trained."""


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict without the words of wrappers in its keys, and without a "module." before all of them.

    Averages that torch and mmengine wrap so have a counter beside the module, which is left out.
    """
    found = {_without_inner(key): value for key, value in state.items()}
    wrapped = {key: value for key, value in found.items() if key not in _COUNTERS}
    if len(wrapped) < len(found) and wrapped and all(key.startswith("module.") for key in wrapped):
        found = wrapped
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


def is_average(name: str) -> bool:
    """True if a wrapper or prefix is called as a moving average of weights is: "model_ema", "teacher.backbone."."""
    return bool(set(re.split(r"[._]", name)) & {*_AVERAGES, *_SECOND_AVERAGES})


def _order(prefix: str) -> tuple[bool, int, int, str]:
    words = prefix.split(".")[:-1]
    parts = set(re.split(r"[._]", prefix))
    rank = 0 if parts & set(_AVERAGES) else 2 if parts & {"student", "online", *_SECOND_AVERAGES} else 1
    return prefix != "", rank, len(words), prefix


def bare_state(state: Mapping[str, Tensor], *telltale: str) -> dict[str, Tensor]:
    """The part of a state dict that lies under the best prefix of the tell-tale keys; all of it if there is none."""
    found = prefixes_of(state, *telltale)
    return strip_prefix(state, found[0]) if found else dict(state)


def ambiguous(found: Sequence[str]) -> bool:
    """True if the best two prefixes are equally good, so that neither may be taken silently."""
    return len(found) > 1 and _order(found[0])[:3] == _order(found[1])[:3]
