"""Streams of unlabeled images: random access, and errors of folders and files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ltrp_bench.harness.training.data.notes import TrainingNotes
from ltrp_bench.harness.training.data.unlabelled import FolderStream, ShapesStream, image_record, open_stream
from ltrp_bench.selectors.errors import InputError, UsageError


def test_missing_folder_empty_folder_and_corrupt_image(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of training images"):
        FolderStream(tmp_path / "nowhere", 96, 10, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        FolderStream(tmp_path / "empty", 96, 10, 0)
    (photos / "a.png").write_bytes(b"not an image")
    stream = FolderStream(photos, 96, 7, 0)
    with pytest.raises(InputError, match=r"image .*a\.png is corrupt: .* \(--skip-bad-images draws"):
        [stream[i] for i in range(7)]
    stream.notes = TrainingNotes(tmp_path)
    assert [stream[i].shape for i in range(7)] == [(3, 96, 96)] * 7
    assert list(stream.notes.skipped()) == ["a.png"]


def test_hidden_files_are_no_training_images(photos: Path) -> None:
    before = FolderStream(photos, 64, 4, 0)
    for name in ("._0.png", "deep/._0.png", "deep/.ipynb_checkpoints/0-checkpoint.png", "__MACOSX/0.png", "Thumbs.db"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"not an image")
    after = FolderStream(photos, 64, 4, 0)
    assert after.files == before.files and after.revision == before.revision


def test_training_images_are_scaled_as_in_a_run(tmp_path: Path) -> None:
    values = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 4).repeat(8, 0).repeat(8, 1)
    for name, pixels in (("8/a.png", values.astype(np.uint8)), ("16/a.png", values * 257)):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(pixels).save(tmp_path / name)
    eight, sixteen = (FolderStream(tmp_path / name, 64, 4, 0) for name in ("8", "16"))
    assert all(torch.equal(eight[i], sixteen[i]) for i in range(4)) and eight[0].float().std() > 10


def test_names_that_are_not_utf8(photos: Path) -> None:
    Image.new("RGB", (40, 40)).save(photos / os.fsdecode(b"caf\xe9.png"))
    stream = FolderStream(photos, 64, 4, 0)
    assert len(stream.revision) == 64 and stream.name(0) == "caf\\udce9.png"


def test_streams_depend_on_position_alone(photos: Path) -> None:
    for make in (lambda: FolderStream(photos, 64, 40, 3), lambda: ShapesStream(5, 40, 3)):
        forth, back = make(), make()
        seen = {i: back[i] for i in reversed(range(12))}
        for i in range(12):
            item = forth[i]
            assert item.dtype == torch.uint8 and item.shape[0] == 3 and torch.equal(item, seen[i])
    assert not torch.equal(forth[0], ShapesStream(5, 40, 4)[0]) or not torch.equal(forth[1], ShapesStream(5, 40, 4)[1])


def test_mirrored_crops_of_a_folder_have_the_size(photos: Path) -> None:
    stream = open_stream(str(photos), 64, 9, 0, num_images=1)
    assert isinstance(stream, FolderStream)
    assert (len(stream), stream.order.num_images) == (9, 6)
    assert stream[8].shape == (3, 64, 64)


def test_the_whole_of_every_image_at_a_crop_scale_of_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC))
    stream = FolderStream(tmp_path, 32, 8, 0, crop_scale=1)
    views = {stream[i].numpy().transpose(1, 2, 0).tobytes() for i in range(8)}
    assert views == {whole.tobytes(), np.ascontiguousarray(whole[:, ::-1]).tobytes()}
    assert image_record(str(tmp_path), stream)["crop_scale"] == 1
    assert "crop_scale" not in image_record(str(tmp_path), FolderStream(tmp_path, 32, 8, 0))


@pytest.mark.parametrize("scale", [0, -0.1, 1.5])
def test_crop_scales_are_shares(scale: float, photos: Path) -> None:
    with pytest.raises(UsageError, match=r"--crop-scale is a share of the image's area in \(0, 1\], got"):
        FolderStream(photos, 32, 8, 0, crop_scale=scale)


def test_shapes_have_one_size() -> None:
    assert isinstance(open_stream("shapes", 96, 4, 0, num_images=2), ShapesStream)
    with pytest.raises(UsageError, match="a model for 64 pixels does not fit"):
        open_stream("shapes", 64, 4, 0, num_images=2)


def test_the_record_counts_images_that_are_drawn() -> None:
    assert image_record("shapes", ShapesStream(5, 40, 0))["pictures"] == 5
    record = image_record("shapes", ShapesStream(40, 5, 0))
    assert record == {"data": "shapes", "pictures": 5, "revision": "shapes 1, seed 1"}


def test_images_of_formats_that_are_not_read_are_counted(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "b.heic").touch()
    stream = FolderStream(tmp_path, 32, 1, 0)
    assert len(stream.files) == 1
    assert stream.assumptions == ("1 of 2 images left out: their formats are not read (first b.heic)",)
