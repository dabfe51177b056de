from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.catalog import coco_det, shapes_det
from ltrp_bench.tasks.detection import DetectionTask
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, load_detector
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import class_names
from ltrp_bench.tasks.splits.split import load_split

# Kinds: dense with anchors, dense with padding to a square, two stages with masks, a set transformer.
KINDS = {
    "dense": "retinanet/retinanet_r18_fpn_1x_coco",
    "padded": "rtmdet/rtmdet_tiny_8xb32-300e_coco",
    "masks": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "transformer": "detr/detr_r50_8xb2-150e_coco",
}
# Untrained detectors are sure of nothing: let everything through.
LOOSE = {
    "dense": "model = dict(test_cfg=dict(score_thr=0.0))",
    "padded": "model = dict(test_cfg=dict(nms_pre=300, score_thr=0.0, min_bbox_size=-1000))",
    "masks": "model = dict(test_cfg=dict(rpn=dict(max_per_img=40), rcnn=dict(score_thr=0.0)))",
}


def wake(task: DetectionTask) -> DetectionTask:
    """Give the untrained network batch statistics: with those it starts from, the image hardly matters."""
    model = task.runner.detector.model
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        model.extract_feat(torch.randn(2, 3, 128, 160, generator=torch.Generator().manual_seed(0)))
    model.eval()
    return task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images in COCO's format and small configs of four kinds of detectors."""
    openmmlab.setup()
    root = tmp_path_factory.mktemp("det")
    (root / "coco" / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = list(load_split("imagenet1k_coco80").states)
    images, annotations = [], []
    for i, (h, w) in enumerate([(90, 120), (120, 90), (90, 120)], start=1):
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)).save(root / "coco" / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "height": h, "width": w})
        for k in range(2):
            box = [10 + 20 * k, 15, 30, 40]
            annotations.append(
                {"id": 2 * i + k, "image_id": i, "category_id": 1 + k * 24, "bbox": box, "area": 1200, "iscrowd": 0}
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
    }
    (root / "coco" / "instances.json").write_text(json.dumps(content))
    for kind, base in KINDS.items():
        square = ["dict(type='Pad', size=(160, 160), pad_val=dict(img=(114, 114, 114))),"] * (kind == "padded")
        (root / f"{kind}.py").write_text(
            f"_base_ = {str(openmmlab.config_root() / base) + '.py'!r}\n"
            "pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 120), keep_ratio=True),"
            f"{''.join(square)} dict(type='PackDetInputs')]\n"
            "test_dataloader = dict(dataset=dict(pipeline=pipeline))\n" + LOOSE.get(kind, "")
        )
    return root


@pytest.fixture(scope="module")
def tasks(folder: Path) -> dict[str, DetectionTask]:
    return {kind: coco_det(folder / "coco", model=folder / f"{kind}.py", random_weights=3, patch=16) for kind in KINDS}


def half(task: DetectionTask, index: int) -> tuple[Any, np.ndarray]:
    sample = task.load(index)
    gh, gw = task.grid(sample)
    return sample, np.random.default_rng(index).random((gh, gw)) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_changing_dropped_pixels_changes_nothing(tasks: dict[str, DetectionTask], folder: Path, kind: str) -> None:
    task = tasks[kind]
    if kind == "padded":
        # RTMDet starts with a head so small that its scores are all 0.01 after rounding, whatever it is shown.
        task = wake(coco_det(folder / "coco", model=folder / "padded.py", random_weights=3, patch=16))
        head = task.runner.detector.model.bbox_head
        with torch.no_grad():
            for layer in (*head.rtm_cls, *head.rtm_reg):
                layer.weight.mul_(30)
    sample, keep = half(task, 0)
    before = task.predict([sample], [Keep(keep)])[0]
    assert len(before) > 0
    prepared = sample.annotations.prepared
    content = prepared.content
    dropped = ~np.repeat(np.repeat(keep, 16, 0), 16, 1)[: content.shape[0], : content.shape[1]]
    held = content.copy()
    content[dropped] = 255 - content[dropped]
    assert task.predict([sample], [Keep(keep)])[0] == before
    content[~dropped] = 255 - content[~dropped]
    assert task.predict([sample], [Keep(keep)])[0] != before
    content[:] = held


@pytest.mark.parametrize("kind", KINDS)
def test_dropped_patches_are_zero_behind_the_normalisation(tasks: dict[str, DetectionTask], kind: str) -> None:
    runner = tasks[kind].runner
    sample, keep = half(tasks[kind], 1)
    packed = runner.reduce(sample.annotations.prepared, Keep(keep))
    batch = {key: [value] for key, value in packed.items()}
    normalised = runner.detector.model.data_preprocessor(batch, False)["inputs"][0]
    h, w = sample.annotations.prepared.content.shape[:2]
    dropped = torch.from_numpy(~np.repeat(np.repeat(keep, 16, 0), 16, 1)[:h, :w])
    assert (normalised[:, :h, :w][:, dropped] == 0).all()
    assert (normalised[:, :h, :w][:, ~dropped] != 0).any()


def test_padding_is_no_patch(tasks: dict[str, DetectionTask]) -> None:
    for kind in ("dense", "padded"):
        assert [tasks[kind].grid(tasks[kind].load(i)) for i in (0, 1)] == [(8, 10), (10, 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_image_does_not_depend_on_its_batch(tasks: dict[str, DetectionTask], kind: str) -> None:
    task = tasks[kind]
    pairs = [half(task, i) for i in (0, 2, 1)]
    together = task.predict([s for s, _ in pairs], [Keep(k) for _, k in pairs])
    assert together == [task.predict([s], [Keep(k)])[0] for s, k in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_metrics(tasks: dict[str, DetectionTask], kind: str) -> None:
    task = tasks[kind]
    records = {}
    for i in range(3):
        sample, keep = half(task, i)
        (rows,) = task.predict([sample], [Keep(np.ones_like(keep))])
        scores = [row["score"] for row in rows]
        assert len(rows) <= 100 and scores == sorted(scores, reverse=True)
        assert all(set(row) == set(task.row_schema) for row in rows)
        assert all((row["rle"] != "") == (kind == "masks") for row in rows)
        h, w = sample.image.shape[:2]
        assert all(row["x"] + row["w"] <= w + 1 and row["y"] + row["h"] <= h + 1 for row in rows)
        records[sample.image_id] = rows
    found = {(m.metric, m.group, m.category) for m in task.compute_metrics(records)}
    assert ("bbox_AP", "unseen", None) in found and ("bbox_AR100", "seen", "person") in found
    assert (("segm_AP", "all", None) in found) == (kind == "masks")


def test_perfect_detections_score_one_and_none_zero(tasks: dict[str, DetectionTask]) -> None:
    task = tasks["dense"]
    perfect = {
        image_id: [
            {"category": o.category, "score": 1.0, "rle": ""} | dict(zip("xywh", o.box, strict=True))
            for o in task.dataset.truth(i).objects
        ]
        for i, image_id in enumerate(task.dataset.ids)
    }
    values = {(m.metric, m.group): m.value for m in task.compute_metrics(perfect) if m.category is None}
    assert values["bbox_AP", "seen"] == values["bbox_AP", "all"] == pytest.approx(1.0)
    values = {
        (m.metric, m.group): m.value for m in task.compute_metrics({key: [] for key in perfect}) if m.category is None
    }
    assert values["bbox_AP", "all"] == 0.0


def test_downsampling_maps_boxes_back(tasks: dict[str, DetectionTask]) -> None:
    task = tasks["dense"]
    sample = task.load(0)
    prepared = sample.annotations.prepared
    packed = task.runner.reduce(prepared, Downsample(0.25))
    assert packed["inputs"].shape[1:] == (60, 80)
    np.testing.assert_allclose(packed["data_samples"].scale_factor, (80 / 120, 60 / 90))
    whole = task.runner.reduce(prepared, Downsample(1.0))
    torch.testing.assert_close(whole["inputs"], task.runner.reduce(prepared, Keep(np.ones((8, 10), bool)))["inputs"])
    rows = task.predict([sample], [Downsample(0.25)])[0]
    assert max(row["x"] + row["w"] for row in rows) > 90  # in the original's pixels, not the small image's


def test_the_oracle_sees_the_objects(tasks: dict[str, DetectionTask]) -> None:
    sample = tasks["dense"].load(0)
    share = tasks["dense"].oracle_scores(sample)
    scale = 160 / 120
    assert share.shape == (8, 10) and share.sum() * 16 * 16 == pytest.approx(50 * 40 * scale**2, rel=1e-3)


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


def test_wrong_use_is_named(folder: Path, tmp_path: Path) -> None:
    data = folder / "coco"
    with pytest.raises(UsageError, match="--model-weights"):
        coco_det(data, model=folder / "dense.py")
    with pytest.raises(UsageError, match="not both"):
        load_detector(folder / "dense.py", "x.pth", random_weights=0)
    with pytest.raises(UsageError, match="--model"):
        coco_det(data)
    with pytest.raises(InputError, match="wrong model for this data set"):
        coco_det(data, model=SHAPES_CONFIG, random_weights=0)
    with pytest.raises(InputError, match="similar names"):
        coco_det(data, model="retinanet_r19_fpn_1x_coco", random_weights=0)
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(type='NoSuchDetector')\n")
    with pytest.raises(InputError, match="NoSuchDetector"):
        load_detector(broken, None, random_weights=0)
    with pytest.raises(InputError, match="40 classes, its data set 80"):
        odd = folder / "odd.py"
        odd.write_text("_base_ = './dense.py'\nmodel = dict(bbox_head=dict(num_classes=40))\n")
        load_detector(odd, None, random_weights=0)


def test_building_reaches_for_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a detector reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_detector("mask-rcnn_r50_fpn_1x_coco", None, random_weights=0)


def test_random_weights_are_the_seeds_alone(folder: Path) -> None:
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


def test_dropped_pixels_of_shapes_leak_nothing_from_the_start() -> None:
    task = shapes_det(limit=2, random_weights=0)
    sample = task.load(0)
    keep = np.random.default_rng(0).random((12, 12)) < 0.5
    assert task.grid(sample) == (12, 12)
    dropped = ~np.kron(keep, np.ones((8, 8), bool))
    other = sample.image.copy()
    other[dropped] = 0
    rows = task.runner.rows([task.runner.prepare(p) for p in (sample.image, other)], [Keep(keep)] * 2)
    assert rows[0] == rows[1]
