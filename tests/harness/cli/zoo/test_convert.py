"""`ltrp-bench convert`: what it says and writes; the tensors are tested with the converter."""

from __future__ import annotations

from pathlib import Path

from command_lines import Run
from small_yolox import original_yolox


def test_an_original_checkpoint_of_yolox(run: Run, tmp_path: Path) -> None:
    original_yolox(tmp_path / "yolox_nano.pth")
    code, out, err = run("convert", "yolox", "yolox_nano.pth", "--out", "nano.safetensors")
    assert (code, err) == (0, "")
    assert out == "nano.safetensors: for --model yolox_nano_8xb8-300e_coco --model-weights nano.safetensors\n"
    assert (tmp_path / "nano.safetensors").is_file()


def test_what_it_refuses(run: Run, tmp_path: Path) -> None:
    code, _, err = run("convert", "yolox", "none.pth", "--out", "x.safetensors")
    assert code == 1 and "no file none.pth" in err
    original_yolox(tmp_path / "yolox_nano.pth")
    code, _, err = run("convert", "yolox", "yolox_nano.pth", "--out", "x.pth")
    assert code == 1 and "--out x.pth: its name must end in .safetensors" in err
    assert not (tmp_path / "x.pth").exists()
