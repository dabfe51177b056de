"""Names and files are checked before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_audit_is_as_quick() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, "audit", "evti"], capture_output=True, text=True)
    assert (done.returncode, "no selector 'evti'; did you mean 'evit'?" in done.stderr) == (2, True), done.stderr


def test_right_names_pass(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch()
    check_names(["ltrp.photos", "mine:Selector"], ["coco-det"], [f"ltrp.photos={tmp_path / 'weights.pth'}"])
    check_names(["dino"], [], ["timm:vit_tiny_patch16_224"])
    with pytest.raises(UsageError, match="which selector is it for"):
        check_names(["dino", "moco"], [], ["weights.pth"])
    with pytest.raises(InputError, match="no file"):
        check_names(["dino", "moco"], [], ["dino=weights.pth"])
