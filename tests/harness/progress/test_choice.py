from __future__ import annotations

import sys
import types

import pytest

from ltrp_bench.harness.progress.choice import display, in_notebook
from ltrp_bench.harness.progress.notebook import NotebookProgress
from ltrp_bench.harness.progress.terminal import RunProgress


def with_shell(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


def test_a_kernel_gets_the_display_of_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    with_shell(types.SimpleNamespace(kernel=object()), monkeypatch)
    assert in_notebook() and isinstance(display(), NotebookProgress)


@pytest.mark.parametrize("shell", [None, types.SimpleNamespace()], ids=["IPython is imported", "IPython in a terminal"])
def test_a_terminal_gets_a_bar(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with_shell(shell, monkeypatch)
    assert not in_notebook() and isinstance(display(), RunProgress)


def test_notes_are_shown_without_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_shell(None, monkeypatch)
    with display(progress=False) as shown:
        shown.start({"a": 2})
        shown.current("random on shapes")
        shown.advance("a", 2, 0.1)
        shown.notice("something")
    assert capsys.readouterr().err == "note: something\n" and shown.worked == 2
