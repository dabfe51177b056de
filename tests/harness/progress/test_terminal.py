"""Progress of a run where there is no terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.table import Table
from rich.text import Text

from ltrp_bench.harness.progress import terminal as cli_progress
from ltrp_bench.harness.progress.terminal import RunProgress, tracked


def test_lines_have_the_rate_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(second) for second in range(0, 1000, 20))
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: next(clock))
    with RunProgress(live=False) as progress:
        progress.start({"ltrp": 1000})
        progress.current("ltrp on shapes-det, seed 0")
        progress.advance("ltrp", 500, 10.0)
        progress.notice("something [odd]")
    err = capsys.readouterr().err
    assert "0/1000 images · ltrp on shapes-det, seed 0" in err
    assert re.search(r"500/1000 images · ltrp on shapes-det, seed 0 · [\d.]+ images/s · about \d+:\d\d left", err)
    assert "note: something [odd]" in err and progress.worked == 500


def test_names_that_look_like_markup_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ltrp [small] :dog: [/x]"
    table = Table(box=None)
    table.add_row(name)
    cli_progress.console().print(table)
    assert capsys.readouterr().out.strip() == name
    monkeypatch.setenv("TERM", "xterm")
    with RunProgress(live=True) as progress:
        progress.console.file = shown = io.StringIO()
        progress.start({"a": 1})
        progress.current(name)
        progress._bar.refresh()
    assert name in Text.from_ansi(shown.getvalue()).plain


def test_images_that_were_done_before_do_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(live=False) as progress:
        progress.start({"center": 10})
        progress.advance("center", 6, None)
        progress.current("center on shapes-cls, seed 0")
        progress.advance("center", 4, 1.0)
    assert capsys.readouterr().err == "6/10 images · center on shapes-cls, seed 0\n"
    assert progress.worked == 4


def test_tracked_passes_every_item_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked("resampling")(["a", "b"])) == ["a", "b"]
    assert capsys.readouterr() == ("", "")  # no terminal, no bar
