"""`ltrp-bench audit` on a selector from a file, on photographs, and with wrong options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.harness.cli.main import run_command


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run_command(["audit", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


QUICK = ("--cost-model", "none", "--images", 8, "--device", "cpu")


def test_a_selector_from_a_file(command: Any, tmp_path: Path) -> None:
    code = (
        "import torch\nfrom ltrp_bench.selectors.base import Selector\n"
        "class Brightness(Selector):\n    name = 'brightness'\n    patch_size = 16\n"
        "    def __init__(self, sign=1):\n        self.sign = sign\n"
        "    def _scores(self, images, context):\n"
        "        return self.sign * torch.nn.functional.avg_pool2d(images.mean(1), 16)\n"
        "class Noise(Brightness):\n"
        "    def _scores(self, images, context):\n        return torch.rand(len(images), 12, 12)\n"
    )
    (tmp_path / "audited_here.py").write_text(code)
    got, out, err = command("audited_here:Brightness", *QUICK, "--json", "a.json", "--selector-option", "sign=-1")
    assert got == 0, err
    assert "agreement: oracle" in out and "broken" not in out
    held = json.loads((tmp_path / "a.json").read_text())
    assert held["contract_kept"] and held["selector"]["identity"]["options"] == {"sign": -1}
    assert held["pictures"]["images"] == 8 and held["about"]["versions"]["torch"]
    got, out, _ = command("audited_here:Brightness", *QUICK, "--against", "audited_here:Noise", "--json", "b.json")
    assert got == 0 and "agreement: audited_here:Noise" in out
    one, other = (held["measures"]["agreement"], json.loads((tmp_path / "b.json").read_text())["measures"]["agreement"])
    assert one["oracle"]["spearman"]["value"] == pytest.approx(-other["oracle"]["spearman"]["value"])

    got, out, err = command("audited_here:Noise", *QUICK, "--json", "c.json")
    assert got == 1 and "broken" in out and "Traceback" not in err
    assert "contract broken: again, on image '0000" in err and "contract broken: order, on image" in err
    assert not json.loads((tmp_path / "c.json").read_text())["contract_kept"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing argument 'SELECTOR'"),
        (("varianc",), 2, "did you mean 'variance'"),
        (("variance", "--cost-model", "resnet5"), 2, "--cost-model resnet5: timm has no such model"),
        (("variance", "--images", "7"), 2, "--images"),
        (("variance", "--weights", "no.pth"), 1, "no file no.pth"),
        (("variance", "--selector-option", "depth"), 2, "write key=value"),
        (("variance", "--selector-option", "depth=3"), 2, "its options: patch_size"),
        (("variance", "--data", "nowhere"), 1, "nowhere"),
        (("variance", "--task", "nothing"), 2, "no task 'nothing'"),
        (("variance", "--task-option", "images=3"), 1, "an audit needs 8 images"),
        (("variance", "--device", "warp"), 2, "--device warp cannot be used here"),
    ],
)
def test_errors_are_one_line(command: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    got, out, err = command(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("ltrp-bench: ")]
    assert got == code and len(lines) == 1 and message in lines[0], err
    assert "Traceback" not in err and out == ""


def test_help_does_not_load_torch() -> None:
    script = (
        "import sys\nfrom ltrp_bench.harness.cli.main import run_command\nrun_command(['audit', '--help'])\n"
        "sys.exit('loaded' if {'torch', 'timm', 'scipy'} & sys.modules.keys() else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and "SELECTOR" in done.stdout, done.stderr[-300:]


@pytest.mark.slow
def test_ltrp_beside_the_shapes_detector(command: Any, tmp_path: Path) -> None:
    code, out, err = command("ltrp", "--images", 8, "--json", "a.json", "--device", "cpu")
    assert code == 0 and "of shapes-detector" in out, err
    cost = json.loads((tmp_path / "a.json").read_text())["cost"]
    # 0.86 M parameters at strides 4 to 16, and a ranker of 0.9 M on 144 tokens: of one order.
    assert 0.1 < cost["flops_share"] < 3 and cost["time_share"] > 0


@pytest.mark.slow
def test_photographs(command: Any, shared_dir: Path) -> None:
    code, out, err = command("variance", "--data", shared_dir / "data" / "coco", *QUICK)
    assert code == 0 and "8 images of coco-coverage" in out, err
