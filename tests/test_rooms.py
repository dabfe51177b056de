"""Arrows between the rooms point downwards only (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "results": (),
    "selectors": (),
    # selectors.backbones: a task's ViT is read by the same rules as a selector's.
    "tasks": ("selectors.topk", "selectors.vit", "selectors.backbones", "selectors.checkpoints", "selectors.errors"),
    "harness": ("selectors", "tasks", "results"),
}


def imports(file: Path) -> list[str]:
    """Names under ltrp_bench that a file imports, without the prefix."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module] if node.module != "ltrp_bench" else [f"ltrp_bench.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names += [a.name for a in node.names]
    return [n.removeprefix("ltrp_bench.") for n in names if n.startswith("ltrp_bench.")]


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_point_downwards(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if not any(name == a or name.startswith(a + ".") for a in (room, *ALLOWED[room]))
    ]
    assert not wrong, wrong
