"""The rooms must not shadow the standard library for what is started in the repository's root."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_selectors_in_the_root_is_the_standard_library() -> None:
    code = "import selectors, subprocess; print(selectors.__file__); selectors.DefaultSelector().close()"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(out.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_no_room_has_an_init_file() -> None:
    for room in ("harness", "selectors", "tasks", "results"):
        assert (ROOT / room).is_dir() and not (ROOT / room / "__init__.py").exists()
