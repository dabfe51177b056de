"""The package `ltrp_bench` itself: what importing it costs, and its names."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import ltrp_bench as lb

HEAVY = ("torch", "pandas", "numpy", "matplotlib", "PIL", "rich", "typer")


def in_a_new_process(code: str, folder: Path) -> str:
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_importing_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, ltrp_bench; dir(ltrp_bench); print([m for m in {HEAVY} if m in sys.modules])"
    assert in_a_new_process(code, tmp_path) == "[]"


def test_a_checkout_is_imported_from_its_root_and_from_elsewhere(tmp_path: Path) -> None:
    code = "import ltrp_bench as lb; print(type(lb.create_selector('random')).__module__)"
    for folder in (tmp_path, Path(__file__).resolve().parents[1]):
        assert in_a_new_process(code, folder) == "ltrp_bench.selectors.controls"


def test_every_name_exists_and_is_listed() -> None:
    assert lb.__version__ == version("ltrp-bench")
    for name in lb.__all__:
        assert name in dir(lb)
        assert getattr(lb, name).__doc__


def test_notebooks_without_ipywidgets_see_no_warning_of_tqdm(tmp_path: Path) -> None:
    code = (
        "import warnings, ltrp_bench as lb; lb.UsageError; warnings.simplefilter('error', append=True);"
        "warnings.warn('IProgress not found. Please update jupyter and ipywidgets.')"
    )
    assert in_a_new_process(code, tmp_path) == ""


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ltrp_bench' has no attribute 'creat_selector'"):
        _ = lb.creat_selector
