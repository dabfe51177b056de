"""`ltrp-bench show`: figure files, formats and options, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.tasks.data.shapes.world import ShapesWorld

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Image.fromarray(ShapesWorld(5).image(0).image).resize((160, 120)).save("a.png")

    def call(*arguments: object) -> tuple[int, str]:
        code = run_command(["show", *map(str, arguments), "--device", "cpu"])
        captured = capsys.readouterr()
        assert captured.out == "" and "Traceback" not in captured.err
        return code, captured.err

    return call


def test_a_file_with_several_selectors(command: Command) -> None:
    before = dict(matplotlib.rcParams)
    arguments = ("a.png", "--selector", "ltrp", "--selector", "random", "--keep-ratio", 0.5, "--dpi", 60)
    code, err = command(*arguments, "--out", "one/f.png")
    assert code == 0 and err == "one/f.png: 1 image, ltrp.photos, random\n"
    assert [path.name for path in Path("one").iterdir()] == ["f.png"]  # nothing unfinished is left
    with Image.open("one/f.png") as image:
        image.load()
        assert image.width == 420 and "Software" not in image.info
    assert dict(matplotlib.rcParams) == before and pyplot.get_fignums() == []
    assert command(*arguments, "--out", "two.png")[0] == 0
    assert Path("two.png").read_bytes() == Path("one/f.png").read_bytes()
    assert command(*arguments, "--seed", 1, "--out", "two.png")[0] == 0
    assert Path("two.png").read_bytes() != Path("one/f.png").read_bytes()


@pytest.mark.parametrize(("name", "begins"), [("f.svg", b"<?xml"), ("f.PDF", b"%PDF-")])
def test_other_formats(command: Command, name: str, begins: bytes) -> None:
    arguments = ("--task", "shapes-coverage", "--index", 3, "--selector", "variance", "--dpi", 60)
    assert command(*arguments, "--out", name)[0] == 0
    first = Path(name).read_bytes()
    assert first.startswith(begins)
    assert command(*arguments, "--out", name)[0] == 0
    assert Path(name).read_bytes() == first


def test_a_tasks_images_with_weights_and_options(command: Command, tmp_path: Path) -> None:
    (tmp_path / "shown_here.py").write_text(
        "import torch\nfrom ltrp_bench.selectors.base import Selector\n"
        "class Brightness(Selector):\n    name = 'brightness'\n    patch_size = 8\n"
        "    def __init__(self, sign=1):\n        self.sign = sign\n"
        "    def _scores(self, images, context):\n"
        "        return self.sign * torch.nn.functional.avg_pool2d(images.mean(1), 8)\n"
    )
    name = "shown_here:Brightness"
    task = [
        "--task",
        "shapes-coverage",
        "--task-option",
        "seed=1000",
        "--index",
        2,
        "--index",
        4,
        "--selector",
        name,
    ]
    assert command(*task, "--dpi", 60)[0] == 0
    bright = np.asarray(Image.open("show.png").convert("RGB"))
    assert command(*task, "--selector-option", f"{name}.sign=-1", "--dpi", 60, "--out", "dim.png")[0] == 0
    assert (bright != np.asarray(Image.open("dim.png").convert("RGB"))).any()
    code, err = command(*task, "--dark", "--layout", "block", "--by", "rank", "--width", 3, "--dpi", 100)
    assert code == 0 and err == f"show.png: 2 images, {name}\n"
    dark = np.asarray(Image.open("show.png").convert("RGB"))
    assert dark.shape[1] == 300 and (dark[0, 0] == 0x11).all() and (bright[0, 0] == 255).all()


def test_a_reconstruction(command: Command) -> None:
    assert command("--reconstruct", "a.png", "--remove", 2, "--dpi", 60)[0] == 0
    first = Path("show.png").read_bytes()
    code, err = command("--reconstruct", "a.png", "--remove", 2, "--dpi", 60, "--weights", "mae.photos.safetensors")
    assert code == 1 and "mae.photos.safetensors" in err
    assert Path("show.png").read_bytes() == first  # a failed command leaves the older file as it is
    chosen = ("--selector", "ltrp-teacher.photos", "--selector-option", "ltrp-teacher.photos.mask_ratio=0.75")
    assert command("--reconstruct", "a.png", *chosen, "--remove", 20, "--dpi", 60)[0] == 0


OF_TASK = ("--task", "shapes-coverage", "--selector", "random")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ((), 2, "name image files, or a task"),
        (("a.png",), 2, "give at least one --selector"),
        (("a.png", *OF_TASK), 2, "not both"),
        (("b.png", "--selector", "random"), 1, "image b.png is missing"),
        (("broken.jpg", "--selector", "random"), 1, "image broken.jpg is corrupt"),
        (("half.png", "--selector", "random"), 1, "image half.png is corrupt"),
        ((".", "--selector", "random"), 1, "is a folder"),
        (("small.png", "--selector", "random"), 1, "too few for 14x14 patches"),
        (("a.png", "--selector", "ltrpp"), 2, "did you mean 'ltrp'"),
        (("a.png", "--selector", "evit"), 2, "no weights for photos"),
        (("a.png", "--selector", "random", "--weights", "random=a.png"), 2, "takes no weights"),
        (("a.png", "--selector", "ltrp", "--weights", "ltrp=a.png"), 1, "a.png"),
        (("a.png", "--selector", "random", "--selector-option", "random.colour=1"), 2, "colour"),
        (("a.png", "--selector", "random", "--keep-ratio", "0"), 2, "keep ratio 0 is not in (0, 1]"),
        (("a.png", "--selector", "random", "--out", "f.jpg"), 2, "name a .png, .svg or .pdf file"),
        (("a.png", "--selector", "random", "--out", "a.png/f.png"), 1, "could not be written"),
        (("a.png", "--selector", "random", "--grid", "3by4"), 2, "--grid 3by4"),
        (("a.png", "--selector", "random", "--grid", "0"), 2, "--grid 0"),
        (("a.png", "--selector", "random", "--index", "3"), 2, "--index needs --task"),
        (("a.png", "--selector", "random", "--remove", "3"), 2, "--remove needs --reconstruct"),
        (("a.png", "--selector", "random", "--layout", "tower"), 2, "'tower' is not one of 'row', 'block'"),
        (("a.png", "--selector", "random", "--by", "size"), 2, "'size' is not one of 'score', 'rank'"),
        (("a.png", "--selector", "oracle"), 1, "ranks by ground truth"),
        ((*OF_TASK, "--index", "1000"), 2, "has images 0 to 999"),
        ((*OF_TASK, "--grid", "7"), 2, "a task has its own"),
        ((*OF_TASK[:2], "--selector", "downsample"), 2, "does not support --selector downsample"),
        (("--task", "shapes-covrage", "--selector", "random"), 2, "did you mean 'shapes-coverage'"),
        (("--reconstruct", "a.png", "--keep-ratio", "0.5"), 2, "--keep-ratio does not go with --reconstruct"),
        (("--reconstruct", "a.png", "--selector", "ltrp"), 2, "not ltrp.photos"),
        (("--reconstruct", "a.png", "--remove", "14"), 2, "the visible patches are 0 to 13"),
        (("--reconstruct", "a.png", "--selector-option", "ltrp-teacher.tiles=2"), 2, "leave out the option tiles"),
    ],
)
def test_errors_are_one_line(command: Command, arguments: tuple[str, ...], code: int, line: str) -> None:
    Path("broken.jpg").write_text("no image")
    Path("half.png").write_bytes(Path("a.png").read_bytes()[:9000])
    Image.new("RGB", (13, 40)).save("small.png")
    got, err = command(*arguments)
    assert (got, err.count("\n")) == (code, 1), err
    assert line in err
    assert not Path("show.png").exists()
