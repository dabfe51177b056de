"""`ltrp-bench site`: exit codes, folders of archives, and the splits of this version."""

from __future__ import annotations

from pathlib import Path

from command_lines import Run

from ltrp_bench.harness.cli.sharing.site import known_splits
from ltrp_bench.results.store.run_store import RunStore


def test_a_folder_of_archives(runs: Path, run: Run) -> None:
    Path("labs").mkdir()
    assert run("results", "export", "labs/ours.zip", "runs")[0] == 0
    code, out, err = run("site", "labs", "--out", "pages", "--resamples", "100")
    assert (code, out) == (0, "") and err.endswith("pages/index.html: 1 of 1 archive used\n")
    assert Path("pages/selector-center.html").is_file() and len(list(Path("pages").glob("task-*.html"))) == 1
    Path("labs/broken.zip").write_bytes(b"no archive")
    code, _, err = run("site", "labs", "--out", "pages", "--no-intervals")
    assert code == 0 and "broken is left out: it is truncated or not an archive" in err and "1 of 2 archives" in err
    assert run("site", "labs", "--out", "pages", "--no-intervals", "--strict")[0] == 1
    code, _, err = run("site", "labs/broken.zip", "--out", "none")
    assert code == 1 and "no site was written" in err and not Path("none").exists()
    code, _, err = run("site", "labs/ours.zip", "--out", "none", "--data-revision", "shapes-coverage=0000")
    assert code == 1 and "has revision" in err


def test_wrong_command_lines(run: Run) -> None:
    assert run("site")[0] == 2
    assert run("site", "a.zip", "--data-revision", "shapes-coverage")[0] == 2


def test_the_splits_of_a_run_are_known(runs: Path) -> None:
    assert {record.task.identity.value["split"] for record in RunStore(runs).read_cells()} <= known_splits()
