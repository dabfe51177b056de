"""`plot` and `report` on a real run; bad input in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.results.store.gallery import read_gallery
from ltrp_bench.results.store.run_store import RunStore

RUN = ["run", "--task", "shapes-coverage", "--limit", "12", "--device", "cpu", "--out", "runs"]


def test_figures_and_report_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["--selector", "variance", "--selector", "center", "--selector", "oracle", "--selector", "random"]
    assert run_command([*RUN, *own, "--keep-ratio", "0.25", "--keep-ratio", "0.5"]) == 0
    capsys.readouterr()
    assert run_command(["plot", "runs", "--format", "png", "--format", "svg", "--out", "figures"]) == 0
    shown = capsys.readouterr()
    names = ["curves-shapes-coverage-coverage-none", "gap-shapes-coverage-coverage-none-0.25"]
    assert shown.out.split() == [f"figures/{name}.{form}" for name in names for form in ("png", "svg")]
    assert "no pareto figure" in shown.err
    assert run_command(["leaderboard", "runs", "--csv", "board.csv"]) == 0
    assert run_command(["plot", "--csv", "board.csv", "--kind", "gap", "--keep-ratio", "0.5", "--out", "more"]) == 0
    assert [path.name for path in (tmp_path / "more").iterdir()] == ["gap-shapes-coverage-coverage-none-0.5.png"]

    assert run_command(["report", "runs", "--out", "page/report.html"]) == 0
    page = (tmp_path / "page" / "report.html").read_text()
    store = RunStore(tmp_path / "runs")
    records = store.read_cells()
    assert all(record.fingerprint in page for record in records) and "http://" not in page.partition('id="plotly"')[0]
    gallery = read_gallery(store, records[0].task.identity.short)
    assert len(gallery.images) == 8 and len(gallery.ranks) == 4
    assert all(sorted(r.ravel()) == list(range(144)) for ranks in gallery.ranks.values() for r in ranks.values())

    # What an older version measured has neither evidence nor gallery: the same run adds both and measures nothing.
    for folder in ("evidence", "gallery"):
        for path in sorted((tmp_path / "runs" / folder).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    capsys.readouterr()
    assert run_command([*RUN, *own, "--keep-ratio", "0.25", "--keep-ratio", "0.5"]) == 0
    assert "8 cells, 0 images measured now" in capsys.readouterr().err
    assert len(list((tmp_path / "runs" / "evidence").iterdir())) == 8
    assert read_gallery(store, records[0].task.identity.short).ranks.keys() == gallery.ranks.keys()


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["plot", "runs", "--kind", "pie"], 2, "--kind pie: write curves, gap, pareto"),
        (["plot", "runs", "--format", "gif"], 2, "--format gif: write png, svg, pdf"),
        (["plot", "nowhere"], 1, "nowhere is not a folder"),
        (["plot", "--csv", "nothing.csv"], 1, "nothing.csv does not exist"),
        (["report", "nowhere"], 1, "nowhere is not a folder"),
        (["leaderboard", "nowhere", "--interval", "t"], 2, "--interval t: write bca or percentile"),
        (["leaderboard", "nowhere", "--out", "x.xlsx"], 1, "x.xlsx: unknown table format"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(line) == code
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
