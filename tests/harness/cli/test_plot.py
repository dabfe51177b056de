"""`ltrp-bench plot`: files of figures, from a run directory or a CSV."""

from __future__ import annotations

from pathlib import Path

from command_lines import Run


def test_figures_of_a_run(runs: Path, run: Run) -> None:
    code, out, err = run("plot", "runs", "--format", "png", "--format", "svg", "--out", "figures")
    names = ["curves-shapes-coverage-coverage-none", "gap-shapes-coverage-coverage-none-0.25"]
    assert code == 0 and out.split() == [f"figures/{name}.{form}" for name in names for form in ("png", "svg")]
    assert sorted(path.name for path in Path("figures").iterdir()) == sorted(Path(file).name for file in out.split())
    assert "no pareto figure" in err


def test_figures_of_a_csv(runs: Path, run: Run) -> None:
    assert run("leaderboard", "runs", "--csv", "board.csv")[0] == 0
    code, out, _ = run("plot", "--csv", "board.csv", "--kind", "gap", "--keep-ratio", "0.5", "--out", "more")
    assert (code, out) == (0, "more/gap-shapes-coverage-coverage-none-0.5.png\n")
    assert [path.name for path in Path("more").iterdir()] == ["gap-shapes-coverage-coverage-none-0.5.png"]


def test_figures_of_metrics_and_groups(runs: Path, run: Run) -> None:
    code, out, _ = run(
        "plot", "runs", "--kind", "curves", "--metric", "coverage_small", "--group", "all", "--out", "one"
    )
    assert (code, out) == (0, "one/curves-shapes-coverage-coverage-small-none-all.png\n")
    command = ("plot", "runs", "--metric", "covrage")
    assert run(*command) == run("leaderboard", *command[1:])
    assert run(*command)[0] == 2
