"""Names and files are checked before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from ltrp_bench.harness.cli.option_groups import check_names
from ltrp_bench.harness.evaluation.recipes import GROUPS
from ltrp_bench.selectors import registry as selectors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks import registry as tasks

SCRIPT = """
import sys
from ltrp_bench.harness.cli.main import run_command
code = run_command(sys.argv[1:])
heavy = {"torch", "pandas", "scipy", "timm"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def test_groups_are_those_of_the_registries() -> None:
    assert GROUPS == {"selector": selectors.GROUP, "task": tasks.GROUP}


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--selector", "ltpr", "--task", "shapes-det"), "no selector 'ltpr'; did you mean 'ltrp'?", 2),
        (("--selector", "ltrp.photos", "--task", "coco-dte"), "no task 'coco-dte'; did you mean 'coco-det'?", 2),
        (("--selector", "evit", "--task", "shapes-det", "--weights", "no.pth"), "selector 'evit': no file no.pth", 1),
    ],
)
@pytest.mark.parametrize("command", ["run", "show"])
def test_a_wrong_name_is_answered_without_heavy_imports(
    command: str, arguments: tuple[str, ...], message: str, code: int
) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, command, *arguments], capture_output=True, text=True)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run --selector random --task coco-det --data none", "no COCO data set in none (no such file or folder)"),
        ("run --selector random --task coco-coverage --data .", "no COCO data set in .: looked for"),
        ("run --selector random --task voc-det --data voc-det=.", "no VOC devkit in .: looked for"),
        ("show --selector random --task ade20k-seg --data .", "no ADE20K in .: looked for"),
        ("audit random --task context-coverage --data .", "no VOC devkit in .: looked for"),
        ("latency --selector random --task nuswide-multilabel --data .", "no NUS-WIDE in .: looked for"),
        ("run --selector random --task imagenet-cls --data none", "no folder none: --data must name"),
        ("run --selector random --task stuff-coverage --data .", "no images with class masks in ."),
        (
            "run --selector dino --task shapes-coverage --weights timm:vit_small_patch16_224.dino",
            "timm:vit_small_patch16_224.dino is not in the hub's cache: give the weights as a file",
        ),
        (
            "run --selector dino --task shapes-coverage --weights hf-hub:timm/vit",
            "timm/vit is not in the hub's cache: give the weights of",
        ),
    ],
)
def test_missing_data_and_weights_are_answered_without_heavy_imports(
    command: str, message: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command.split()], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr


def test_data_that_is_there_passes(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    with pytest.raises(InputError, match="no COCO data set in"):
        check_names([], ["coco-det"], data=[str(tmp_path)])
    (tmp_path / "annotations" / "instances_val2017.json").touch()
    check_names([], ["coco-det"], data=[str(tmp_path)])
    check_names([], ["coco-det", "shapes-det"], data=[f"coco-det={tmp_path}"])
    with pytest.raises(InputError, match="annotations=no.json: no such file"):
        check_names([], ["coco-det"], data=[str(tmp_path)], task_options=["annotations=no.json"])
    with pytest.raises(UsageError, match="give its folder with --data DIR"):
        check_names([], ["coco-det"])


def test_audit_is_as_quick() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, "audit", "evti"], capture_output=True, text=True)
    assert (done.returncode, "no selector 'evti'; did you mean 'evit'?" in done.stderr) == (2, True), done.stderr


def test_right_names_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.pth").touch()
    check_names(["ltrp.photos", "mine:Selector"], ["shapes-det"], [f"ltrp.photos={tmp_path / 'weights.pth'}"])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--timm--vit_tiny_patch16_224.augreg_in21k").mkdir()
    check_names(["dino"], [], ["timm:vit_tiny_patch16_224"])
    with pytest.raises(UsageError, match="which selector is it for"):
        check_names(["dino", "moco"], [], ["weights.pth"])
    with pytest.raises(InputError, match="no file"):
        check_names(["dino", "moco"], [], ["dino=weights.pth"])
