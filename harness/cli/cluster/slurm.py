"""`ltrp-bench slurm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from ltrp_bench.harness.cli.options import command_of, joined
from ltrp_bench.harness.cli.run import SweepFile, run
from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.harness.sweeps.sweep import Sweep, read_sweep
from ltrp_bench.selectors.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """A SLURM job."""

    time: str = field(metadata={"help": "Time limit of the job.", "metavar": "MINUTES | H:M:S | D-H:M:S"})
    nodes: int = field(default=1, metadata={"help": "Number of nodes.", "min": 1})
    gpus_per_node: int = field(default=0, metadata={"help": "GPUs of a node.", "min": 0})
    cpus_per_task: int | None = field(
        default=None, metadata={"help": "CPUs of a node; by default as the cluster is configured.", "min": 1}
    )
    partition: str | None = field(default=None, metadata={"help": "Partition of the cluster."})
    account: str | None = field(default=None, metadata={"help": "Account that is charged."})


@dataclass(frozen=True, kw_only=True)
class Submission:
    """How a job is submitted."""

    logs: Path = field(
        default=Path("slurm"),
        metadata={"help": "Directory of the logs of jobs; all nodes must see it."},
    )
    dry_run: bool = field(default=False, metadata={"help": "Print the batch script and submit nothing."})


SETUP: Any = typer.Option(
    [],
    "--setup",
    help="Shell command that the job runs first, such as `module load cuda`; repeat for several.",
    metavar="COMMAND",
)


def slurm(
    context: typer.Context, source: SweepFile, job: JobOptions, submission: Submission, setup: list[str] = SETUP
) -> None:
    """Submit a job to SLURM that starts Ray on its nodes and runs a sweep there. Further options are those of `run`."""
    from ltrp_bench.harness.engines.slurm import Allocation, minutes, script, submit

    arguments = tuple(context.args)
    sweep = Sweep() if source.config is None else read_sweep(source.config)
    _check(sweep, arguments)
    minutes(job.time)
    allocation = Allocation(**vars(job), setup=tuple(setup))
    if submission.dry_run:
        config = "" if source.config is None else f" --config {source.config}"
        typer.echo(script(allocation, submission.logs))
        typer.echo(f"note: not submitted; the job would run: ltrp-bench run{config} {' '.join(arguments)}", err=True)
        return
    done = submit(allocation, arguments, _text(sweep), submission.logs)
    nodes = counted(job.nodes, "node") + (f" of {counted(job.gpus_per_node, 'GPU')}" if job.gpus_per_node else "")
    typer.echo(f"job {done.job} submitted: {nodes}, at most {job.time}")
    typer.echo(f"  log      {done.log} (and those of Ray beside it)")
    typer.echo(f"  follow   tail -F {done.log}; squeue -j {done.job}")
    typer.echo(f"  cancel   scancel {done.job}; the same command goes on where it was")


def _check(sweep: Sweep, arguments: tuple[str, ...]) -> None:
    """Find mistakes in the sweep and the arguments of `run` now, not when the job starts.

    Raises:
        UsageError: an unknown name, or an option that the job sets itself.
    """
    for name in ("--engine", "--address"):
        if any(one == name or one.startswith(f"{name}=") for one in arguments):
            raise UsageError(f"{name}: the job starts its own Ray cluster; leave this option out")
    app = typer.Typer()
    app.command()(command_of(run))
    given = typer.main.get_command(app).make_context("ltrp-bench run", list(arguments)).params
    sweep.choose(joined(given["selector"]), joined(given["task"]), given["weights"])


def _text(sweep: Sweep) -> str | None:
    """The sweep's file as the job gets it, whatever becomes of the file; None if there is none."""
    from ltrp_bench.harness.sweeps.document import dump

    if sweep.document is None:
        return None
    tables = dict(sweep.document.data)
    engine = tables.get("engine")
    if isinstance(engine, dict) and engine.get("name") != "ray":
        tables["engine"] = {name: value for name, value in engine.items() if name != "jobs"}  # of another engine
    return dump(tables)
