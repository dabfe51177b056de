"""Names of selectors in tables: the label, or the name with the backbone that was chosen."""

from __future__ import annotations

from typing import Any

import pytest

from ltrp_bench.harness.evaluation.recipes import SelectorRecipe

TAGGED = "vit_base_patch16_clip_quickgelu_224.openai"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, None),
        ({"weights": "/data/clip.pth"}, None),
        ({"options": {"model": f"timm:{TAGGED}"}}, f"clip ({TAGGED})"),
        ({"weights": f"timm:{TAGGED}"}, f"clip ({TAGGED})"),
        ({"weights": "hf-hub:lab/tower"}, "clip (lab/tower)"),
        ({"weights": "/data/w.pth", "options": {"model": "vit_base_patch16_224"}}, "clip (vit_base_patch16_224)"),
        ({"weights": "C:/w.pth", "options": {"block": -1}}, None),
        ({"label": "mine", "options": {"model": f"timm:{TAGGED}"}}, "mine"),
    ],
)
def test_a_backbone_that_was_chosen_is_in_the_name(given: dict[str, Any], shown: str | None) -> None:
    assert SelectorRecipe(name="clip", **given).shown == shown
