"""`ltrp-bench results export` and `import`: what is in an archive, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

from command_lines import Run

from ltrp_bench.results.store.run_store import RunStore


def test_results_go_through_an_archive(runs: Path, run: Run) -> None:
    code, out, err = run("results", "export", "some.zip", "--selector", "center", "--no-gallery")
    size = Path("some.zip").stat().st_size / 1e6
    assert (code, out, err) == (0, "", f"2 cells in some.zip ({size:.1f} MB)\n")
    assert not any("gallery" in name for name in zipfile.ZipFile("some.zip").namelist())
    assert run("results", "import", "some.zip", "new") == (0, "", "2 new cells in new, 0 known already\n")
    kept = [record for record in RunStore(runs).read_cells() if record.selector.name == "center"]
    assert RunStore(Path("new")).read_cells() == kept
    assert run("results", "import", "some.zip") == (0, "", "0 new cells in runs, 2 known already\n")


def test_an_altered_archive_is_refused(runs: Path, run: Run) -> None:
    assert run("results", "export", "a.zip", "--task", "shapes-coverage")[2].startswith("8 cells in a.zip")
    with zipfile.ZipFile("a.zip") as whole, zipfile.ZipFile("b.zip", "w") as altered:
        for name in whole.namelist():
            content = whole.read(name)
            altered.writestr(name, content.replace(b"coverage", b"coverag3") if name.startswith("cells/") else content)
    code, out, err = run("results", "import", "b.zip", "new")
    assert (code, out, err.count("\n")) == (1, "", 1) and "is refused, nothing was imported" in err
    assert not list(Path("new").rglob("*.json"))
