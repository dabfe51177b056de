"""Multi-label tasks on `shapes` and on genuine images: the model's input, rows, metrics, wrong use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep, Row
from ltrp_bench.tasks.catalog import coco_multilabel, nuswide_multilabel, shapes_multilabel, voc_multilabel
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES
from ltrp_bench.tasks.metrics.multilabel import METRICS, SIZE_METRICS, unpack
from ltrp_bench.tasks.models.vit.loading import PlainViT
from ltrp_bench.tasks.models.vit.token_dropping import features_kept
from ltrp_bench.tasks.multilabel import MultiLabelTask
from ltrp_bench.tasks.registry import create_task, task_names

TINY = "vit_tiny_patch16_224"
KINDS: dict[str, dict[str, Any]] = {
    "drop": {},
    "drop-linear": {"head": "linear"},
    "fill": {"reduction": "fill"},
    "network": {"model": "resnet10t", "patch": 8, "image_size": 96},
    "network-decoder": {"model": "resnet10t", "head": "ml-decoder", "patch": 8, "image_size": 96},
}


def awake(task: MultiLabelTask) -> MultiLabelTask:
    """Weights of unit gain: to an untrained network all images look alike."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in task.model.net.named_parameters():
            if value.ndim > 1 and "norm" not in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 1.5 / value[0].numel() ** 0.5)
    return task


@pytest.fixture(scope="module")
def tasks() -> dict[str, MultiLabelTask]:
    return {kind: awake(shapes_multilabel(limit=6, random_weights=0, **given)) for kind, given in KINDS.items()}


def half(task: MultiLabelTask, index: int, share: float = 0.5) -> tuple[Any, Keep]:
    sample = task.load(index)
    grid = task.grid(sample)
    order = np.random.default_rng(index).permutation(grid[0] * grid[1]).reshape(grid)
    return sample, Keep(order < share * order.size)


def run(task: MultiLabelTask) -> dict[str, list[Row]]:
    pairs = [half(task, i, share=1) for i in range(len(task))]
    return {sample.image_id: task.predict([sample], [keep])[0] for sample, keep in pairs}


@pytest.mark.parametrize("kind", KINDS)
def test_only_kept_pixels_matter(tasks: dict[str, MultiLabelTask], kind: str) -> None:
    task = tasks[kind]
    assert task.reduction == kind.partition("-")[0].replace("network", "fill")
    sample, keep = half(task, 0)
    before = task.predict([sample], [keep])[0]
    side = task.patch
    dropped = ~np.kron(keep.mask, np.ones((side, side), bool))
    for where, same in ((dropped, True), (~dropped, False)):
        pixels = sample.image.copy()
        pixels[where] = 255 - pixels[where]
        other = type(sample)(sample.image_id, pixels, sample.annotations)
        assert (task.predict([other], [keep])[0] == before) is same


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_does_not_depend_on_its_batch(tasks: dict[str, MultiLabelTask], kind: str) -> None:
    task = tasks[kind]
    pairs = [half(task, 0), half(task, 1, 0.25), half(task, 2), (task.load(3), Downsample(0.25))]
    together = task.predict(*zip(*pairs, strict=True))
    for rows, (sample, reduction) in zip(together, pairs, strict=True):
        (alone,) = task.predict([sample], [reduction])
        ours, theirs = unpack(rows[0]), unpack(alone[0])
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
        assert rows[0].keys() == task.row_schema.keys() and all(map(np.array_equal, ours[1:], theirs[1:]))


@torch.no_grad()
def test_scores_are_the_sigmoids_of_the_head_on_kept_tokens(tasks: dict[str, MultiLabelTask]) -> None:
    task = tasks["drop"]
    sample, keep = half(task, 1)
    (rows,) = task.predict([sample], [keep])
    assert isinstance(task.model, PlainViT)
    images = task.model.inputs.normalize([sample.image])
    indices = torch.from_numpy(np.flatnonzero(keep.mask))[None]
    tokens = features_kept(task.model.vit, images, indices)
    assert tokens.shape[1] == 1 + 72
    expected = torch.sigmoid(task.model.vit.head(tokens)[0].double()).numpy()
    np.testing.assert_allclose(unpack(rows[0])[0], expected, atol=1e-6)
    assert expected.std() > 0.01


def test_labels_of_shapes(tasks: dict[str, MultiLabelTask]) -> None:
    task = tasks["drop"]
    dataset: Any = task.dataset.objects
    for i in range(6):
        sample, keep = half(task, i)
        _, labels, sizes = unpack(task.predict([sample], [keep])[0][0])
        objects = dataset.truth(i).objects
        for k, name in enumerate(CATEGORIES):
            mine = [item for item in objects if item.category == name]
            assert labels[k] == bool(mine)
            bits = {("small", "medium", "large").index(dataset.size(item.area)) for item in mine}
            assert sizes[k] == sum(1 << bit for bit in bits)
        worth = task.oracle_scores(sample)
        assert worth.shape == (12, 12) and 0 < worth.mean() < 1
        area = sum(item.area for item in objects)  # of visible parts, which do not overlap
        assert worth.sum() * 64 == pytest.approx(area, rel=0.02)


def test_metrics_of_groups(tasks: dict[str, MultiLabelTask]) -> None:
    task = tasks["drop"]
    records = run(task)
    found = {(m.metric, m.group, m.category): m for m in task.compute_metrics(records)}
    assert {key[0] for key in found if key[2] is None} == {*METRICS, *SIZE_METRICS}
    parts = [unpack(rows[0]) for rows in records.values()]
    scores, labels = np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])
    there = labels.any(0)
    ap = {name: average_precision_score(labels[:, k], scores[:, k]) for k, name in enumerate(CATEGORIES) if there[k]}
    seen, unseen = set(CATEGORIES[:8]) & ap.keys(), set(CATEGORIES[8:]) & ap.keys()
    for group, names in (("all", seen | unseen), ("seen", seen), ("unseen", unseen)):
        assert found["mAP", group, None].value == pytest.approx(np.mean([ap[name] for name in names]), abs=1e-12)
        assert found["mAP", group, None].n == labels[:, [name in names for name in CATEGORIES]].sum()
    for name in CATEGORIES:
        row = found["AP", "seen" if name in CATEGORIES[:8] else "unseen", name]
        assert row.value == pytest.approx(ap[name], abs=1e-12) if name in ap else (not row.defined and row.n == 0)
    backwards = dict(reversed(records.items()))
    assert [repr(m) for m in task.compute_metrics(backwards)] == [repr(m) for m in task.compute_metrics(records)]
    fewer = {key: records[key] for key in list(records)[:3]}
    assert task.compute_metrics(fewer)[0].n == labels[:3].sum()


def test_identity_holds_what_results_depend_on(tasks: dict[str, MultiLabelTask]) -> None:
    again = shapes_multilabel(limit=6, random_weights=0)
    texts = {json.dumps(task.identity(), sort_keys=True) for task in tasks.values()}
    assert json.dumps(again.identity(), sort_keys=True) in texts and len(texts) == len(tasks) - 1  # fill: `reduction`
    assert tasks["fill"].reduction != tasks["drop"].reduction
    for other in ({"threshold": 0.4}, {"fold": 1}, {"random_weights": 1}, {"image_size": 48}):
        task = shapes_multilabel(**{"limit": 6, "random_weights": 0, **other})
        assert json.dumps(task.identity(), sort_keys=True) not in texts


def test_coco(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "coco"
    task = awake(coco_multilabel(folder, model=TINY, random_weights=0, image_size=64, limit=8))
    assert task.reduction == "drop" and task.load(0).image.shape == (64, 64, 3) and task.grid(task.load(0)) == (4, 4)
    dataset = CocoDataset(folder, limit=8)
    content = json.loads((folder / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    records = run(task)
    assert list(records) == [str(i) for i in sorted(image["id"] for image in content["images"])[:8]]
    for image_id, rows in records.items():
        _, labels, sizes = unpack(rows[0])
        mine = [a for a in content["annotations"] if str(a["image_id"]) == image_id]
        assert {dataset.categories[k] for k in np.flatnonzero(labels)} == {names[a["category_id"]] for a in mine}
        for k in np.flatnonzero(labels):
            areas = [a["area"] for a in mine if names[a["category_id"]] == dataset.categories[k]]
            bits = {0 if area < 32**2 else 1 if area < 96**2 else 2 for area in areas}
            assert sizes[k] == sum(1 << bit for bit in bits)
    metrics = {(m.metric, m.group): m for m in task.compute_metrics(records) if m.category is None}
    assert metrics["mAP", "all"].defined and metrics["mAP", "all"].n == sum(
        len(dataset.truth(i).objects) and len({o.category for o in dataset.truth(i).objects}) for i in range(8)
    )
    # Squashed, not cropped: each corner of the image is a corner of what the model sees.
    pixels = dataset.pixels(0)
    corner = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(task.load(0).image, corner)


def test_voc_ignores_categories_with_difficult_objects_alone(shared_dir: Path, tmp_path: Path) -> None:
    genuine = shared_dir / "data" / "voc2012"
    whole = voc_multilabel(genuine, model="resnet10t", random_weights=0, image_size=64)
    assert whole.reduction == "fill" and len(whole) == 93
    dataset: Any = whole.dataset
    index = next(i for i in range(93) if len(dataset.labels(i)) > 1)
    name, gone = dataset.ids[index], sorted(dataset.labels(index))[0]
    for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.{suffix}").write_bytes((genuine / folder / f"{name}.{suffix}").read_bytes())
    tree = ElementTree.parse(tmp_path / "Annotations" / f"{name}.xml")
    for node in tree.iter("object"):
        if node.findtext("name") == gone:
            assert node.find("difficult") is None
            ElementTree.SubElement(node, "difficult").text = "1"
    tree.write(tmp_path / "Annotations" / f"{name}.xml")
    task = voc_multilabel(tmp_path, model="resnet10t", random_weights=0, image_size=64)
    before, after = (unpack(t.predict(*zip(half(t, i), strict=True))[0][0]) for t, i in ((whole, index), (task, 0)))
    k = task.dataset.categories.index(gone)
    assert before[1][k] == 1 and after[1][k] == -1 and before[2][k] > 0 and after[2][k] == 0
    others = np.arange(20) != k
    for ours, theirs in zip(after[1:], before[1:], strict=True):
        np.testing.assert_array_equal(ours[others], theirs[others])
    assert (after[1] == 1).any() and ((after[2] > 0) == (after[1] == 1)).all()


def test_nuswide_has_no_sizes_and_no_oracle(tmp_path: Path) -> None:
    names = [f"concept{i}" for i in range(81)]
    for folder in ("ImageList", "ConceptsList", "Groundtruth/TrainTestLabels", "Flickr"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ConceptsList" / "Concepts81.txt").write_text("\n".join(names))
    (tmp_path / "ImageList" / "TestImagelist.txt").write_text("1.jpg\n2.jpg\n")
    for k, name in enumerate(names):
        path = tmp_path / "Groundtruth" / "TrainTestLabels" / f"Labels_{name}_Test.txt"
        path.write_text(f"{int(k == 0)}\n{int(k == 80)}\n")
    for i in (1, 2):
        Image.new("RGB", (20, 30), (80 * i, 9, 9)).save(tmp_path / "Flickr" / f"{i}.jpg")
    split = tmp_path / "split.csv"
    split.write_text(
        "category,state\n" + "".join(f"{n},{'seen' if k < 40 else 'unseen'}\n" for k, n in enumerate(names))
    )
    given = {"model": TINY, "random_weights": 0, "image_size": 32}
    task = nuswide_multilabel(tmp_path, split=split, **given)
    found = {(m.metric, m.group): m for m in task.compute_metrics(run(task)) if m.category is None}
    assert {metric for metric, _ in found} == set(METRICS)
    assert found["mAP", "seen"].n == found["mAP", "unseen"].n == 1
    with pytest.raises(UsageError, match="oracle"):
        task.oracle_scores(task.load(0))
    with pytest.raises(UsageError, match="--split FILE"):
        nuswide_multilabel(tmp_path, **given)


def test_wrong_options_are_one_line(shared_dir: Path, tmp_path: Path) -> None:
    coco = shared_dir / "data" / "coco"
    with pytest.raises(UsageError, match=r"coco-multilabel needs a model .* 80 categories.*--model-weights"):
        coco_multilabel(coco)
    with pytest.raises(InputError, match=r"has 10 outputs, the data set 80 classes"):
        torch.save(
            coco_multilabel(coco, model=TINY, random_weights=0, limit=1).model.net.state_dict(), tmp_path / "a.pth"
        )
        voc = voc_multilabel(shared_dir / "data" / "voc2012", model=TINY, random_weights=0, limit=1, head="linear")
        state = voc.model.net.state_dict()
        state |= {"head.weight": state["head.weight"][:10], "head.bias": state["head.bias"][:10]}
        torch.save({"model": state}, tmp_path / "b.pth")
        coco_multilabel(coco, model=TINY, model_weights=tmp_path / "b.pth")
    with pytest.raises(UsageError, match="threshold must be in"):
        shapes_multilabel(random_weights=0, threshold=1.0)
    with pytest.raises(UsageError, match="give its folder with --data"):
        coco_multilabel(model=TINY, random_weights=0)
    task = shapes_multilabel(limit=1, random_weights=0)
    with pytest.raises(InputError, match="the grid is"):
        task.predict([task.load(0)], [Keep(np.ones((3, 3), bool))])
    with torch.no_grad():
        task.model.net.head.decoder.duplicate_pooling_bias[0] = torch.nan  # type: ignore[union-attr, index]
    with pytest.raises(InputError, match="NaN or infinite values for image '000000'"):
        task.predict(*zip(half(task, 0), strict=True))


def test_tasks_are_registered() -> None:
    assert {f"{data}-multilabel" for data in ("coco", "voc", "nuswide", "shapes")} <= set(task_names())
    assert create_task("shapes-multilabel", limit=1, random_weights=0).headline == "mAP"
