"""Counts of the fuzzed inputs, printed at the end of the tests."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

COUNTS: dict[str, Counter[str]] = {}
KINDS = ("taken", "refused", "fault", "hang", "executed")


@pytest.fixture
def fuzz_counts() -> dict[str, Counter[str]]:
    """Format -> outcome -> number of inputs."""
    return COUNTS


@pytest.fixture
def fuzz_size(request: pytest.FixtureRequest) -> int:
    """Number of inputs a format, `--fuzz`."""
    return int(request.config.getoption("--fuzz"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not COUNTS:
        return
    terminalreporter.write_line("fuzzed inputs: " + ", ".join(KINDS))
    for name, counts in COUNTS.items():
        terminalreporter.write_line(f"  {name}: " + ", ".join(str(counts[kind]) for kind in KINDS))
    if out := os.environ.get("LTRP_BENCH_FUZZ_COUNTS"):
        Path(out).write_text(json.dumps(COUNTS))
