"""The command line `ltrp-bench`. Each command has its own file in this folder.

An error is one line on stderr and an exit code: 2 for a wrong command line, 1 for any other error that the user can
fix, 130 for Ctrl-C. `--debug` adds a traceback. Heavy packages are imported only by the commands that need them.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.main import get_command

from ltrp_bench.harness.cli.audit import audit
from ltrp_bench.harness.cli.cluster.slurm import slurm
from ltrp_bench.harness.cli.compare import compare
from ltrp_bench.harness.cli.data import export_shapes
from ltrp_bench.harness.cli.doctor import doctor
from ltrp_bench.harness.cli.leaderboard import leaderboard
from ltrp_bench.harness.cli.list import list_categories, list_label_sets, list_selectors, list_suites, list_tasks
from ltrp_bench.harness.cli.measurement.latency import latency
from ltrp_bench.harness.cli.measurement.power import power
from ltrp_bench.harness.cli.options import command_of
from ltrp_bench.harness.cli.plot import plot
from ltrp_bench.harness.cli.report import report
from ltrp_bench.harness.cli.results import export_results, import_results
from ltrp_bench.harness.cli.run import run
from ltrp_bench.harness.cli.sharing.log_results import log_results
from ltrp_bench.harness.cli.sharing.site import site
from ltrp_bench.harness.cli.show import show
from ltrp_bench.harness.cli.terminal.termination import INTERRUPTED, ends_on_sigterm
from ltrp_bench.harness.cli.terminal.version import version_line
from ltrp_bench.harness.cli.train import train_app
from ltrp_bench.harness.cli.zoo.convert import convert_yolox
from ltrp_bench.harness.cli.zoo.weights import fetch_weights, list_weights, verify_weights
from ltrp_bench.selectors.errors import BenchError

app = typer.Typer(
    name="ltrp-bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does a patch selector keep what is in the image, or only what its training labels name?",
)
app.command("run")(command_of(ends_on_sigterm(run)))
app.command("leaderboard")(command_of(leaderboard))
app.command("compare")(command_of(compare))
app.command("power")(command_of(power))
app.command("plot")(command_of(plot))
app.command("report")(command_of(report))
app.command("site")(command_of(site))
app.command("latency")(command_of(latency))
app.command("audit")(command_of(audit))
app.command("show")(command_of(show))
app.command("doctor")(doctor)
app.command("slurm", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(command_of(slurm))

list_app = typer.Typer(no_args_is_help=True, help="List selectors, tasks, suites, label sets and categories.")
list_app.command("selectors")(list_selectors)
list_app.command("tasks")(list_tasks)
list_app.command("suites")(list_suites)
list_app.command("label-sets")(list_label_sets)
list_app.command("categories")(command_of(list_categories))
app.add_typer(list_app, name="list")

data_app = typer.Typer(no_args_is_help=True, help="Work with data sets.")
export_app = typer.Typer(no_args_is_help=True, help="Write a built-in data set to files.")
export_app.command("shapes")(command_of(export_shapes))
data_app.add_typer(export_app, name="export")
app.add_typer(data_app, name="data")

results_app = typer.Typer(no_args_is_help=True, help="Share results as archives, or log them to trackers.")
results_app.command("export")(command_of(export_results))
results_app.command("import")(command_of(import_results))
results_app.command("log")(command_of(log_results))
app.add_typer(results_app, name="results")

weights_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify official checkpoints.")
weights_app.command("list")(command_of(list_weights))
weights_app.command("fetch")(command_of(fetch_weights))
weights_app.command("verify")(command_of(verify_weights))
app.add_typer(weights_app, name="weights")

convert_app = typer.Typer(no_args_is_help=True, help="Convert checkpoints of other code bases.")
convert_app.command("yolox")(command_of(convert_yolox))
app.add_typer(convert_app, name="convert")

app.add_typer(train_app, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_line())
        raise typer.Exit()


@app.callback()
def _main(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Show version and commit, and exit.",
    ),
) -> None:
    """Options of every command."""


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or bool(os.environ.get("LTRP_BENCH_DEBUG"))
    try:
        code = get_command(app).main(args=given, prog_name="ltrp-bench", standalone_mode=False, obj=given)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; keeps the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        _print_error("interrupted")
        return INTERRUPTED
    except BenchError as error:
        if debug:
            traceback.print_exc()
        _print_error(str(error))
        return error.exit_code
    except Exception as error:
        # typer's own usage errors: the module of their class differs between versions of typer.
        message = getattr(error, "format_message", None)
        if callable(message):
            context = getattr(error, "ctx", None)
            command = getattr(context, "command_path", "ltrp-bench")
            _print_error(f"{message()} ({command} --help)")
            return int(getattr(error, "exit_code", 2))
        if debug:
            traceback.print_exc()
        hint = "" if debug else " (a bug in ltrp-bench; --debug shows where)"
        _print_error(f"{type(error).__name__}: {error}{hint}")
        return 1


def _print_error(message: str) -> None:
    print("ltrp-bench: " + " ".join(message.split()), file=sys.stderr)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_command())


if __name__ == "__main__":
    main()
