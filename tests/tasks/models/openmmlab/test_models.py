"""Parts of OpenMMLab's configs and models, on configs and models of a few lines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ltrp_bench.selectors.checkpoints import read_weights
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import (
    build_model,
    class_names,
    fill_value,
    load_model_config,
    load_weights,
    pipeline_steps,
    run_test_step,
)


def config(**content: Any) -> Any:
    openmmlab.setup()
    from mmengine.config import Config

    return Config(content)


def test_steps_of_the_test_pipeline_without_reading_and_packing() -> None:
    resize = {"type": "Resize", "scale": (96, 96)}
    steps = [{"type": "LoadImageFromFile"}, resize, {"type": "mmdet.LoadAnnotations"}, {"type": "PackDetInputs"}]
    wrapped = {"type": "RepeatDataset", "dataset": {"pipeline": steps}}
    assert pipeline_steps(config(test_dataloader={"dataset": wrapped})) == [resize]
    assert pipeline_steps(config(test_pipeline=steps)) == [resize]
    with pytest.raises(InputError, match="has no test pipeline"):
        pipeline_steps(config())


def test_names_of_classes() -> None:
    own = {"metainfo": {"classes": "cat"}}
    assert class_names(config(test_dataloader={"dataset": own})) == ("cat",)
    assert class_names(config(metainfo={"classes": ["a", "b"]})) == ("a", "b")
    by_type = config(test_dataloader={"dataset": {"type": "CocoDataset"}})
    assert class_names(by_type)[:2] == ("person", "bicycle") and len(class_names(by_type)) == 80
    ade = config(test_dataloader={"dataset": {"type": "ADE20KDataset"}})
    assert class_names(ade, package="mmseg")[:2] == ("wall", "building")
    with pytest.raises(InputError, match=r"^config mine does not say the names of its classes"):
        class_names(config(), "mine")


@pytest.mark.parametrize(
    ("normalizes", "mean", "swaps", "expected"),
    [
        (True, [1.0, 2.0, 3.0], False, (1.0, 2.0, 3.0)),
        (True, [1.0, 2.0, 3.0], True, (3.0, 2.0, 1.0)),
        (True, [4.0], False, (4.0, 4.0, 4.0)),
        (False, [9.0], False, (255 * 0.406, 255 * 0.456, 255 * 0.485)),
    ],
)
def test_dropped_pixels_have_the_mean_that_is_subtracted(
    normalizes: bool, mean: list[float], swaps: bool, expected: tuple[float, ...]
) -> None:
    preprocessor = SimpleNamespace(
        _enable_normalize=normalizes, mean=torch.tensor(mean).view(-1, 1, 1), _channel_conversion=swaps
    )
    assert fill_value(SimpleNamespace(data_preprocessor=preprocessor)) == expected


def test_weights_must_fit_exactly(tmp_path: Path) -> None:
    openmmlab.setup()
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    path = tmp_path / "w.pth"
    state = {"state_dict": {**source.state_dict(), "data_preprocessor.mean": torch.zeros(3)}}
    torch.save(state, path)
    load_weights(target, read_weights(path), "it")
    assert torch.equal(target.weight, source.weight)
    with pytest.raises(InputError, match=r"weights do not fit it.*weight \[3, 2\] instead of \[3, 4\]"):
        load_weights(nn.Linear(4, 3), read_weights(path), "it")
    with pytest.raises(InputError, match=r"weights do not fit it.*unexpected.*bias"):
        load_weights(nn.Linear(2, 3, bias=False), read_weights(path), "it")


def test_failures_of_a_model_are_one_line() -> None:
    class Fails:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def test_step(self, batch: Any) -> Any:
            raise self.error

    with pytest.raises(InputError, match=r"^the detector fails on an image: ValueError: first$"):
        run_test_step(Fails(ValueError("first\nsecond")), {}, "mmdet", "detector")
    with pytest.raises(InputError, match=r"^as it is$"):
        run_test_step(Fails(InputError("as it is")), {}, "mmdet", "detector")
    echo = SimpleNamespace(test_step=lambda batch: (batch["inputs"], torch.is_inference_mode_enabled()))
    assert run_test_step(echo, {"inputs": 3}, "mmdet", "detector") == [3, True]


def test_what_cannot_be_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^detector x cannot be built: .*NoSuchDetector"):
        build_model(config(model={"type": "NoSuchDetector"}), "mmdet", "detector x", 0)
    (tmp_path / "empty.py").write_text("a = 1\n")
    with pytest.raises(InputError, match=r"^config .*empty\.py has no 'model'$"):
        load_model_config(tmp_path / "empty.py", "mmdet")
