"""`train ltrp`: a ranker that starts from its teacher's encoder, and errors."""

from __future__ import annotations

from pathlib import Path

import torch

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.ltrp.ranker import load_ranker
from ltrp_bench.selectors.registry import create_selector


def command(data: str, out: Path, iterations: int) -> list[str]:
    options = f"--size 96 --iterations {iterations} --batch-size 4 --save-every 1 --workers 0 --no-norm-pix"
    return ["train", "mae", "--data", data, "--out", str(out), "--pictures", "12", *options.split()]


def test_a_ranker_starts_from_its_teacher_and_is_loaded_by_the_selector(tmp_path: Path) -> None:
    teacher, ranker = tmp_path / "mae.test.safetensors", tmp_path / "ltrp.test.safetensors"
    assert run_command([*command("shapes", tmp_path / "mae", 1), "--export", str(teacher)]) == 0
    options = "--ranker mae --iterations 2 --batch-size 2 --pictures 4 --workers 0 --lr 0 --distance l2 --no-asymmetric"
    arguments = ["train", "ltrp", "--mae", str(teacher), "--out", str(tmp_path / "ltrp"), "--export", str(ranker)]
    assert run_command([*arguments, *options.split()]) == 0
    selector = create_selector("ltrp", weights=ranker)
    assert selector.scores(torch.zeros(2, 3, 96, 96)).shape == (2, 12, 12)
    encoder, learnt = load_mae(teacher).state_dict(), load_ranker(ranker).state_dict()
    shared = [k for k in learnt if k in encoder and k.startswith(("blocks.", "patch_embed."))]
    # A learning rate of zero: the ranker still is the teacher's encoder.
    assert len(shared) > 40 and all(torch.equal(encoder[k], learnt[k]) for k in shared)
    assert run_command([*arguments[:3], "no_such_tag", "--out", str(tmp_path / "x"), *options.split()]) == 1
