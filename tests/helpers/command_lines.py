"""Command lines that several tests of the command line start from."""

from __future__ import annotations

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]
"""`run("leaderboard", ...)` -> (exit code, stdout, stderr)."""

BASIC = ("run", "--selector", "plain", "--selector", "random", "--task", "toy-coverage", "--device", "cpu", "--no-full")
SMALL = (*BASIC, "--task-option", "images=20")
SHAPES = ("run", "--selector", "random", "--task", "shapes-coverage", "--device", "cpu")
SHAPES_HALF = (*SHAPES, "--task-option", "images=12", "--keep-ratio", "0.5")
FINISHED = (
    *("run", "--task", "shapes-coverage", "--limit", "12", "--device", "cpu"),
    *("--selector", "variance", "--selector", "center", "--selector", "oracle", "--selector", "random"),
    *("--keep-ratio", "0.25", "--keep-ratio", "0.5"),
)
"""The run whose results the fixture `runs` holds."""
