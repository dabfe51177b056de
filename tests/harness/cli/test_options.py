"""Commands derived from option dataclasses, and the options of every command against a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from ltrp_bench.harness.cli.main import app, run_command
from ltrp_bench.harness.cli.options import Given, Overrides, options_command
from ltrp_bench.selectors.errors import UsageError

FLAGS = Path(__file__).with_name("flags.txt")


@dataclass(frozen=True, kw_only=True)
class Shared:
    size: int = field(default=8, metadata={"help": "Side in pixels.", "min": 2, "max": 9})
    amp: Literal["none", "bfloat16"] = field(default="none", metadata={"help": "Mixed precision."})
    fast: bool = field(default=False, metadata={"help": "Skip checks."})
    mirror: bool = field(default=True, metadata={"help": "Mirror images."})
    hidden: int = 3


@dataclass(frozen=True, kw_only=True)
class Own:
    out: Path = field(metadata={"help": "Folder."})
    image: list[Path] = field(default_factory=list, metadata={"help": "Images.", "argument": True})
    form: tuple[Literal["png", "svg"], ...] = field(default=("png",), metadata={"help": "Repeat.", "flag": "--format"})
    name: tuple[str, ...] = field(default=(), metadata={"help": "Name; repeat.", "metavar": "NAME"})
    metric: tuple[str, ...] = field(default=(), metadata={"help": "Metric; repeat.", "commas": True})
    rate: tuple[float, ...] = field(default=(0.5, 1.0), metadata={"help": "Rate; repeat."})
    seed: tuple[int, ...] = field(default=(), metadata={"help": "Seed; repeat.", "min": 1})
    by: Literal["score", "rank"] | None = field(default=None, metadata={"help": "Order."})
    steps: tuple[int, int] = field(default=(1, 2), metadata={"help": "Steps."})
    limit: int | None = field(default=None, metadata={"help": "At most.", "min": 1})


@dataclass(frozen=True, kw_only=True)
class Varying:
    rate: float = field(default=0.5, metadata={"help": "Rate; 0.5, or 1.", "optional": True})
    mode: Literal["a", "b"] = field(default="a", metadata={"help": "Mode.", "optional": True})
    count: int = field(default=1, metadata={"help": "Count."})


@pytest.fixture
def built() -> tuple[typer.Typer, list[tuple[Own, Shared]]]:
    calls: list[tuple[Own, Shared]] = []
    toy = typer.Typer()

    @options_command(toy, "toy")
    def command(context: typer.Context, own: Own, shared: Shared) -> None:
        """A toy."""
        assert context.info_name == "toy"
        calls.append((own, shared))

    return toy, calls


def test_defaults_come_from_the_dataclasses(built: Any) -> None:
    toy, calls = built
    assert CliRunner().invoke(toy, ["--out", "here"]).exit_code == 0
    assert calls == [(Own(out=Path("here")), Shared())]


def test_options_reach_the_dataclasses(built: Any) -> None:
    toy, calls = built
    arguments = "a.png b.png --out here --format svg --format png --name x --name y --by rank --steps 3 4 --limit 5"
    arguments += " --size 9 --amp bfloat16 --fast --no-mirror --debug"
    result = CliRunner().invoke(toy, arguments.split())
    assert result.exit_code == 0, result.output
    own = Own(
        out=Path("here"),
        image=[Path("a.png"), Path("b.png")],
        form=("svg", "png"),
        name=("x", "y"),
        by="rank",
        steps=(3, 4),
        limit=5,
    )
    assert calls == [(own, Shared(size=9, amp="bfloat16", fast=True, mirror=False))]


def test_lists_are_repeated_or_separated_by_commas(built: Any) -> None:
    toy, calls = built
    for given in (
        ("--metric", "AP,AP50", "--rate", ".25,.5", "--seed", "1,2", "--format", "svg,png"),
        (
            "--metric",
            "AP",
            "--metric",
            "AP50",
            "--rate",
            ".25, 0.5",
            "--seed",
            "1",
            "--seed",
            "2",
            "--format",
            "svg,png",
        ),
    ):
        result = CliRunner().invoke(toy, ["--out", "x", *given])
        assert result.exit_code == 0, result.output
    assert calls[0] == calls[1]
    assert calls[0][0] == Own(out=Path("x"), metric=("AP", "AP50"), rate=(0.25, 0.5), seed=(1, 2), form=("svg", "png"))


def test_commas_of_other_texts_stay(built: Any) -> None:
    toy, calls = built
    given = ("a,b.png", "--out", "x,y", "--name", "k=[1,2]", "--metric", r"Lite0, fill,b\,c")
    assert CliRunner().invoke(toy, given).exit_code == 0
    own = Own(out=Path("x,y"), image=[Path("a,b.png")], name=("k=[1,2]",), metric=("Lite0, fill", "b,c"))
    assert calls[0][0] == own


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--out x --amp half", "none"),
        ("--out x --rate .25,half", "'half' is not a valid number"),
        ("--out x --seed 1,2.5", "'2.5' is not a valid integer"),
        ("--out x --seed 3,0", "0 is not in the range x>=1"),
        ("--out x --metric a,,b", "'a,,b' has an empty item"),
        ("--out x --rate .25,", "'.25,' has an empty item"),
        ("--out x --format png,gif", "'gif' is not one of 'png', 'svg'"),
        ("--out x --by luck", "rank"),
        ("--out x --format gif", "svg"),
        ("--out x --size 1", "2"),
        ("--out x --size 10", "9"),
        ("--out x --no-fast", "--no-fast"),
        ("--out x --hidden 4", "--hidden"),
        ("", "--out"),
    ],
)
def test_typer_refuses_bad_values(built: Any, arguments: str, message: str) -> None:
    toy, calls = built
    result = CliRunner().invoke(toy, arguments.split())
    assert result.exit_code == 2
    assert message in result.output
    assert calls == []


def test_help_lists_choices_and_ranges(built: Any) -> None:
    text = CliRunner().invoke(built[0], ["--help"], env={"COLUMNS": "120"}).output
    assert "none | bfloat16" in text
    assert "png | svg" in text
    assert "2<=x<=9" in text
    assert "--hidden" not in text
    assert "A toy." in text


@dataclass(frozen=True, kw_only=True)
class Paths:
    out: Path = field(default=Path("runs"), metadata={"help": "Folder."})
    images: list[Path] | None = field(default=None, metadata={"help": "Images.", "argument": True})
    init: str | None = field(default=None, metadata={"help": "File or tag."})
    weights: tuple[str, ...] = field(default=(), metadata={"help": "Repeat."})


def paths_of(*arguments: str) -> Paths:
    made = []
    toy = typer.Typer()

    @options_command(toy, "toy")
    def command(paths: Paths) -> None:
        made.append(paths)

    result = CliRunner().invoke(toy, arguments)
    if isinstance(result.exception, UsageError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return made[0]


@pytest.mark.parametrize("home", ["~", "$HOME", "${HOME}"])
def test_home_and_variables_are_expanded_in_every_path(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/there")
    weights = ("--weights", f"ltrp={home}/w.pth", "--weights", f"{home}/a=b.pth", "--weights", "task.labels=~/x")
    got = paths_of(f"{home}/a.jpg", f"{home}/b.jpg", f"--out={home}/runs", f"--init={home}/i.pth", *weights)
    assert got == Paths(
        out=Path("/there/runs"),
        images=[Path("/there/a.jpg"), Path("/there/b.jpg")],
        init="/there/i.pth",
        weights=("ltrp=/there/w.pth", "/there/a=b.pth", "task.labels=/there/x"),
    )


def test_other_tildes_and_texts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/there")
    given = ("evit.stages=[1, 2]", "a~b", "x=~nobody-of-this-name/y", "p=50%", "price=5$")
    got = paths_of("--out", "a/~/b", "--init", "mae.shapes", *(part for one in given for part in ("--weights", one)))
    assert got == Paths(out=Path("a/~/b"), init="mae.shapes", weights=given)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    for text in ("$NOWHERE/runs", "${NOWHERE}/runs"):
        with pytest.raises(UsageError, match="environment variable NOWHERE is not set"):
            paths_of("--out", text)
    odd = tmp_path / "$NOWHERE"
    odd.mkdir()
    assert paths_of("--out", str(odd), "--weights", f"dino={odd}") == Paths(out=odd, weights=(f"dino={odd}",))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", Varying(rate=1.0, mode="a", count=1)),
        ("--rate 0.25 --count 3", Varying(rate=0.25, mode="a", count=3)),
        ("--mode b", Varying(rate=1.0, mode="b", count=1)),
    ],
)
def test_defaults_may_depend_on_what_the_command_finds(arguments: str, expected: Varying) -> None:
    made = []
    toy = typer.Typer()

    @options_command(toy, "toy")
    def command(varying: Overrides[Varying]) -> None:
        made.append(varying.build(rate=1.0))

    assert CliRunner().invoke(toy, arguments.split()).exit_code == 0
    assert made == [expected]


@dataclass(frozen=True, kw_only=True)
class Settable:
    out: Path = field(default=Path("runs"), metadata={"help": "Folder."})
    seed: tuple[int, ...] = field(default=(0,), metadata={"help": "Seeds."})
    full: bool = field(default=True, metadata={"help": "Full."})
    mode: Literal["a", "b"] = field(default="a", metadata={"help": "Mode."})
    count: int = field(default=3, metadata={"help": "Count.", "min": 0})


@pytest.mark.parametrize(
    ("arguments", "written", "built"),
    [
        ("", {}, Settable(count=5, seed=(7,))),
        (
            "--out ~/x --seed 1 --seed 2 --no-full --mode b --count 0",
            {"out": Path("~/x"), "seed": (1, 2), "full": False, "mode": "b", "count": 0},
            Settable(out=Path("/there/x"), seed=(1, 2), full=False, mode="b", count=0),
        ),
    ],
)
def test_what_is_given_stays_as_written_and_a_file_says_the_rest(
    monkeypatch: pytest.MonkeyPatch, arguments: str, written: dict[str, Any], built: Settable
) -> None:
    monkeypatch.setenv("HOME", "/there")
    made: list[Given[Settable]] = []
    toy = typer.Typer()

    @options_command(toy, "toy")
    def command(settable: Given[Settable]) -> None:
        made.append(settable)

    assert CliRunner().invoke(toy, arguments.split()).exit_code == 0
    assert made[0].values == written and made[0].build(count=5, seed=(7,)) == built
    text = CliRunner().invoke(toy, ["--help"]).stdout
    assert all(f"[default: ({one})]" in text for one in ("runs", "0", "full", "a", "3"))


def test_a_parameter_may_be_named_like_one_of_its_options() -> None:
    made = []
    toy = typer.Typer()

    @options_command(toy, "toy")
    def command(size: Shared) -> None:
        made.append(size)

    assert CliRunner().invoke(toy, ["--size", "5"]).exit_code == 0
    assert made == [Shared(size=5)]


def test_two_options_of_one_name_are_refused() -> None:
    def command(one: Shared, two: Shared) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="two options named size"):
        options_command(typer.Typer(), "twice")(command)


def option_lines(command: Any, path: str = "") -> Iterator[str]:
    """One line for each option of a command and its subcommands: flags, default, range, placeholder."""
    children = getattr(command, "commands", None)
    if children is not None:
        for name, child in children.items():
            yield from option_lines(child, f"{path} {name}".strip())
        return
    for option in command.params:
        flags = " / ".join([*option.opts, *option.secondary_opts])
        default = option.default() if callable(option.default) else option.default
        if isinstance(shown := getattr(option, "show_default", None), str):
            default = shown  # of an option that a file may set
        parts = [path, flags, "required" if option.required else f"default={plain(default)}"]
        parts += ["repeat"] if option.multiple else []
        parts += [f"nargs={option.nargs}"] if option.nargs != 1 else []
        for bound in ("min", "max"):
            # typer keeps the range in the option or, before 0.29, in its type.
            limit = getattr(option, bound, getattr(getattr(option, "type", None), bound, None))
            parts += [f"{bound}={limit:g}"] if limit is not None else []
        parts += [f"metavar={option.metavar}"] if option.metavar else []
        yield "  ".join(parts)


def plain(default: Any) -> str:
    return str([str(one) for one in default] if isinstance(default, list) else default)


def test_options_of_every_command_stay() -> None:
    """A changed flag, default, range or placeholder breaks scripts that use it: change flags.txt only on purpose."""
    assert sorted(option_lines(get_command(app))) == FLAGS.read_text().splitlines()


@pytest.mark.parametrize("command", sorted({line.split("  ")[0] for line in FLAGS.read_text().splitlines()}))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*command.split(), "--help"]) == 0
    assert "--help" in capsys.readouterr().out
