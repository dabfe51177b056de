"""Wrappers and prefixes come off by a tell-tale key."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ltrp_bench.selectors.files.prefixes import ambiguous, bare_state, prefixes_of, without_wrappers
from ltrp_bench.selectors.files.weight_sets import unwrap

ZERO = torch.zeros(1)
TELL = (r"blocks\.0\.w", "pos_embed")


def under(*prefixes: str) -> dict[str, torch.Tensor]:
    return {f"{p}{k}": torch.full((1,), float(i)) for i, p in enumerate(prefixes) for k in ("blocks.0.w", "pos_embed")}


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        (("",), ""),
        (("model.module.vit.",), "model.module.vit."),
        (("student.backbone.", "teacher.backbone."), "teacher.backbone."),
        (("module.momentum_encoder.", "module.base_encoder."), "module.base_encoder."),
        (("encoder.", "target_encoder."), "target_encoder."),
        (("model.", "ema.module."), "ema.module."),
        (("a.b.", ""), ""),
    ],
)
def test_the_best_prefix(prefixes: tuple[str, ...], expected: str) -> None:
    state = {**under(*prefixes), "other.blocks.0.w": ZERO}  # without positions: a decoder
    assert prefixes_of(state, *TELL)[0] == expected and not ambiguous(prefixes_of(state, *TELL))
    assert float(bare_state(state, *TELL)["pos_embed"]) == prefixes.index(expected)


def test_two_equals_are_ambiguous_and_none_leaves_all() -> None:
    assert ambiguous(prefixes_of(under("a.", "b."), *TELL))
    assert prefixes_of({"x": ZERO}, *TELL) == [] and list(bare_state({"x": ZERO}, *TELL)) == ["x"]


def test_words_of_wrappers_come_off_anywhere() -> None:
    keys = ["module._orig_mod.a", "module.b._orig_mod.c", "module.d._fsdp_wrapped_module.e"]
    assert list(without_wrappers(dict.fromkeys(keys, ZERO))) == ["a", "b.c", "d.e"]
    assert list(without_wrappers({"module.a": ZERO, "b": ZERO})) == ["module.a", "b"]
    assert list(without_wrappers({"_orig_mod.module.a": ZERO})) == ["a"]
    for counter in ("n_averaged", "steps"):
        assert list(without_wrappers({counter: ZERO, "module.module.a": ZERO})) == ["a"]
        assert list(without_wrappers({counter: ZERO, "a": ZERO})) == [counter, "a"]


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "teacher", "ema", "target_encoder", "student"])
def test_wrappers(wrapper: str) -> None:
    state = {"a": ZERO}
    found = unwrap({"epoch": 3, wrapper: {"model": state} if wrapper == "state_dict" else state}, Path("w"))
    assert list(found.state) == ["a"] and not found.note
    both = {"student": {"a": ZERO}, "teacher": {"a": ZERO + 1}}
    assert float(unwrap(both, Path("w")).state["a"]) == 1
