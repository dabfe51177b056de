"""The table of families in docs/backbones.md has a row for each family that is tested, with its columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from vit_families import FAMILIES, UNREAD, family

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "backbones.md").read_text()


def columns(model: str) -> list[list[str]]:
    """Attention, features, gradient, drop and fill of the rows about a model."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    return [row[2:] for row in rows if len(row) == 7 and f"`{model}`" in row[1]]


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_its_row(name: str) -> None:
    attention = "received" if family(name).cls_token is None else "yes"
    assert [attention, *["yes"] * 4] in columns(FAMILIES[name][0])


def test_families_that_are_read_in_part_and_those_that_are_not() -> None:
    assert set(UNREAD) == {"parallel-things", "differential"}
    assert columns("vit_small_patch16_36x1_224") == [["refused", "yes", "refused", "yes", "yes"]]
    assert columns('attn_layer="diff"') == [["refused", "yes", "yes", "yes", "yes"]]
    for model in ("swin_tiny_patch4_window7_224", "beit_base_patch16_224"):
        assert columns(model) == [[*["refused"] * 4, "yes"]]


def test_the_tests_that_it_names_exist() -> None:
    files = re.findall(r"`(tests/[\w/]+test_\w+\.py)`", PAGE)
    text = "".join((ROOT / file).read_text() for file in files)
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(files) == 4 and len(named) == 14 and all(f"def {test}(" in text for test in named)
