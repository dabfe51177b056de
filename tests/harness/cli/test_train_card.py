"""The card beside exported weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ltrp_bench.harness.cli.train_card import ExportOptions, loss_curve, write_card


def write_log(out: Path, steps: range) -> None:
    folder = out / "20260101" / "vis_data"
    folder.mkdir(parents=True)
    lines = [json.dumps({"loss": 1 / step, "step": step}) for step in steps]
    (folder / "scalars.json").write_text("\n".join([*lines, json.dumps({"lr": 0.1}), "no json"]))


def test_the_loss_curve_is_thinned_and_ends_at_the_last_step(tmp_path: Path) -> None:
    write_log(tmp_path, range(1, 25))
    assert loss_curve(tmp_path) == [(step, pytest.approx(1 / step)) for step in range(2, 25, 2)]


def test_no_logs_no_curve(tmp_path: Path) -> None:
    assert loss_curve(tmp_path) == []


def test_a_card_has_the_command_the_options_and_the_loss_of_each_stage(tmp_path: Path) -> None:
    out, weights = tmp_path / "out", tmp_path / "vit.test.safetensors"
    weights.write_bytes(b"abc")
    for stage in ("1-looks", "2-policy"):
        write_log(out / stage, range(1, 3))
        (out / stage / "training.json").write_text("{}")
    record, arguments = ExportOptions().shared({"lr": 0.1, "fold": 1, "init": "/data/mae.pth"}, ["--out", str(out)])
    write_card(weights, "vit", record, out, ["train", "vit", *arguments])
    text = weights.with_suffix(".md").read_text()
    assert text.startswith("# vit.test\n")
    assert "kind `vit`" in text and "3 bytes" in text
    assert "    ltrp-bench train vit --out out\n" in text
    assert text.index("| fold | 1 |") < text.index("| lr | 0.1 |")
    assert text.index("iteration of 1-looks") < text.index("iteration of 2-policy")
    assert "| init | mae.pth |" in text and str(tmp_path) not in text


def test_paths_are_kept_if_asked() -> None:
    record = {"init": "/data/mae.pth"}
    assert ExportOptions(with_paths=True).shared(record, ["--out", "/a/b"]) == (record, ["--out", "/a/b"])
