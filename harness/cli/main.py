"""The command line: `ltrp-bench`. Its commands lie beside (`py`, `py`, ...).

Whatever goes wrong is one line on stderr and an exit code: 2 for a wrong command, 1 for anything else a
person can mend, 130 for Ctrl-C. `--debug` adds where in the code it happened. Nothing heavy is imported
before a command needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import typer
from typer.main import get_command

from ltrp_bench.harness.cli.archive import results_app
from ltrp_bench.harness.cli.audit import audit
from ltrp_bench.harness.cli.leaderboard import compare, leaderboard
from ltrp_bench.harness.cli.lists import data_app, list_app
from ltrp_bench.harness.cli.plot import plot
from ltrp_bench.harness.cli.report import report
from ltrp_bench.harness.cli.run import run
from ltrp_bench.harness.cli.show import show
from ltrp_bench.harness.cli.train import train_app
from ltrp_bench.selectors.errors import BenchError

INTERRUPTED: Final = 130

app = typer.Typer(
    name="ltrp-bench",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does a patch selector keep what is in the image, or only what its training labels name?",
)
app.command("run")(run)
app.command("leaderboard")(leaderboard)
app.command("compare")(compare)
app.command("plot")(plot)
app.command("report")(report)
app.command("audit")(audit)
app.command("show")(show)
app.add_typer(list_app, name="list")
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.add_typer(train_app, name="train")


@app.command()
def doctor() -> None:
    """Show versions, devices, compiled ops, data sets and weights found on this machine."""
    from ltrp_bench.harness.cli.doctor import report

    report()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ltrp-bench {package_version()}")
        raise typer.Exit()


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Options of every command."""


def package_version() -> str:
    """The installed version; "unknown" when run from a bare checkout."""
    try:
        return version("ltrp-bench")
    except PackageNotFoundError:
        return "unknown"


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors become one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or bool(os.environ.get("LTRP_BENCH_DEBUG"))
    try:
        code = get_command(app).main(args=given, prog_name="ltrp-bench", standalone_mode=False, obj=given)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BenchError as error:
        if debug:
            traceback.print_exc()
        _say(str(error))
        return error.exit_code
    except Exception as error:
        # Typer's own usage errors; which module holds their class differs between versions.
        message = getattr(error, "format_message", None)
        if callable(message):
            _say(f"{message()} (ltrp-bench --help)")
            return int(getattr(error, "exit_code", 2))
        if debug:
            traceback.print_exc()
        hint = "" if debug else " (a fault of the program; --debug shows where)"
        _say(f"{type(error).__name__}: {error}{hint}")
        return 1


def _say(message: str) -> None:
    print("ltrp-bench: " + " ".join(message.split()), file=sys.stderr)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_command())


if __name__ == "__main__":
    main()
