from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from ltrp_bench.tasks.models.vit.loading import load_timm
from ltrp_bench.tasks.models.vit.preprocessing import Preprocessing

SMALL = Preprocessing(size=(4, 6), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0), crop_pct=1.0, crop_mode="squash")


def test_normalized_pixels_by_hand() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1, 2] = (255, 0, 51)
    found = SMALL.normalize([pixels, pixels])
    assert found.shape == (2, 3, 4, 6) and found.dtype == torch.float32 and found.is_contiguous()
    torch.testing.assert_close(found[0, :, 1, 2], torch.tensor([1.0, -1.0, 0.2]))
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([-1.0, -1.0, 0.0]))
    assert SMALL.mean_pixel == (127.5, 63.75, 0.0)
    assert not SMALL.normalize([np.full((4, 6, 3), SMALL.mean_pixel, np.float32)]).any()


def test_identity_is_all_of_it_as_json_values() -> None:
    assert SMALL.identity() == {
        "size": [4, 6],
        "mean": [0.5, 0.25, 0.0],
        "std": [0.5, 0.25, 1.0],
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "interpolation": "bicubic",
    }


def test_shrinking_leaves_the_same_size_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert SMALL.shrink(pixels, (8, 8)) is pixels
    expected = np.asarray(Image.fromarray(pixels).resize((3, 5), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(SMALL.shrink(pixels, (5, 3)), expected)


def test_the_crop_is_timms(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize((301, 207)))
    for size in ((160, 160), (96, 128)):
        model = load_timm(None, "test_vit", random_weights=0, image_size=size)
        cropped = model.inputs.crop(image)
        assert cropped.shape == (*size, 3) and cropped.dtype == np.uint8
        config = {**resolve_data_config(model=model.net), "input_size": (3, *size)}
        reference = create_transform(**config)(Image.fromarray(image))
        torch.testing.assert_close(model.inputs.normalize([cropped])[0], reference, atol=1e-6, rtol=1e-5)
    whole = load_timm(None, "test_vit", random_weights=0, crop_pct=1.0)
    square = np.ascontiguousarray(image[:160, :160])
    assert np.array_equal(whole.inputs.crop(square), square)
    mean = np.full((160, 160, 3), whole.inputs.mean_pixel, np.float32)
    assert not whole.inputs.normalize([mean]).any()
