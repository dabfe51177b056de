"""docs/label-sets.md agrees with the table of timm's tags; `python` this file to print what it must hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
import timm

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.supervision import CLASSIFIERS
from ltrp_bench.selectors.vit.timm_tag_table import PARTS
from ltrp_bench.selectors.vit.timm_tags import label_sets_of
from ltrp_bench.tasks.splits.label_sets import LABEL_SETS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "label-sets.md"


def label_set_lines() -> list[str]:
    lines = ["| name | label set | classes | contains | |", "|---|---|---|---|---|"]
    for one in LABEL_SETS.values():
        classes = "open" if one.kind == "open" else f"{one.classes:,}"
        inner = ", ".join(f"`{name}`" for name in one.contains) or "–"
        lines.append(f"| `{one.name}` | {one.title} | {classes} | {inner} | {one.note} |")
    return lines


def part_lines() -> list[str]:
    lines = ["| part of a tag | architectures | label sets | why |", "|---|---|---|---|"]
    for part in PARTS:
        architectures = "all" if part.architectures == "*" else code(part.architectures)
        label_sets = "not published" if part.label_sets is None else ", ".join(part.label_sets) or "none"
        lines.append(f"| {code(part.text)} | {architectures} | {label_sets} | {part.why} |")
    return lines


def code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def tag_lines() -> list[str]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name in timm.list_pretrained():
        try:
            label_sets = " + ".join(label_sets_of(name)) or "none"
        except InputError:
            label_sets = "asked for"
        found[label_sets][name.partition(".")[2]] += 1
    lines = ["| label sets | weights | tags |", "|---|---|---|"]
    for label_sets, tags in sorted(found.items(), key=lambda item: -item[1].total()):
        lines.append(f"| {label_sets} | {tags.total():,} | {', '.join(f'`{tag}`' for tag in sorted(tags))} |")
    return lines


def has(lines: list[str]) -> bool:
    return "\n".join(["", *lines, ""]) in PAGE.read_text(encoding="utf-8")


def test_every_label_set_is_listed() -> None:
    assert has(label_set_lines()), "\n".join(label_set_lines())


def test_every_part_of_tags_is_listed() -> None:
    assert has(part_lines()), "\n".join(part_lines())


def test_classifiers_are_listed() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert all(f"{outputs:,}" in text and f"`{name}`" in text for outputs, name in CLASSIFIERS.items())


@pytest.mark.skipif(timm.__version__ != "1.0.31", reason="the page lists the tags of timm 1.0.31")
def test_every_tag_is_listed() -> None:
    assert has(tag_lines()), "\n".join(tag_lines())


if __name__ == "__main__":
    print("\n\n".join("\n".join(lines()) for lines in (label_set_lines, part_lines, tag_lines)))
