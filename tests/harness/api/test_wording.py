"""Messages of the Python API name its arguments, not flags of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import ltrp_bench as lb
from ltrp_bench.harness.api.wording import in_python


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("measured against it; --no-full leaves it out", "measured against it; full=False leaves it out"),
        ("choose by --task-option subset=NAME", 'choose by create_task(..., subset="NAME")'),
        ("--task-option annotations=no.json: no such file", 'create_task(..., annotations="no.json"): no such file'),
        ("--task-option zero_based=true (0 is", "create_task(..., zero_based=True) (0 is"),
        ("--task-option random_weights=0 for", "create_task(..., random_weights=0) for"),
        ("give its folder with --data DIR", 'give its folder with data="DIR"'),
        ("--data must name a folder", "data must name a folder"),
        ("the files: --data FILE.json, or", 'the files: data="FILE.json", or'),
        ("give --weights dino=vit_s.pth", 'give weights="vit_s.pth"'),
        ("an example --model vit_tiny_patch16_224", 'an example model="vit_tiny_patch16_224"'),
        ("--model an mmdet config's name", "model an mmdet config's name"),
        ("a.jpg is broken (--skip-bad-images leaves it out)", "a.jpg is broken (skip_bad_images=True leaves it out)"),
        ("2 boxes clipped (--strict)", "2 boxes clipped (strict=True)"),
        ("give at least one --keep-ratio", "give at least one keep_ratios"),
        ("--device cuda:9 cannot be used", 'device="cuda:9" cannot be used'),
        ("--device gpu: write auto, cpu", 'device="gpu": write auto, cpu'),
        (
            "`leaderboard --unseen-by imagenet21k` or `--unseen-by common` groups",
            '`leaderboard(unseen_by="imagenet21k")` or `unseen_by="common"` groups',
        ),
        ("as they are: leaderboard --count-exposed", "as they are: leaderboard(count_exposed=True)"),
        ("`ltrp-bench run --task-option fold=1` adds it", "`ltrp-bench run --task-option fold=1` adds it"),
        ("--latency-device shows others", "latency_device shows others"),
        ("a -- b, -1 and non--flags", "a -- b, -1 and non--flags"),
    ],
)
def test_flags_become_arguments(text: str, expected: str) -> None:
    assert in_python(text) == expected


def test_errors_and_notes_of_the_api(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(lb.UsageError, match='this task reads a COCO data set: give its folder with data="DIR"'):
        lb.create_task("coco-coverage")
    with pytest.raises(lb.InputError, match=r'or create_task\(\.\.\., annotations="FILE"\)'):
        lb.evaluate("random", "coco-coverage", 0.5, data=tmp_path, out=tmp_path / "runs")
    with pytest.raises(lb.UsageError, match='device="gpu" cannot be used here'):
        lb.evaluate("random", "shapes-coverage", 0.5, device="gpu", out=tmp_path / "runs")
    lb.evaluate("random", "shapes-cls", 0.5, limit=2, out=tmp_path / "runs", engine="serial", progress=False)
    assert "full=False leaves it out" in "".join(capsys.readouterr())
