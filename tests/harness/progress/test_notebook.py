from __future__ import annotations

from typing import Any

import pytest

from ltrp_bench.harness.progress.notebook import NotebookProgress

pytest.importorskip("IPython")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a notebook was given, in order."""
    states: list[dict[str, str]] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            states.append(content)

    def display(content: dict[str, str], **options: Any) -> Handle:
        states.append(content)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    return states


def test_the_bar_ends_with_all_images(shown: list[dict[str, str]]) -> None:
    with NotebookProgress() as progress:
        progress.start({"a": 4, "b": 2})
        progress.current("<x> on shapes")
        progress.advance("a", 4, None)
        progress.advance("b", 2, 0.5)
    assert shown[0]["text/plain"] == "0/6 images"
    assert shown[-1]["text/plain"] == "6/6 images · 2 evaluated now · done"
    assert '<progress value="6" max="6"' in shown[-1]["text/html"]


def test_after_an_error_the_last_state_stays(shown: list[dict[str, str]]) -> None:
    with pytest.raises(RuntimeError), NotebookProgress() as progress:
        progress.start({"a": 4})
        progress.current("<x> on shapes")
        raise RuntimeError
    assert "&lt;x&gt; on shapes" in shown[-1]["text/html"] and "done" not in shown[-1]["text/plain"]


def test_without_progress_notes_are_printed(shown: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    with NotebookProgress(shown=False) as progress:
        progress.start({"a": 4})
        progress.notice("something")
    assert shown == [] and capsys.readouterr().out == "note: something\n"
