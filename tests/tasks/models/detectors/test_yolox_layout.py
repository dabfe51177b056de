"""YOLOX's original checkpoints against mmdet's: names, exact round trip, and AP with a genuine detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_yolox import mmdet_yolox, original_yolox, to_original

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Keep, Task
from ltrp_bench.tasks.catalog import coco_det
from ltrp_bench.tasks.models.detectors.yolox_layout import convert_yolox, converted_beside, to_mmdet
from ltrp_bench.tasks.registry import create_task

# Names of parts as Megvii's repository has them (yolox/models), and what mmdet calls the same parts.
PAIRS = {
    "backbone.backbone.stem.conv.conv.weight": "backbone.stem.conv.conv.weight",
    "backbone.backbone.dark2.0.dconv.conv.weight": "backbone.stage1.0.depthwise_conv.conv.weight",
    "backbone.backbone.dark3.1.conv2.bn.bias": "backbone.stage2.1.short_conv.bn.bias",
    "backbone.backbone.dark3.1.m.2.conv2.pconv.bn.weight": "backbone.stage2.1.blocks.2.conv2.pointwise_conv.bn.weight",
    "backbone.backbone.dark5.1.conv2.conv.weight": "backbone.stage4.1.conv2.conv.weight",
    "backbone.backbone.dark5.2.conv3.conv.weight": "backbone.stage4.2.final_conv.conv.weight",
    "backbone.lateral_conv0.conv.weight": "neck.reduce_layers.0.conv.weight",
    "backbone.bu_conv2.dconv.conv.weight": "neck.downsamples.0.depthwise_conv.conv.weight",
    "backbone.C3_p3.conv1.conv.weight": "neck.top_down_blocks.1.main_conv.conv.weight",
    "backbone.C3_n4.m.0.conv1.bn.running_var": "neck.bottom_up_blocks.1.blocks.0.conv1.bn.running_var",
    "head.stems.2.conv.weight": "neck.out_convs.2.conv.weight",
    "head.cls_convs.0.1.pconv.conv.weight": "bbox_head.multi_level_cls_convs.0.1.pointwise_conv.conv.weight",
    "head.reg_preds.1.bias": "bbox_head.multi_level_conv_reg.1.bias",
    "head.obj_preds.0.weight": "bbox_head.multi_level_conv_obj.0.weight",
}


def test_parts_are_renamed_and_tensors_kept() -> None:
    state = {key: torch.tensor(float(number)) for number, key in enumerate(PAIRS)}
    assert to_mmdet(state, "x.pth") == {new: state[old] for old, new in PAIRS.items()}


@pytest.mark.parametrize("size", ["nano", "s"])
def test_the_round_trip_is_exact(tmp_path: Path, size: str) -> None:
    config = f"yolox_{size}_8xb8-300e_coco"
    state = original_yolox(tmp_path / "original.pth", config)
    assert convert_yolox(tmp_path / "original.pth", tmp_path / "new.safetensors") == config
    found = load_file(tmp_path / "new.safetensors")
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
    assert to_original(to_mmdet(to_original(state), "x")).keys() == to_original(state).keys()


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    torch.save({"model": mmdet_yolox()}, tmp_path / "mmdet.pth")
    with pytest.raises(InputError, match=r"^mmdet.pth is not an original checkpoint of YOLOX \(backbone.stem"):
        convert_yolox(tmp_path / "mmdet.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_it_is_converted_once_for_each_original(tmp_path: Path) -> None:
    original_yolox(tmp_path / "yolox_nano.pth")
    out = converted_beside(tmp_path / "yolox_nano.pth")
    first = out.read_bytes()
    assert out == tmp_path / "converted" / "yolox_nano.safetensors"
    before = out.stat().st_mtime_ns
    assert converted_beside(tmp_path / "yolox_nano.pth").stat().st_mtime_ns == before
    state = torch.load(tmp_path / "yolox_nano.pth", weights_only=True)
    state["model"]["head.obj_preds.0.bias"] += 1
    torch.save(state, tmp_path / "yolox_nano.pth")
    assert converted_beside(tmp_path / "yolox_nano.pth").read_bytes() != first


def genuine(shared_dir: Path, folder: Path, limit: int | None) -> dict[str, float]:
    """AP of the genuine YOLOX-Nano in the original layout, named as a checkpoint in the cache and converted there."""
    weights = torch.load(shared_dir / "data" / "weights" / "yolox_nano_coco.pth", weights_only=True)["state_dict"]
    (folder / "yolox" / "nano").mkdir(parents=True)
    torch.save({"model": to_original(weights)}, folder / "yolox" / "nano" / "yolox_nano.pth")
    task = create_task("coco-det", shared_dir / "data" / "coco", model_weights="nano", limit=limit)
    found = load_file(folder / "yolox" / "nano" / "converted" / "yolox_nano.safetensors")
    assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)
    return values_of(task)


def values_of(task: Task) -> dict[str, float]:
    records = {}
    for sample in map(task.load, range(len(task))):
        records[sample.image_id] = task.predict([sample], [Keep(np.ones(task.grid(sample), bool))])[0]
    return {m.group: m.value for m in task.compute_metrics(records) if (m.metric, m.category) == ("bbox_AP", None)}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LTRP_BENCH_CACHE", str(tmp_path))
    # The file is made from mmdet's form of the weights: it holds the published tensors, not the published bytes.
    monkeypatch.setattr("ltrp_bench.selectors.zoo.cache.not_published", lambda *_: "")
    return tmp_path


def test_a_few_images_with_the_genuine_detector(shared_dir: Path, cache: Path) -> None:
    weights = shared_dir / "data" / "weights" / "yolox_nano_coco.pth"
    data = shared_dir / "data" / "coco"
    same = values_of(coco_det(data, model="yolox_nano_8xb8-300e_coco", model_weights=weights, limit=4))
    assert genuine(shared_dir, cache, 4) == same and same["all"] > 0.1


@pytest.mark.slow
def test_all_images_with_the_genuine_detector(shared_dir: Path, cache: Path) -> None:
    assert genuine(shared_dir, cache, None)["all"] == pytest.approx(0.2817, abs=0.002)
