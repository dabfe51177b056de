"""`ltrp-bench report`: one HTML file of a run."""

from __future__ import annotations

from pathlib import Path

from command_lines import Run

from ltrp_bench.results.store.run_store import RunStore


def test_the_report_holds_every_cell_and_needs_no_network(runs: Path, run: Run) -> None:
    code, out, err = run("report", "runs", "--out", "page/report.html")
    file = Path("page/report.html")
    assert (code, out) == (0, "") and f"page/report.html: {file.stat().st_size / 1e6:.1f} MB" in err
    page = file.read_text()
    assert all(record.fingerprint in page for record in RunStore(runs).read_cells())
    assert "http://" not in page.partition('id="plotly"')[0]
