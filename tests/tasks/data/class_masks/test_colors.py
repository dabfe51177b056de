from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import save_png

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_lists import class_list
from ltrp_bench.tasks.data.class_masks.colors import values_of_colors, voc_colors
from ltrp_bench.tasks.data.class_masks.layouts import find_voc
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset

VALUES = np.array([[0, 1, 20], [255, 15, 15]], np.uint8)


def painted(values: np.ndarray) -> np.ndarray:
    color_of = {value: color for color, value in voc_colors(21).items()}
    return np.array([[color_of[v] for v in row] for row in values.tolist()], np.uint8)


def test_vocs_colors_are_those_of_mmseg() -> None:
    assert tuple(color for color, value in voc_colors(21).items() if value < 21) == class_list("VOC").palette


def test_values_of_colors(tmp_path: Path) -> None:
    np.testing.assert_array_equal(values_of_colors(painted(VALUES), voc_colors(21), tmp_path), VALUES)
    with pytest.raises(InputError, match=r"mask .* holds the color \(1, 2, 3\), which is no class's"):
        values_of_colors(np.full((1, 1, 3), (1, 2, 3), np.uint8), voc_colors(21), tmp_path)


def devkit(root: Path, mask: np.ndarray) -> Path:
    save_png(mask, root / "SegmentationClass" / "a.png")
    save_png(np.zeros((2, 3, 3), np.uint8), root / "JPEGImages" / "a.jpg")
    return root


def test_a_colored_mask_is_read_as_the_same_classes(tmp_path: Path) -> None:
    expected = ["aeroplane", "person", "tvmonitor"]
    for name, mask in (
        ("numbers", VALUES),
        ("colors", painted(VALUES)),
        ("alpha", np.dstack([painted(VALUES), np.full_like(VALUES, 255)])),
        ("three equal channels", np.dstack([VALUES] * 3)),
    ):
        dataset = MaskRegionDataset(find_voc(devkit(tmp_path / name, mask)))
        assert ["VOC's colors" in line for line in dataset.assumptions] == [True] * (name != "numbers")
        truth = dataset.truth(0)
        assert [item.category for item in truth.objects] == expected, name
        assert [item.area for item in truth.objects] == [1, 2, 1]


def test_cvats_list_of_colors(tmp_path: Path) -> None:
    pixels = np.array([[[0, 0, 0], [9, 8, 7], [9, 8, 7]]] * 2, np.uint8)
    root = devkit(tmp_path, pixels)
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:9,8,7::\n")
    truth = MaskRegionDataset(find_voc(root)).truth(0)
    assert [(item.category, item.area) for item in truth.objects] == [("cat", 4)]
    (root / "labelmap.txt").write_text("unicorn:1,2,3::\nbackground:0,0,0::\n")
    with pytest.raises(InputError, match=r"holds the color \(9, 8, 7\)"):
        MaskRegionDataset(find_voc(root)).truth(0)
    for text, message in (
        ("unicorn:1,2,3::", "labelmap.txt lists none of the classes of this data set, such as 'tvmonitor'"),
        ("cat:1,2", r"labelmap.txt, line 1: must be 'name:red,"),
    ):
        (root / "labelmap.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            find_voc(root)
