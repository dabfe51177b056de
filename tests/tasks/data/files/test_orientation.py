from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ltrp_bench.tasks.data.files.orientation import Exif, Orientations, decide


def save(path: Path, orientation: int | None, size: tuple[int, int] = (32, 16)) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)
    return path


@pytest.fixture
def half_turn(tmp_path: Path) -> Path:
    return save(tmp_path / "half.jpg", 3)


def decided(files: dict[Path, tuple[int, int]], exif: Exif = "auto") -> Orientations:
    return decide(((path, lambda size=size: size) for path, size in files.items()), exif)


def test_images_without_a_doubt_need_no_word(tmp_path: Path) -> None:
    files = {
        save(tmp_path / "plain.jpg", None): (32, 16),
        save(tmp_path / "usual.jpg", 1): (32, 16),
        save(tmp_path / "stored.jpg", 6): (32, 16),
        save(tmp_path / "turned.jpg", 6): (16, 32),
        save(tmp_path / "other.jpg", 3): (9, 9),
        tmp_path / "missing.jpg": (1, 1),
    }
    assert decided(files) == Orientations() and decided(files, "apply") == Orientations()


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_the_other_images_tell(tmp_path: Path, orientation: int) -> None:
    doubtful = save(tmp_path / "doubtful.jpg", orientation)
    witness = save(tmp_path / "witness.jpg", 8)
    turned = decided({doubtful: (32, 16), witness: (16, 32)})
    assert turned.applied == {doubtful} and turned.revision("abc") != "abc"
    assert turned.assumptions == (
        f"1 image has an EXIF orientation that the annotated size does not decide, first {doubtful}: it is applied, as "
        "the size of 1 other image shows; --task-option exif=ignore changes this",
    )
    stored = decided({doubtful: (32, 16), witness: (32, 16)})
    assert not stored.applied and stored.revision("abc") == "abc"
    assert "it is ignored, as the size of 1 other image shows; --task-option exif=apply" in stored.assumptions[0]


def test_without_witnesses_it_is_ignored_with_a_word(tmp_path: Path, half_turn: Path) -> None:
    square = save(tmp_path / "square.png", 6, (16, 16))
    files = {half_turn: (32, 16), square: (16, 16)}
    assert decided(files).assumptions == (
        f"2 images have an EXIF orientation that the annotated size does not decide, first {half_turn}: it is ignored; "
        "--task-option exif=apply changes this",
    )
    contrary = {save(tmp_path / "a.jpg", 6): (32, 16), save(tmp_path / "b.jpg", 6): (16, 32)}
    assert not decided({**files, **contrary}).applied
    assert decided(files, "apply").applied == {half_turn, square}
    assert not decided({half_turn: (32, 16), save(tmp_path / "b.jpg", 6): (16, 32)}, "ignore").applied


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_every_format_that_has_an_orientation(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"half{suffix}", 3)
    assert decided({path: (32, 16)}, "apply").applied == {path}
    assert decided({save(tmp_path / f"plain{suffix}", None): (32, 16)}, "apply") == Orientations()
