"""Batch scripts and errors of SLURM jobs, without SLURM."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import InputError, UsageError

pytest.importorskip("submitit", reason="needs the extra ltrp-bench[cluster]")

from ltrp_bench.harness.engines.slurm import Allocation, minutes, script, submit

Fake = Callable[[str, str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """`fake(name, code)` puts a shell script of this name on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def put(name: str, code: str) -> None:
        (folder / name).write_text(f"#!/bin/bash\n{code}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:30:00", 90),
        ("0:00:01", 1),
        ("2-0", 2880),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:30:01", 2191),
    ],
)
def test_time_limits_of_slurm(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "soon", "4h", "1:2:3:4", "-5", "1-", "0:00:00"])
def test_other_time_limits_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--time .*: write minutes, H:M:S or D-H:M:S"):
        minutes(text)


def test_the_script_asks_for_what_was_asked_for(tmp_path: Path) -> None:
    allocation = Allocation(
        nodes=4,
        gpus_per_node=8,
        cpus_per_task=32,
        time="1-0",
        partition="gpu",
        account="vision",
        setup=("module load cuda", "source $HOME/env/bin/activate"),
    )
    lines = script(allocation, tmp_path / "logs").splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert asked == {
        "job-name=ltrp-bench",
        "nodes=4",
        "ntasks-per-node=1",
        "gpus-per-node=8",
        "cpus-per-task=32",
        "time=1440",
        "partition=gpu",
        "account=vision",
        "requeue",
        "open-mode=append",
        "signal=B:USR2@120",
        f"output={tmp_path}/logs/%j/%j_0_log.out",
    }
    assert lines[0] == "#!/bin/bash"
    setup = lines.index("module load cuda")
    assert lines[setup + 1] == "source $HOME/env/bin/activate"
    # The shell is replaced: signals to the script reach Python.
    assert lines[-1] == f"exec {sys.executable} -u -m submitit.core._submit {tmp_path}/logs/%j"
    assert not (tmp_path / "logs").exists()


def test_what_was_not_asked_for_is_left_to_the_cluster(tmp_path: Path) -> None:
    text = script(Allocation(nodes=1, time="5"), tmp_path)
    assert "--signal=B:USR2@75\n" in text  # a quarter of the time
    assert not [name for name in ("partition", "account", "gpus", "cpus-per-task", "mem", "wckey") if name in text]


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs submitit; install it with: pip install 'ltrp-bench\[cluster\]'"):
        script(Allocation(nodes=1, time="5"), tmp_path)


def test_without_slurm_nothing_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no command sbatch here"):
        submit(Allocation(nodes=1, time="5"), ("--selector", "random"), None, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_a_refused_job_is_one_line(fake: Fake, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fake("sbatch", "for line in 'invalid partition specified: x' 'Batch job submission failed'; do\n"
         'echo "sbatch: error: $line" >&2; done; exit 1')  # fmt: skip
    with pytest.raises(InputError) as error:
        submit(Allocation(nodes=1, time="5", partition="x"), (), None, tmp_path / "logs")
    assert str(error.value) == "sbatch: error: invalid partition specified: x; error: Batch job submission failed"
    assert capfd.readouterr() == ("", "")


def test_a_job_keeps_its_arguments_and_its_file(fake: Fake, tmp_path: Path) -> None:
    from submitit.core.utils import DelayedSubmission

    fake("sbatch", 'cp "$1" "$0.script"; echo Submitted batch job 17')
    done = submit(Allocation(nodes=1, time="5"), ("--limit", "5"), "selectors: [random]\n", tmp_path / "logs")
    assert done.job == "17" and done.log == tmp_path / "logs/17/17_0_log.out"
    sweep = DelayedSubmission.load(tmp_path / "logs/17/17_submitted.pkl").function
    for one in (sweep, sweep.checkpoint().function):
        assert one.arguments == ("--limit", "5") and one.config == "selectors: [random]\n"
