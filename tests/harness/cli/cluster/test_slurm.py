"""`ltrp-bench slurm` without SLURM."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command_lines import Run

pytest.importorskip("submitit", reason="needs the extra ltrp-bench[cluster]")

SWEEP = ("--selector", "random", "--task", "shapes-coverage")
JOB = ("slurm", "--time", "1:00:00", "--partition", "gpu")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("slurm", *SWEEP), 2, "Missing option '--time'"),
        ((*JOB[:1], "--time", "soon", *SWEEP), 2, "--time soon: write minutes, H:M:S or D-H:M:S"),
        ((*JOB, "--nodes", "0", *SWEEP), 2, "--nodes"),
        ((*JOB, *SWEEP), 1, "no command sbatch here"),
        ((*JOB, *SWEEP, "--engine", "local"), 2, "--engine: the job starts its own Ray cluster"),
        ((*JOB, *SWEEP, "--address=auto"), 2, "--address: the job starts its own Ray cluster"),
        ((*JOB, *SWEEP, "--selector", "randm"), 2, "did you mean 'random'"),
        ((*JOB, *SWEEP, "--keep", "0.5"), 2, "No such option: --keep"),
        ((*JOB, *SWEEP, "--limit", "0"), 2, "--limit"),
        ((*JOB, *SWEEP, "--weights", "random=no.pth"), 1, "no file no.pth"),
        ((*JOB, "--config", "sweep.yaml"), 2, "sweep.yaml:2: "),
        ((*JOB, "--config", "sweep.yml"), 2, "sweep.yml"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_submitted(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    Path("sweep.yaml").write_text("tasks: [shapes-coverage]\nselectors: [randm]\n")
    got, out, err = run(*arguments)
    assert (got, out) == (code, "") and message in err and len(err.splitlines()) == 1
    assert not Path("slurm").exists()


@pytest.mark.parametrize("separator", [(), ("--",)])
def test_a_dry_run_prints_the_script(run: Run, monkeypatch: pytest.MonkeyPatch, separator: tuple[str, ...]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    setup = ("--setup", "module load cuda", "--setup", "cd $TMP_OF_JOB")
    code, out, err = run(*JOB, "--nodes", "2", *setup, "--dry-run", *separator, *SWEEP, "--keep-ratio", "0.5")
    assert code == 0 and out.startswith("#!/bin/bash\n")
    lines = out.splitlines()
    assert {"#SBATCH --nodes=2", "#SBATCH --time=60", "module load cuda", "cd $TMP_OF_JOB"} <= set(lines)
    assert err.endswith("would run: ltrp-bench run --selector random --task shapes-coverage --keep-ratio 0.5\n")
    assert not Path("slurm").exists()


def test_a_note_says_how_to_follow_and_cancel(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho Submitted batch job 1234\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run(*JOB, "--nodes", "2", "--gpus-per-node", "4", *SWEEP)
    log = tmp_path / "slurm/1234/1234_0_log.out"
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "job 1234 submitted: 2 nodes of 4 GPUs, at most 1:00:00"
    assert f"tail -F {log}" in out and "scancel 1234" in out


def test_a_job_takes_its_file_along(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may change while the job waits. Its number of jobs is not meant for Ray."""
    from submitit.core.utils import DelayedSubmission

    (tmp_path / "sbatch").write_text("#!/bin/sh\necho Submitted batch job 5\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    Path("sweep.yaml").write_text(
        "selectors: [random]\ntasks: [shapes-coverage]\nengine: {name: local, jobs: 4, threads: 2}\n"
    )
    assert run(*JOB, "--config", "sweep.yaml", "--limit", "5")[0] == 0
    sweep = DelayedSubmission.load(tmp_path / "slurm/5/5_submitted.pkl").function
    assert sweep.arguments == ("--limit", "5")
    assert yaml.safe_load(sweep.config) == {
        "selectors": ["random"],
        "tasks": ["shapes-coverage"],
        "engine": {"name": "local", "threads": 2},
    }
