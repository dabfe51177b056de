"""Lines that commands print."""

from __future__ import annotations

import pytest

from ltrp_bench.harness.cli.terminal.messages import counted, print_note


def test_numbers_and_their_nouns() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_note("nothing was left out")
    assert capsys.readouterr() == ("", "note: nothing was left out\n")
