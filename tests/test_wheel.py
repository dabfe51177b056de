"""The wheel fits PyPI, holds what a user needs and nothing else, and works in another folder and environment."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def tracked_files() -> list[str]:
    """Names of the files under version control."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_checkout_is_at_most_64_mib() -> None:
    assert sum((ROOT / name).stat().st_size for name in tracked_files()) <= 64 * 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tracked files, as a release builds it, without a network."""
    sources, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in tracked_files():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, sources / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(out), "."], cwd=sources, check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_is_at_most_60_mb(wheel: Path) -> None:
    assert wheel.stat().st_size <= 60_000_000
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"ltrp_bench"}
    assert {name.split("/")[1] for name in names if name.startswith("ltrp_bench/") and name.count("/") > 1} == {
        "harness",
        "results",
        "selectors",
        "tasks",
    }
    weights = {name for name in names if name.endswith(".safetensors")}
    assert "ltrp_bench/selectors/weights/ltrp.shapes.safetensors" in weights
    assert {name.replace(".safetensors", ".md") for name in weights} <= set(names)


@pytest.mark.slow
def test_the_wheel_works_in_another_environment_and_folder(wheel: Path, tmp_path: Path) -> None:
    home, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    folder = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # The dependencies are those of this environment. A path file adds their folder without its own path files, so an
    # editable install of this checkout is not found there.
    (folder / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", str(wheel)], check=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LTRP_BENCH_SHARED")}

    def run(*command: str) -> str:
        result = subprocess.run(
            [str(home / "bin" / command[0]), *command[1:]], cwd=work, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout

    where = run("python", "-c", "import ltrp_bench.selectors.registry as r; print(r.__file__)")
    assert Path(where.strip()).is_relative_to(folder)
    options = ["--task", "shapes-coverage", "--limit", "4", "--keep-ratio", "0.25", "--threads", "1"]
    run("ltrp-bench", "run", "--selector", "ltrp", "--selector", "random", *options)
    run("ltrp-bench", "leaderboard", "--no-intervals", "--csv", "table.csv")
    with (work / "table.csv").open(encoding="utf-8") as file:
        assert {row["selector"] for row in csv.DictReader(file)} == {"ltrp.shapes", "random"}
