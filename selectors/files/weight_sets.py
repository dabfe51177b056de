"""Sets of weights inside a file: what is wrapped around a state dict, and the choice between a model and its average.

Trainings store a model under "model" or "state_dict", and often its moving average beside it ("model_ema", "teacher").
Which of them a loader takes, the line that says so, and the option `ema` for the other one are decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.file_kinds import kind_of
from ltrp_bench.selectors.files.plain_pickles import load_plain
from ltrp_bench.selectors.files.prefixes import ambiguous, is_average, prefixes_of, strip_prefix, without_wrappers

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
    "ema_model_state_dict",
    "ema_model",
    "ema_net",
    "ema",
    "network",
    "model_state",
    "weights",
    "params",
    "params_ema",
    "encoder",
    "backbone",
    "student",
)
"""Keys of a checkpoint under which the state dict lies; the first one that is there is taken."""

_LEAST = 2
"""Number of tensors from which on a mapping under another key is taken for a state dict."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of weights of a file.

    Attributes:
        path: the file.
        state: tensors by key.
        beside: what lies beside the weights, e.g. "args" or "meta"; empty for safetensors.
        ema: the option: True for a moving average, False for the weights that it is an average of, None for either.
        note: line that says which of two sets was taken; empty if there is one set alone.
        met: True if `ema` has decided.
    """

    path: Path
    state: dict[str, Tensor]
    beside: Mapping[str, Any] = field(default_factory=dict)
    ema: bool | None = None
    note: str = ""
    met: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """The note, if there is one."""
        return (self.note,) if self.note else ()

    def under(self, *telltale: str) -> Weights:
        """The part under the best prefix of the tell-tale keys, see `prefixes_of`; all of it if there is none.

        Raises:
            InputError: several models of which none is to be preferred.
            UsageError: `ema` is given, and the file holds one set of weights alone.
        """
        prefix, found = self.prefix_of(*telltale)
        return replace(found, state=strip_prefix(self.state, prefix))

    def prefix_of(self, *telltale: str) -> tuple[str, Weights]:
        """The prefix that `under` takes off, and these weights with the note on it; errors as there."""
        found = prefixes_of(self.state, *telltale)
        pool = _pool(found, self.ema, is_average)
        if ambiguous(pool):
            names = ", ".join(f"{prefix}*" for prefix in pool[:3])
            raise InputError(f"{self.path.name} holds several models ({names}): save the state dict of one alone")
        note, met = self.note, self.met
        if pool:
            note = note or _note(self.path, pool[0], found, is_average, "{}*".format)
            met = met or _met(pool[0], found, self.ema, is_average)
        if self.ema is not None and not met:
            raise UsageError(f"ema={str(self.ema).lower()}: {self.path.name} holds one set of weights alone")
        return (pool[0] if pool else ""), replace(self, note=note, met=met)


def read_weights(path: str | Path, ema: bool | None = None) -> Weights:
    """Read all tensors of a file, on the CPU; see `checkpoints.load_state`, also for the errors.

    Args:
        path: torch or safetensors file.
        ema: which of a model and its moving average to take, if the file holds both; None takes the first of
            `WRAPPERS`, and the average of two under prefixes.
    """
    path = Path(path)
    if kind_of(path) != "safetensors":
        return unwrap(load_plain(path), path, ema)
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"cannot read weights {path}: corrupt safetensors file ({why[0][:120]})") from None
    return Weights(path=path, state=without_wrappers(state), ema=ema)


def unwrap(content: Any, path: Path, ema: bool | None = None) -> Weights:
    """The weights inside the content of a torch file.

    Without the wrappers of official files ("model", "state_dict", "teacher", …), the words of wrappers within keys, and
    a "module." before all of them.

    Raises:
        InputError: there are none, or several of which none is to be preferred.
    """
    whole, note, met = content, "", False
    while isinstance(content, Mapping):
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        names = [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        names = [key for key in names if _holds_tensors(content[key])] or names
        if not tensors and not names:
            tensors = {str(k): torch.from_numpy(v.copy()) for k, v in content.items() if _is_numbers(v)}
            names = [] if tensors else _unnamed(content, path)
        if not names or len(tensors) > len(content) / 2:
            if tensors:
                beside = whole if isinstance(whole, Mapping) and whole is not content else {}
                return Weights(path=path, state=without_wrappers(tensors), beside=beside, ema=ema, note=note, met=met)
            break
        average = _swapped if _is_mmengine(content) else is_average
        taken = _pool(names, ema, average)[0]
        note, met = note or _note(path, taken, names, average), met or _met(taken, names, ema, average)
        content = content[taken]
    kind = f"keys {', '.join(map(str, list(content)[:4]))}" if isinstance(content, Mapping) else type(content).__name__
    raise InputError(f"cannot read weights {path}: no state dict inside ({kind})")


def _pool(names: Sequence[str], ema: bool | None, average: Callable[[str], bool]) -> list[str]:
    """Those of several sets that `ema` allows, all of them if it allows none."""
    return [name for name in names if ema in (None, average(name))] or list(names)


def _met(taken: str, names: Sequence[str], ema: bool | None, average: Callable[[str], bool]) -> bool:
    return ema is not None and average(taken) == ema and any(map(average, names))


def _note(
    path: Path,
    taken: str,
    names: Sequence[str],
    average: Callable[[str], bool],
    shown: Callable[[str], str] = str,
) -> str:
    """Line about a model and its average in one file; empty unless both are there."""
    other = next((name for name in names if average(name) != average(taken)), None)
    if other is None:
        return ""
    kind = "the moving average" if average(taken) else "not the moving average"
    return (
        f"{path.name} holds two sets of weights ({shown(taken)}, {shown(other)}); took {shown(taken)}, {kind}: "
        f"ema={str(not average(taken)).lower()} takes the other"
    )


def _is_mmengine(content: Mapping[str, Any]) -> bool:
    meta = content.get("meta")
    return "message_hub" in content or (isinstance(meta, Mapping) and "mmengine_version" in meta)


def _swapped(name: str) -> bool:
    """`is_average` for mmengine, which saves the average as the model, and the model as "ema_state_dict"."""
    return name == "state_dict"


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.isnative


def _holds_tensors(value: Any) -> bool:
    """True for a mapping with tensors, or with one of `WRAPPERS` that has some."""
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(one, Tensor) for one in value.values()) or any(_holds_tensors(value.get(k)) for k in WRAPPERS)


def _unnamed(content: Mapping[str, Any], path: Path) -> list[str]:
    """The one key under which a state dict lies, if it is none of `WRAPPERS`; `InputError` if there are several."""
    found = [
        key
        for key, value in content.items()
        if isinstance(key, str)
        and isinstance(value, Mapping)
        and sum(isinstance(name, str) and isinstance(one, Tensor) for name, one in value.items()) >= _LEAST
    ]
    if len(found) > 1:
        raise InputError(
            f"cannot read weights {path}: it holds several state dicts ({', '.join(found[:4])}): save one of them alone"
        )
    return found
