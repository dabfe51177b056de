"""What is shared holds no path, user or host name of the machine that it was made on."""

from __future__ import annotations

import json
import platform
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from shared_bytes import leaks

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.results.store.run_store import RunStore

pytestmark = pytest.mark.slow

USER, HOST, PROJECT, DISK = "lovelacea", "difference-engine", "secretproject", "privatedisk"
WORDS = (USER, HOST, PROJECT, DISK)
NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run, in folders of telling names on a machine of a telling name; its path."""
    home = tmp_path_factory.mktemp("disk") / DISK / USER
    data = home / f"{PROJECT} data" / "coco"
    with pytest.MonkeyPatch.context() as patch:
        _telling(patch, home)
        command("data", "export", "shapes", "--out", data, "--count", 9, "--split", "test")
        _as_coco(data / "instances.json")
        pictures = sorted((data / "images").glob("*.png"))
        for path in pictures[:2]:
            exif = Image.Exif()
            exif[0x013B] = f"{USER} at {HOST}"  # the artist
            Image.open(path).save(path, exif=exif)
        pictures[-1].write_bytes(b"no image")
        runs = home / PROJECT / "runs"
        command(
            *("run", "--task", "coco-coverage", "--data", data, "--device", "cpu", "--skip-bad-images"),
            *("--selector", "variance", "--selector", "center", "--selector", "random", "--selector", "ltrp.shapes"),
            *("--keep-ratio", "0.25", "--keep-ratio", "0.5", "--out", runs),
        )
        yield runs


def _as_coco(annotations: Path) -> None:
    """Give the drawn categories names of COCO, which has a split."""
    found = json.loads(annotations.read_text())
    for category, name in zip(found["categories"], NAMES, strict=False):
        category["name"] = name
    annotations.write_text(json.dumps(found))


def _telling(patch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for name, value in (("HOME", str(home)), ("USER", USER), ("LOGNAME", USER), ("HOSTNAME", HOST)):
        patch.setenv(name, value)
    patch.setattr(platform, "node", lambda: f"{HOST}.lab.example")
    patch.setattr(socket, "gethostname", lambda: HOST)


def command(*arguments: object) -> None:
    given = [str(one) for one in arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"/opt/{DISK}/bin/ltrp-bench", *given])
        assert run_command(given) == 0


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_the_run_folder_itself_stays_whole(private: Path) -> None:
    """Or this file would prove nothing."""
    found = " ".join(leaks(files(private / "provenance"), WORDS))
    assert all(word in found for word in WORDS)
    record = RunStore(private).read_cells()[0]
    about = RunStore(private).read_provenance(record.fingerprint)
    assert about["machine"].startswith(HOST) and len(about["skipped"]) == 1
    assert str(private) in about["command"] and DISK in next(iter(about["skipped"].values()))


def test_archives(private: Path, tmp_path: Path) -> None:
    command("results", "export", tmp_path / "a.zip", private)
    assert leaks([tmp_path / "a.zip"], WORDS) == []
    # It is imported with the same fingerprints and numbers, and the command is still one to read.
    command("results", "import", tmp_path / "a.zip", tmp_path / "new")
    mine, theirs = RunStore(private), RunStore(tmp_path / "new")
    assert mine.read_cells() == theirs.read_cells()
    about = theirs.read_provenance(mine.read_cells()[0].fingerprint)
    assert about["command"][:6] == ["ltrp-bench", "run", "--task", "coco-coverage", "--data", "coco"]
    command("results", "export", tmp_path / "b.zip", private, "--with-paths")
    assert leaks([tmp_path / "b.zip"], (HOST, PROJECT)) != []


def test_reports_tables_and_figures(private: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command("report", private, "--out", out / "report.html", "--resamples", 100)
    command("leaderboard", private, "--csv", out / "board.csv", "--resamples", 100)
    for form in ("png", "svg", "pdf"):
        command("plot", private, "--out", out, "--resamples", 100, "--format", form)
    command("compare", private, private, "--out", out / "compare.md", "--junit", out / "compare.xml")
    image = next(private.parents[1].rglob("*.png"))
    command("show", image, "--selector", "variance", "--out", out / "show.png")
    assert len(files(out)) >= 8 and leaks(files(out), WORDS) == []
    command("report", private, "--out", out / "whole.html", "--resamples", 100, "--with-paths")
    assert all(any(word in leak for leak in leaks([out / "whole.html"], WORDS)) for word in WORDS)


def test_the_folder_of_a_report_may_be_named_like_the_user(private: Path, tmp_path: Path) -> None:
    own = tmp_path / USER
    private.parent.joinpath(private.name).rename(own)
    try:
        command("report", own, "--out", tmp_path / "report.html", "--no-intervals")
    finally:
        own.rename(private)
    assert leaks([tmp_path / "report.html"], WORDS) == []


def test_audits(private: Path, tmp_path: Path) -> None:
    options = ("--images", 8, "--cost-model", "none", "--device", "cpu")
    command("audit", "variance", *options, "--json", tmp_path / "a.json")
    assert leaks([tmp_path / "a.json"], WORDS) == []
    assert json.loads((tmp_path / "a.json").read_text())["about"]["command"][1] == "audit"
    command("audit", "variance", *options, "--json", tmp_path / "b.json", "--with-paths")
    assert leaks([tmp_path / "b.json"], (HOST, DISK)) != []
