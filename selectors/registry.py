"""Selectors by name: those of installed packages (entry points) and `package.module:Class`.

A name may carry the tag of bundled weights, "ltrp.photos"; plain "ltrp" takes the weights of the task's domain. The tag
of a selector without weights may set an option, "oracle.unseen".
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ltrp_bench.selectors.base import Selector, as_selector
from ltrp_bench.selectors.checkpoints import HUB, TIMM, WEIGHTS, sha256_of, shipped
from ltrp_bench.selectors.errors import InputError, UsageError, WeightsNotGiven, nearest, unknown_name
from ltrp_bench.selectors.files.file_kinds import refuse_folder
from ltrp_bench.selectors.option_checks import check_options, signature_of
from ltrp_bench.selectors.option_checks import option_types as types_of
from ltrp_bench.selectors.zoo.cache import take
from ltrp_bench.selectors.zoo.table import find, ways

GROUP = "ltrp_bench.selectors"
SHAPES_PATCH = 8


@dataclass(frozen=True)
class SelectorSpec:
    """A selector before it is built, with all that its scores depend on.

    Attributes:
        name: name with the tag of bundled weights, e.g. "ltrp.shapes".
        factory: class or function that builds the selector.
        weights: file of the weights, or None.
        options: keyword arguments other than the weights.
    """

    name: str
    factory: Any
    weights: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def create(self) -> Selector:
        """Build the selector.

        Raises:
            UsageError: an unknown option, or a value of the wrong type or out of range.
            InputError: weights that do not fit.
        """
        arguments = dict(self.options) if self.weights is None else {**self.options, "weights": self.weights}
        check_options(f"selector {self.name!r}", self.factory, arguments, unlisted=("weights",))
        return as_selector(self.factory(**arguments), self.name)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the scores, for the fingerprint: name, options, hash of the weights, version."""
        defaults = {
            p.name: p.default
            for p in signature_of(self.factory).parameters.values()
            if p.default is not p.empty and p.name != "weights"
        }
        options = {**defaults, **self.options}
        for later in _declared(self.factory, "later_options"):
            if later in defaults and options[later] == defaults[later]:
                del options[later]
        return {
            "name": self.name,
            "options": {k: _plain(v) for k, v in sorted(options.items())},
            "weights": None if self.weights is None else sha256_of(self.weights),
            "version": _declared(self.factory, "version"),
        }


def resolve(
    name: str, weights: str | Path | None = None, domain: str | Sequence[str] | None = None, **options: Any
) -> SelectorSpec:
    """Find a selector by name without building it.

    Args:
        name: "random", "ltrp", "ltrp.photos" or "package.module:Class".
        weights: file of weights; "timm:MODEL" or "hf-hub:OWNER/NAME" (from the hub or its cache); or the name of an
            official checkpoint, see `zoo`, which brings the options that its file does not hold; None takes bundled
            weights, under the tag or for the domain.
        domain: domain of the task, "shapes" or "photos"; or several tags, of which the first with weights is taken,
            e.g. ("shapes", "shapes0"), since supervised weights are bundled per fold.
        options: keyword arguments of the selector. A `model` with "timm:" or "hf-hub:" before it brings its weights,
            if none are given.

    Raises:
        UsageError: an unknown name or tag.
        InputError: a missing file of weights.
    """
    base, tag = (name, None) if ":" in name else _split_tag(name)
    factory = _import(name) if ":" in name else _load(base)
    family = _declared(factory, "weights_family")
    domains = (domain,) if isinstance(domain, str) else tuple(domain or ())
    path: Path | None = None
    parameters = signature_of(factory).parameters
    if weights is None and "model" in parameters and str(options.get("model")).startswith((TIMM, HUB)):
        weights = options.pop("model")
    if weights is not None:
        published = None if Path(weights).exists() else find(base, str(weights))
        if published is not None:
            options = {**published.options, **options}
            weights = published.url if published.on_hub else take(published)
        path = _weights_file(name, str(weights))
        if "weights" not in parameters:
            raise UsageError(f"selector {name!r} takes no weights, got {weights}")
        if str(weights).startswith(TIMM) and "model" in parameters:
            options.setdefault("model", str(weights))
    elif family is not None:
        tag = _shipping_tag(name, base, tag, domains)
        path = shipped(f"{family}.{tag}")
    elif tag is not None and (tag_option := _declared(factory, "tag_option")) is not None:
        options.setdefault(tag_option, tag)
    elif tag is not None:
        raise UsageError(f"selector {base!r} has no weights, so no tag {tag!r}; use {base!r}")
    elif "weights" in parameters and parameters["weights"].default is inspect.Parameter.empty:
        raise UsageError(f"selector {name!r} needs weights, and none ship: {ways(base)}")
    if "shapes" in domains and "patch_size" not in options and path is None and _declared(factory, "task_patch"):
        options["patch_size"] = SHAPES_PATCH
    full = base if tag is None or weights is not None else f"{base}.{tag}"
    return SelectorSpec(full, factory, path, options)


def create_selector(name: str, weights: str | Path | None = None, **options: Any) -> Selector:
    """Build a selector by name; arguments, including `domain`, and errors as in `resolve`."""
    return resolve(name, weights, options.pop("domain", None), **options).create()


def identity(
    name: str,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    domain: str | Sequence[str] | None = None,
) -> dict[str, Any]:
    """Everything that determines the scores of a selector, as JSON; see `SelectorSpec.identity`."""
    return resolve(name, weights, domain, **dict(options or {})).identity()


def selector_names() -> list[str]:
    """All installed names, sorted."""
    return sorted(_installed())


def option_types(name: str) -> dict[str, Any]:
    """Option -> type of a selector's constructor, as annotated or as its default is. Raises UsageError."""
    return types_of(_import(name) if ":" in name else _load(_split_tag(name)[0]))


def shipped_tags(name: str) -> list[str]:
    """Tags of the bundled weights of a selector, e.g. ["photos", "shapes"] for "ltrp"."""
    family = _declared(_load(name), "weights_family")
    return sorted(p.stem.split(".", 1)[1] for p in WEIGHTS.glob(f"{family}.*.safetensors")) if family else []


def _declared(factory: Any, attribute: str) -> Any:
    """Class attribute of a selector before it is built; `Selector`'s default for functions and third-party classes."""
    return getattr(factory, attribute, getattr(Selector, attribute))


@lru_cache(maxsize=1)
def _installed() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=GROUP)}


def _weights_file(name: str, weights: str) -> Path:
    """File of the weights; `InputError` if it does not exist."""
    if weights.startswith((TIMM, HUB)):
        # Imported here: timm takes seconds, and few commands need it.
        from ltrp_bench.selectors.vit.hub import hub_file

        return hub_file(weights, name)
    path = Path(weights).expanduser()
    if not path.exists():
        raise InputError(f"weights of selector {name!r}: no file {path}; {ways(_split_tag(name)[0], weights)}")
    refuse_folder(path)
    return path


def _shipping_tag(name: str, base: str, tag: str | None, domains: Sequence[str]) -> str:
    """Tag of the bundled weights: the one given, else the first of `domains` that has weights."""
    tags = shipped_tags(base)
    there = f"bundled: {', '.join(tags) or 'none'}"
    if tag is not None and tag not in tags:
        near = nearest(tag, tags)
        hint = f"did you mean '{base}.{near}'?" if near else f"for a file of your own: --weights {base}=FILE"
        raise UsageError(f"no bundled weights named {name!r} ({there}); {hint}")
    if tag is not None:
        return tag
    if not domains:
        raise UsageError(f"selector {name!r} needs weights: take bundled ones by their tag ({there}), or {ways(base)}")
    found = next((d for d in domains if d in tags), None)
    if found is None:
        raise WeightsNotGiven(
            f"selector {name!r} has no weights for {domains[0]} ({there}): give --weights {name}=…; {ways(base)}"
        )
    return found


def _split_tag(name: str) -> tuple[str, str | None]:
    base, dot, tag = name.partition(".")
    return base, tag if dot else None


def _load(name: str) -> Any:
    found = _installed().get(name)
    if found is None:
        raise unknown_name("selector", name, _installed())
    return found.load()


def _import(name: str) -> Any:
    """Import the object named by `package.module:Class`."""
    if not re.fullmatch(r"[\w.]+:\w+", name):
        raise UsageError(f"{name!r} is not of the form package.module:Class")
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(f"selector {name!r}: cannot import {error.name!r}; is it on the Python path?") from error
    except (Exception, SystemExit) as error:
        # Third-party code may raise anything; its author needs to see it, in one line.
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UsageError(f"selector {name!r}: importing module {module!r} failed: {why}") from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise UsageError(f"selector {name!r}: module {module!r} has no {attribute!r}") from error


def _plain(value: Any) -> Any:
    """A value as JSON stores it; other objects as text."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, Real):  # NumPy's numbers
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value)
