"""`ltrp-bench compare` on two real runs: regressions are found, options of speed change nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ltrp_bench.harness.cli.main import run_command

RUN = ["run", "--limit", "40", "--task", "shapes-coverage", "--task", "shapes-det", "--device", "cpu", "--no-full"]

# A selector that is there to be worse: LTRP's scores with a third of the patches scrambled.
WORSE = """
import torch
from ltrp_bench.selectors.registry import create_selector

class Ltrp:
    name = "ltrp"
    def __init__(self, scrambled: float = 0.0):
        self._inner = create_selector("ltrp", domain="shapes")
        self._share = scrambled
        for name in ("supervision", "mean", "std", "patch_size", "input_size"):
            setattr(self, name, getattr(self._inner, name))
    def scores(self, images):
        scores = self._inner.scores(images)
        noise = torch.rand(scores.shape, generator=torch.Generator().manual_seed(3))
        swap = torch.rand(scores.shape, generator=torch.Generator().manual_seed(4)) < self._share
        return torch.where(swap, scores.amin() + (scores.amax() - scores.amin()) * noise, scores)
"""


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "worse.py").write_text(WORSE)
    return tmp_path


def _run(out: str, *more: str) -> None:
    own = ["--selector", "worse:Ltrp", "--selector", "random", "--keep-ratio", "0.25", "--keep-ratio", "0.5"]
    assert run_command([*RUN, *own, "--out", out, *more]) == 0


def test_a_worse_selector_is_caught_and_a_rerun_is_not(beside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("base")
    _run("same", "--batch-size", "3", "--workers", "0")
    _run("worse", "--selector-option", "worse:Ltrp.scrambled=0.33")
    capsys.readouterr()

    compare = ["compare", "base", "same", "--test", "paired", "--out", "same.md", "--junit", "same.xml"]
    assert run_command(compare) == 0
    out = capsys.readouterr().out
    assert "No regression in 8 rows (8 by a paired bootstrap test, Holm-corrected)" in out
    assert "(+0.0000)" in out and "(-" not in out and ", p " not in out
    suite = ElementTree.parse("same.xml").getroot().find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("8", "0")

    assert run_command(["compare", "base", "worse", "--junit", "worse.xml"]) == 1
    shown = capsys.readouterr()
    assert "worse:Ltrp at keep ratio 0.25: worse, all -" in shown.err and "random" not in shown.err
    failed = ElementTree.parse("worse.xml").getroot().findall("testsuite/testcase/failure")
    assert len(failed) >= 3 and all("worse" in str(one.get("message")) for one in failed)
    # The CSVs of both are compared by the tolerance, with the same outcome.
    for name in ("base", "worse"):
        assert run_command(["leaderboard", name, "--csv", f"{name}.csv", "--no-intervals"]) == 0
    capsys.readouterr()
    assert run_command(["compare", "base.csv", "worse.csv"]) == 1
    assert "by tolerance 0.005" in capsys.readouterr().out
    assert run_command(["compare", "base.csv", "worse.csv", "--test", "paired"]) == 1
    assert "both sides must be run folders" in capsys.readouterr().err
    assert run_command(["compare", "base", "same", "--test", "other"]) == 2
