"""What tells variants of one selector or task apart: their options, in the shortest form that a reader understands.

The options of a row are JSON text with the parts of its identity that are not null. Texts and lists that nobody reads,
such as hashes and lists of classes, stand there as `#` and eight hex digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from ltrp_bench.results.schema.record import digest

LONGEST: Final = 40
"""Longest text of an option that a name shows, in characters."""

_FEW: Final = 4
"""Longest list of numbers that a name shows."""

_HASH: Final = re.compile(r"[0-9a-f]{16,}")
_WORDS: Final[Mapping[str, str]] = {"images": "limit {}", "version": "v{}", "limit_seed": "limit seed {}"}
"""Option -> form of its value; numbers without a word would say nothing."""
_BARE: Final = frozenset({"model", "weights", "data", "label_set"})
"""Options whose value says what it is."""
_OF_FILE: Final = "of the file"
"""What identities of models say whose architecture the checkpoint holds."""


def options_text(identity: Mapping[str, Any], *, model: str = "", weights: str = "") -> str:
    """The options of a selector or task as JSON text, keys sorted.

    Args:
        identity: its identity in records.
        model: name of the task's model, if it is known.
        weights: name of the file of the selector's weights, if it is known.
    """
    flat: dict[str, Any] = {}
    for key, value in identity.items():
        if key != "name":
            _flatten(value if key == "options" and isinstance(value, Mapping) else {key: value}, "", flat)
    if model:
        flat["model"] = model
    if weights:
        flat["weights"] = weights
    return json.dumps(flat, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def model_in(identity: Mapping[str, Any]) -> str:
    """Name of the model in a task's identity; "" if it has only hashes of it."""
    for value in identity.values():
        name = value.get("model") if isinstance(value, Mapping) else None
        if isinstance(name, str) and name != _OF_FILE:
            return name
    return ""


def shown_model(model: str) -> str:
    """Name of a model as tables show it: without the folder of its config, and without "timm:"."""
    return model.removeprefix("timm:") if not model.endswith(".py") else PurePath(model).stem


def differences(variants: Sequence[str]) -> list[str]:
    """For each variant what tells it from the others: "" if it has nothing that a reader understands.

    All options that differ are named, except parts of a model or a data set where something else tells them apart.

    Args:
        variants: options of different selectors or tasks of one name, see `options_text`; "" for one without.
    """
    options = [_parsed(text) for text in variants]
    differing = [key for key in dict.fromkeys(key for one in options for key in one) if _differs(options, key)]
    shown = [key for key in differing if "." not in key and all(map(_readable, _values(options, key)))]
    for key in differing:
        if key not in shown and all(map(_readable, _values(options, key))):
            more = [*shown, key]
            if len(_kinds(options, more)) > len(_kinds(options, shown)):
                shown = more
    return [" ".join(_text(key, one[key]) for key in shown if key in one) for one in options]


def _flatten(value: Mapping[str, Any], start: str, found: dict[str, Any]) -> None:
    for key, one in value.items():
        if isinstance(one, Mapping):
            _flatten(one, f"{start}{key}.", found)
        elif one is not None:
            found[f"{start}{key}"] = _short(one)


def _short(value: Any) -> Any:
    """The value, or `#` and digits of its digest where it is too long to be read."""
    if isinstance(value, str):
        if _HASH.fullmatch(value):
            return f"#{value[:8]}"
        return value if len(value) <= LONGEST else f"#{digest(value)[:8]}"
    if isinstance(value, list):
        plain = len(value) <= _FEW and all(isinstance(one, int | float) for one in value)
        return value if plain else f"#{digest(value)[:8]}"
    return value


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return dict(found) if isinstance(found, Mapping) else {}


def _values(options: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [one[key] for one in options if key in one]


def _readable(value: Any) -> bool:
    return not (isinstance(value, str) and value.startswith("#"))


def _differs(options: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len(_kinds(options, [key])) > 1


def _kinds(options: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> set[str]:
    return {json.dumps([one.get(key) for key in keys]) for one in options}


def _text(key: str, value: Any) -> str:
    name = key.rpartition(".")[2]
    if isinstance(value, list):
        value = "x".join(f"{one:g}" for one in value)
    elif not isinstance(value, str):
        value = json.dumps(value)
    if name in _BARE:
        return str(value)
    return _WORDS[name].format(value) if name in _WORDS else f"{name}={value}"
