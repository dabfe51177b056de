"""Submits a SLURM job that runs a sweep on Ray. Needs the extra `ltrp-bench[cluster]`.

The job is one Python object, which submitit stores beside its batch script: see `slurm_job`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ltrp_bench.harness.engines.slurm_job import GRACE_SECONDS, RaySweep
from ltrp_bench.selectors.errors import InputError, UsageError

REQUEUES: Final = 10
"""How often a job that reaches its time limit is put into the queue again."""

TIME: Final = re.compile(r"(?:(?P<d>\d+)-(?P<h>\d+)(?::(?P<m>\d+))?(?::(?P<s>\d+))?|(?P<parts>\d+(?::\d+){0,2}))")
"""Forms of a time limit in SLURM: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What a job asks SLURM for.

    Attributes:
        nodes: number of nodes, each a node of the Ray cluster.
        time: time limit in one of SLURM's forms.
        gpus_per_node, cpus_per_task: of a node; None leaves it to the cluster.
        partition, account: None for the cluster's default.
        setup: shell commands that the job runs first.
    """

    nodes: int
    time: str
    gpus_per_node: int = 0
    cpus_per_task: int | None = None
    partition: str | None = None
    account: str | None = None
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submitted:
    """A job in the queue: its id and its log file."""

    job: str
    log: Path


def script(allocation: Allocation, folder: Path) -> str:
    """The batch script of a job.

    Args:
        allocation: what it asks for.
        folder: logs of jobs, each in a folder of its own.
    """
    executor = _executor(allocation, folder)
    return str(executor._make_submission_file_text(executor._submitit_command_str, ""))


def submit(allocation: Allocation, arguments: tuple[str, ...], config: str | None, folder: Path) -> Submitted:
    """Put a job into the queue.

    Args:
        allocation: what it asks for.
        arguments: of `ltrp-bench run`.
        config: text of the sweep's file, if there is one.
        folder: logs of jobs, each in a folder of its own; every node must see it.

    Raises:
        InputError: there is no SLURM here, or it refuses the job.
    """
    executor = _executor(allocation, folder)
    if shutil.which("sbatch") is None:
        raise InputError(
            "no command sbatch here: submit on a login node of a SLURM cluster; --dry-run prints the script anywhere"
        )
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the error holds the same text
            job = executor.submit(RaySweep(arguments, config))
    except (FailedJobError, FailedSubmissionError) as error:
        reason = "; ".join(dict.fromkeys(line.removeprefix("sbatch: ") for line in str(error).splitlines()))
        raise InputError(f"sbatch: {reason}") from error
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    return Submitted(job.job_id, Path(job.paths.stdout))


def minutes(time: str) -> int:
    """Minutes of a time limit, rounded up.

    Raises:
        UsageError: none of SLURM's forms, or nothing.
    """
    found = TIME.fullmatch(time.strip())
    seconds = 0
    if found is not None and found["parts"]:
        parts = [int(part) for part in found["parts"].split(":")]
        hours, rest = (parts[0], parts[1:]) if len(parts) == 3 else (0, parts)
        seconds = 3600 * hours + sum(count * unit for count, unit in zip(rest, (60, 1), strict=False))
    elif found is not None:
        days, hours, mins, secs = (int(found[name] or 0) for name in "dhms")
        seconds = 86400 * days + 3600 * hours + 60 * mins + secs
    if seconds <= 0:
        raise UsageError(f"--time {time}: write minutes, H:M:S or D-H:M:S")
    return -(-seconds // 60)


def _executor(allocation: Allocation, folder: Path) -> Any:
    """An executor of submitit that starts jobs on the first node alone, and ends them by a signal to that process."""
    for name in ("submitit", "ray"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"ltrp-bench slurm needs {name}; install it with: pip install 'ltrp-bench[cluster]'")
    from submitit import SlurmExecutor

    class Executor(SlurmExecutor):
        """An executor that can show its script on machines without SLURM, too."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    # `exec`: the signal before the time limit goes to the process of the script, which must be Python then.
    executor = Executor(folder / "%j", max_num_timeout=REQUEUES, python=f"exec {shlex.quote(sys.executable)}")
    asked = {
        "partition": allocation.partition,
        "account": allocation.account,
        "gpus_per_node": allocation.gpus_per_node or None,
        "cpus_per_task": allocation.cpus_per_task,
        "setup": list(allocation.setup) or None,
    }
    limit = minutes(allocation.time)
    executor.update_parameters(
        job_name="ltrp-bench",
        nodes=allocation.nodes,
        ntasks_per_node=1,
        time=limit,
        use_srun=False,
        stderr_to_stdout=True,
        wckey=None,
        additional_parameters={"requeue": True, "signal": f"B:USR2@{min(GRACE_SECONDS, 15 * limit)}"},
        **{name: value for name, value in asked.items() if value is not None},
    )
    return executor
