from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_detectors import write_configs

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_VIT_CONFIG, load_detector
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import class_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("configs")
    write_configs(root)
    return root


def test_saved_weights_are_restored(tmp_path: Path) -> None:
    made = load_detector(SHAPES_VIT_CONFIG, None, random_weights=3)
    save_safetensors(tmp_path / "d.safetensors", made.model.state_dict(), {})
    again = load_detector(SHAPES_VIT_CONFIG, tmp_path / "d.safetensors")
    assert all(torch.equal(value, again.model.state_dict()[key]) for key, value in made.model.state_dict().items())
    assert "classes" in again.identity


class _Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("code in a checkpoint ran",)


def test_checkpoints_of_mmengine_are_read_and_others_named(folder: Path, tmp_path: Path) -> None:
    from mmengine.logging import HistoryBuffer
    from mmengine.runner.checkpoint import save_checkpoint

    config, weights = folder / "dense.py", tmp_path / "dense.pth"
    random = load_detector(config, None, random_weights=5)
    history = {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}
    content = {"meta": {"epoch": 1, "time": np.float64(3.0)}, "state_dict": random.model.state_dict()}
    save_checkpoint({**content, "message_hub": {"log_scalars": history}}, str(weights))
    loaded = load_detector(config, weights)
    for a, b in zip(random.model.state_dict().values(), loaded.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert loaded.identity["weights"] != "" and loaded.identity["config"] == random.identity["config"]
    with pytest.raises(InputError, match=r"weights do not fit detector padded.*unexpected.*looks like a detector") as e:
        load_detector(folder / "padded.py", weights)
    assert "\n" not in str(e.value) and "backbone" in str(e.value)
    torch.save({"state_dict": _Trap()}, weights)
    with pytest.raises(InputError, match="not a plain pickle of tensors.*print") as e:
        load_detector(config, weights)
    assert "\n" not in str(e.value)
    with pytest.raises(InputError, match=r"nowhere\.pth"):
        load_detector(config, tmp_path / "nowhere.pth")


def test_building_downloads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a detector tried to download")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_detector("mask-rcnn_r50_fpn_1x_coco", None, random_weights=0)


def test_random_weights_depend_on_the_seed_alone(folder: Path) -> None:
    one, same, other = (load_detector(folder / "dense.py", None, random_weights=seed) for seed in (1, 1, 2))
    states = [d.model.state_dict()["bbox_head.retina_cls.weight"] for d in (one, same, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert one.identity == same.identity != other.identity


def test_the_shapes_config_is_the_worlds() -> None:
    from ltrp_bench.tasks.data.shapes import world as shapes

    config = openmmlab.load_config(SHAPES_CONFIG)
    assert class_names(config) == shapes.CATEGORIES
    assert config.model.data_preprocessor.mean == pytest.approx([255 * v for v in shapes.MEAN])
    assert config.model.data_preprocessor.std == pytest.approx([255 * v for v in shapes.STD])
    detector = load_detector(SHAPES_CONFIG, None, random_weights=0)
    assert sum(p.numel() for p in detector.model.parameters()) < 3e6
