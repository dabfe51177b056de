"""`ltrp-bench doctor`: facts about the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_lines import Run

from ltrp_bench.harness.cli import doctor


def test_every_section_is_printed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "mine" / "images").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "instances.json").write_text("{}")
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("python ", "torch ", "cpu, ", "mmcv operators", "selectors: ", "COCO in one folder: data/mine"):
        assert word in out
    assert ": made of" not in out and "1 threads" not in out


def test_a_section_that_fails_does_not_hide_the_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no such\ndevice")

    monkeypatch.setattr(doctor, "_devices", lambda: (fail() for _ in range(1)))
    code, out, _ = run("doctor")
    lines = out.splitlines()
    assert code == 0 and lines[lines.index("devices") + 1] == "  cannot be determined: OSError: no such device"
    assert "data sets" in lines and "  shapes: built in" in lines


def test_data_folders_are_those_of_the_environment_and_the_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data/coco", "elsewhere/voc"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("LTRP_BENCH_DATA", f"{tmp_path / 'elsewhere'}:{tmp_path / 'nowhere'}")
    found = [tmp_path / "elsewhere", Path("data"), tmp_path / "elsewhere" / "voc", Path("data/coco")]
    assert doctor.data_folders() == found


def test_lines_are_short_and_what_is_missing_comes_with_a_remedy(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LTRP_BENCH_DATA", raising=False)
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setenv("LTRP_BENCH_CACHE", "cache")
    code, out, _ = run("doctor")
    lines = out.splitlines()
    missing, optional = lines.index("missing"), lines.index("optional")
    assert code == 0 and lines[missing + 1 : optional] == ["  no-such-package: pip install no-such-package"]
    text = " ".join(" ".join(lines[optional:]).split())
    assert "COCO (not found; only the coco-* tasks need it): give its folder with --data DIR" in text
    assert "  no COCO found; LTRP_BENCH_DATA names a folder to search" in lines
    assert "  official, in cache: none" in lines and "LTRP_BENCH_DATA" in out
    assert [line for line in lines if len(line) > 120 and "python" not in line] == []
    assert not any(line.count(", ") > 5 for line in lines)
