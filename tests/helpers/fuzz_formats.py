"""Formats of files that the fuzzing tests damage: genuine files, how they are mutated, and what reads them."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import small_vits
import torch
from PIL import Image

from ltrp_bench.results.schema.image_rows import from_chunk, to_chunk
from ltrp_bench.results.schema.record import CellRecord, Identity, SelectorInfo, TaskInfo, cell_fingerprint
from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.store.archive import export, import_archive
from ltrp_bench.results.store.gallery import Thumbnail, read_gallery, write_images, write_ranks
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.checkpoints import load_metadata, load_state
from ltrp_bench.selectors.errors import BenchError
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.tasks.base import Keep
from ltrp_bench.tasks.data.decoding import read_mask, read_rgb
from ltrp_bench.tasks.data.voc import VocDataset
from ltrp_bench.tasks.registry import create_task
from ltrp_bench.tasks.splits.split import load_split

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """A format: genuine files, how they are mutated, and what reads them.

    Attributes:
        files: genuine files, which must be taken.
        mutate: gives another file from a random generator and a genuine file.
        read: reads a file; everything else that it needs lies beside it.
        name: name of the mutated file in its folder.
    """

    files: list[bytes]
    mutate: mutations.Mutation
    read: Read
    name: str


def sample_image(size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# -- data


def coco(folder: Path) -> Format:
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        sample_image().save(folder / "images" / name)
    objects = [
        {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0, "category_id": 1},
        {"segmentation": {"size": [6, 8], "counts": [3, 9, 36]}, "bbox": [0, 0, 3, 6], "area": 9.0, "iscrowd": 1},
        {"bbox": [1.5, 0, 2, 2], "area": 4, "segmentation": {"size": [6, 8], "counts": [0, 24, 24]}, "iscrowd": 0},
    ]
    content = {
        "info": {"year": 2017},
        "images": [{"id": i, "file_name": n, "width": 8, "height": 6} for i, n in ((7, "a.png"), (9, "b.png"))],
        "categories": [{"id": 1, "name": "dog"}, {"id": 18, "name": "kite", "supercategory": "sports"}],
        "annotations": [
            {"category_id": 18, **o, "id": i + 1, "image_id": 7 + 2 * (i % 2)} for i, o in enumerate(objects)
        ],
    }

    def read(path: Path) -> None:
        task = create_task("coco-coverage", path.parent, grid=2)
        samples = [task.load(i) for i in range(len(task))]
        rows = {s.image_id: task.predict([s], [Keep(np.eye(2, dtype=bool))])[0] for s in samples}
        task.compute_metrics(rows)

    return Format([json.dumps(content).encode()], mutations.json_file, read, "instances.json")


def voc(folder: Path) -> Format:
    root = folder / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    sample_image().save(root / "JPEGImages" / "a.jpg")
    (root / "Annotations").mkdir()
    boxes = "".join(
        f"<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>1</xmin><ymin>{y}</ymin>"
        f"<xmax>8</xmax><ymax>6</ymax></bndbox></object>"
        for name, hard, y in (("dog", 0, 1), ("person", 1, 2.5))
    )
    size = "<size><width>8</width><height>6</height><depth>3</depth></size>"
    text = f"<annotation><filename>a.jpg</filename>{size}<segmented>0</segmented>{boxes}</annotation>"

    def read(path: Path) -> None:
        data = VocDataset(path.parents[1])
        for i in range(len(data)):
            data.pixels(i), data.truth(i, masks=True), data.labels(i), data.ignored(i)

    return Format([text.encode()], mutations.xml_file, read, "VOC2012/Annotations/a.xml")


def split(folder: Path) -> Format:
    text = "category,state,reason,wnids\ndog,seen,,n02085620 n02085782\nkite,unseen,a toy,\nperson,narrow,,n1\n"
    return Format([text.encode()], mutations.csv_file, load_split, "imagenet1k_mine.csv")


def images(folder: Path) -> Format:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    deep = Image.fromarray(np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000)
    files = [
        *(encoded(sample_image().convert(mode), "PNG") for mode in ("1", "L", "P", "RGB", "RGBA", "LA")),
        encoded(deep, "PNG"),
        encoded(sample_image(), "JPEG", exif=exif),
        encoded(sample_image().convert("CMYK"), "JPEG"),
        encoded(sample_image((40, 30)), "JPEG", progressive=True),
        *(encoded(sample_image(), kind) for kind in ("GIF", "BMP", "WEBP", "TIFF", "PPM")),
        encoded(grey.convert("F"), "TIFF"),
    ]

    def read(path: Path) -> None:
        for read_one in (lambda p: read_rgb(p, (8, 6), size_from="it says"), read_mask):
            with contextlib.suppress(BenchError):
                read_one(path)
        read_rgb(path, upright=True)

    return Format(files, mutations.png_file, read, "a.png")


# -- checkpoints


def _vit(folder: Path) -> Path:
    tiny = {"depth": 1, "embed_dim": 8, "heads": 2}
    return small_vits.save_vit(folder / "vit.safetensors", small_vits.small_vit(**tiny), **tiny)


def safetensors(folder: Path) -> Format:
    def read(path: Path) -> None:
        load_state(path), load_metadata(path)
        create_selector("gradcam", path)

    return Format([_vit(folder).read_bytes()], mutations.safetensors_file, read, "weights.safetensors")


def torch_files(folder: Path) -> Format:
    state = {"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}
    files = []
    for content in ({"model": state, "epoch": 3}, state, {"state_dict": {f"module.{k}": v for k, v in state.items()}}):
        for new in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=new)
            files.append(buffer.getvalue())
    in_zip = mutations.zip_file(mutations.pickle_member)

    def mutate(rng: random.Random, data: bytes) -> bytes:
        if data[:2] == b"PK":
            return in_zip(rng, data)
        return mutations.HOSTILE if rng.random() < 0.1 else mutations.plain(rng, data)

    def read(path: Path) -> None:
        load_state(path), load_metadata(path)

    return Format(files, mutate, read, "weights.pth")


# -- results


def _record(skipped: tuple[str, ...] = ()) -> CellRecord:
    own, what = Identity.of({"name": "ltrp"}), Identity.of({"name": "shapes-coverage", "label_set": "imagenet1k"})
    return CellRecord(
        fingerprint=cell_fingerprint(own.value, what.value, 0.25, 0, "none"),
        selector=SelectorInfo("ltrp", "labels", ("imagenet1k",), False, own),
        task=TaskInfo("shapes-coverage", "coverage", what),
        keep_ratio=0.25,
        seed=0,
        reduction="none",
        images=4,
        skipped=skipped,
        metrics=tuple(
            MetricRow("coverage", group, None, 0.5, n) for group, n in (("all", 4), ("seen", 2), ("unseen", 2))
        ),
        records_sha256="",
    )


def _store(root: Path) -> tuple[RunStore, CellRecord]:
    store, ids = RunStore(root), [f"image {i}" for i in range(4)]
    store.prepare()
    summary = {
        "meta": {
            "kind": "means",
            "images": ids,
            "categories": ["a", "b"],
            "groups": {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]},
            "metrics": ["coverage"],
        },
        "image": np.arange(4),
        "category": np.arange(4) % 2,
        "values": np.full((1, 4), 0.5),
    }
    rows: Any = {image: [{"category": "ab"[i % 2], "kept": 0.5}] for i, image in enumerate(ids)}
    schema = {"category": "string", "kept": "float64"}
    record = store.write_cell(_record(), rows, schema, {"machine": "here", "role": "method", "cost": {}}, summary)
    write_images(store, record.task.identity.short, [Thumbnail("image 0", 2, 2, b"webp")])
    short = record.selector.identity.short
    write_ranks(store, record.task.identity.short, short, 0, {"image 0": np.arange(4).reshape(2, 2)})
    return store, record


def _read_store(store: RunStore) -> None:
    for record in store.read_cells():
        store.read_images(record.fingerprint), store.read_summary(record), store.read_provenance(record.fingerprint)
        read_gallery(store, record.task.identity.short)


def _part(folder: Path, path: Callable[[RunStore, CellRecord], Path], mutate: mutations.Mutation) -> Format:
    """One file of a store."""
    store, record = _store(folder)
    file = path(store, record)
    return Format([file.read_bytes()], mutate, lambda _: _read_store(store), str(file.relative_to(folder)))


def cells(folder: Path) -> Format:
    return _part(folder, lambda store, one: store.cell_path(one.fingerprint), mutations.json_file)


def rows(folder: Path) -> Format:
    return _part(folder, lambda store, one: store.rows_path(one.fingerprint), mutations.plain)


def evidence(folder: Path) -> Format:
    return _part(
        folder, lambda store, one: store.summary_path(one.fingerprint), mutations.zip_file(mutations.npy_member)
    )


def provenance(folder: Path) -> Format:
    return _part(folder, lambda store, one: store.provenance_path(one.fingerprint), mutations.json_file)


def gallery(folder: Path) -> Format:
    return _part(
        folder,
        lambda store, one: next((store.root / "gallery" / one.task.identity.short).glob("*.npz")),
        mutations.zip_file(mutations.npy_member),
    )


def chunks(folder: Path) -> Format:
    data = to_chunk({"ab" * 32: {"image 0": [{"kept": 0.5}]}}, {"kept": "float64"}, {"skipped": [["x", "why"]]})
    return Format([data], mutations.plain, lambda path: from_chunk(path, ["ab" * 32]), "chunk.parquet")


def archives(folder: Path) -> Format:
    store, _ = _store(folder / "store")
    export(store.root, folder / "made.zip")
    mutate = mutations.zip_file(mutations.json_or_plain)
    return Format(
        [(folder / "made.zip").read_bytes()], mutate, lambda path: import_archive(path, folder / "in"), "a.zip"
    )


FORMATS = (
    *(coco, voc, split, images, safetensors, torch_files),
    *(cells, rows, evidence, provenance, gallery, chunks, archives),
)
