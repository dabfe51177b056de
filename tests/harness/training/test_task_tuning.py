"""Length and learning rate of MAE's recipe, and score maps that are mixed like their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from timm.data import Mixup

from ltrp_bench.harness.training.options.tasks import TaskTrainingOptions
from ltrp_bench.harness.training.task_tuning import mixed, with_epochs
from ltrp_bench.selectors.errors import UsageError


def training(out: Path, **options: Any) -> TaskTrainingOptions:
    return TaskTrainingOptions(out=out, **{"batch_size": 4, **options})


def test_scores_are_mixed_as_their_images() -> None:
    images = torch.zeros(4, 3, 32, 32)
    scores = torch.arange(4.0)[:, None, None].expand(4, 4, 4).contiguous()
    images += scores.mean((1, 2)).view(4, 1, 1, 1)
    for mix in (Mixup(1.0, 0.0, num_classes=4), Mixup(0.0, 1.0, num_classes=4)):
        pixels, targets, after = mixed(mix, images.clone(), torch.arange(4), scores)
        assert after is not None and pixels.shape == (4, 3, 32, 32) and targets.shape == (4, 4)
        expected = torch.nn.functional.adaptive_avg_pool2d(pixels[:, 0], (4, 4))
        torch.testing.assert_close(after, expected)


def test_length_and_rate_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_epochs(training(tmp_path, batch_size=128, accumulate=2), 1_281_167)
    assert made.lr == pytest.approx(5e-4) and made.iterations == 1_000_912 and made.warmup == 50_046
    made = with_epochs(training(tmp_path), 100, iterations=7, lr=0.1)
    assert (made.iterations, made.lr) == (7, 0.1)
    monkeypatch.setenv("WORLD_SIZE", "8")
    made = with_epochs(training(tmp_path, batch_size=128, epochs=3), 1024)
    assert made.iterations == 3 and made.lr == pytest.approx(2e-3)
    with pytest.raises(UsageError, match="not both"):
        with_epochs(training(tmp_path, epochs=2), 100, iterations=7)
