"""Files beside the weights, as timm, transformers and open_clip write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.files.sidecars import sidecar_of

TIMM = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 3,
    "num_features": 192,
    "label_names": ["a", "b", "c"],
    "pretrained_cfg": {
        "tag": "augreg_in21k_ft_in1k",
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    },
}
HF = {
    "model_type": "vit",
    "hidden_size": 384,
    "num_attention_heads": 12,
    "layer_norm_eps": 1e-12,
    "id2label": {"0": "cat", "1": "dog"},
}
PREPARING = {
    "image_mean": [0.4, 0.4, 0.4],
    "image_std": [0.2, 0.2, 0.2],
    "size": {"height": 224, "width": 224},
    "resample": 2,
}


def beside(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "model.safetensors"


def test_timms(tmp_path: Path) -> None:
    found = sidecar_of(beside(tmp_path, config=TIMM))
    assert found is not None and found.timm_name == "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert (found.mean, found.std, found.crop_pct) == ((0.5,) * 3, (0.25,) * 3, 0.9)
    assert (found.width, found.classes, found.labels, found.captioned) == (192, 3, ("a", "b", "c"), False)


def test_a_file_of_the_same_name_comes_first(tmp_path: Path) -> None:
    other = {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], "mean": [0.1, 0.2, 0.3]}}
    found = sidecar_of(beside(tmp_path, config=TIMM, model=other))
    assert found is not None and found.mean == (0.1, 0.2, 0.3)


def test_transformers(tmp_path: Path) -> None:
    found = sidecar_of(beside(tmp_path, config=HF, preprocessor_config=PREPARING))
    assert found is not None and (found.width, found.heads, found.eps) == (384, 12, 1e-12)
    assert (found.mean, found.std) == ((0.4,) * 3, (0.2,) * 3)
    assert (found.crop_mode, found.crop_pct, found.interpolation) == ("squash", 1.0, "bilinear")
    assert found.labels == ("cat", "dog")
    cropped = {**PREPARING, "size": {"shortest_edge": 256}, "crop_size": {"height": 224}, "do_center_crop": True}
    found = sidecar_of(beside(tmp_path, config={**HF, "id2label": {"0": "LABEL_0"}}, preprocessor_config=cropped))
    assert found is not None and (found.crop_mode, found.crop_pct, found.labels) == ("center", 0.875, None)
    found = sidecar_of(beside(tmp_path, config=HF, preprocessor_config={**PREPARING, "do_normalize": False}))
    assert found is not None and (found.mean, found.std) == ((0.0,) * 3, (1.0,) * 3)


def test_models_of_texts(tmp_path: Path) -> None:
    found = sidecar_of(beside(tmp_path, config={"model_type": "clip", "vision_config": {"hidden_size": 768}}))
    assert found is not None and found.captioned and found.width == 768
    (tmp_path / "config.json").unlink()
    clip = {
        "model_cfg": {"vision_cfg": {"width": 768}},
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27] * 3},
    }
    found = sidecar_of(beside(tmp_path, open_clip_config=clip))
    assert found is not None and found.captioned and found.mean == (0.48, 0.46, 0.41)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no valid JSON"),
        ({"architecture": "x", "pretrained_cfg": {"mean": [1, 2]}}, "2 numbers for three channels"),
        ({"architecture": "x", "num_classes": 1.5}, "1.5 is no whole number"),
        ({"model_type": "vit", "hidden_size": "wide"}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"config.json, beside the weights, .*{said}") as caught:
        sidecar_of(beside(tmp_path, config=content))
    assert "\n" not in str(caught.value)


def test_other_json_files_say_nothing(tmp_path: Path) -> None:
    assert (
        sidecar_of(beside(tmp_path, config={"lr": 1}, model=[1])) is None and sidecar_of(tmp_path / "x" / "w") is None
    )


def test_pixels_of_0_to_255_and_other_scales(tmp_path: Path) -> None:
    """transformers multiplies pixels of 0 to 255 by a factor before it normalizes; here pixels are in [0, 1]."""
    wide = {"image_mean": [127.5] * 3, "image_std": [51.0] * 3, "do_rescale": False}
    doubled = {"image_mean": [1.0] * 3, "image_std": [0.5] * 3, "rescale_factor": 2 / 255}
    for preparing, std in ((wide, 0.2), (doubled, 0.25)):
        found = sidecar_of(beside(tmp_path, config=HF, preprocessor_config=preparing))
        assert found is not None and found.mean == pytest.approx((0.5,) * 3) and found.std == pytest.approx((std,) * 3)
    plain = sidecar_of(beside(tmp_path, config=HF, preprocessor_config={"do_normalize": False, "do_rescale": False}))
    assert plain is not None and plain.mean == (0, 0, 0) and plain.std == (1 / 255,) * 3


def test_a_preprocessor_alone_is_read(tmp_path: Path) -> None:
    found = sidecar_of(beside(tmp_path, preprocessor_config=PREPARING))
    assert found is not None and found.mean == (0.4,) * 3 and found.file.name == "preprocessor_config.json"
    assert found.heads is None and found.labels is None


def test_labels_by_number(tmp_path: Path) -> None:
    turned = sidecar_of(beside(tmp_path, config={**HF, "id2label": {"1": "cat", "0": "dog"}}))
    other = sidecar_of(beside(tmp_path, config={"model_type": "vit", "label2id": {"cat": 1, "dog": 0}}))
    assert turned is not None and other is not None and turned.labels == other.labels == ("dog", "cat")
    assert turned.classes == 2


def test_sizes_and_activation(tmp_path: Path) -> None:
    vision = {"hidden_size": 192, "num_hidden_layers": 4, "patch_size": 16}
    found = sidecar_of(beside(tmp_path, config={"model_type": "clip", "vision_config": vision}))
    assert found is not None and (found.depth, found.patch, found.activation) == (4, 16, "quick_gelu")
    vision["hidden_act"] = "gelu"
    found = sidecar_of(beside(tmp_path, config={"model_type": "clip", "vision_config": vision}))
    assert found is not None and found.activation == "gelu"
    cfg = {"model_cfg": {"vision_cfg": {"width": 1280, "layers": 32, "head_width": 80, "patch_size": 14}}}
    (tmp_path / "config.json").unlink()
    found = sidecar_of(beside(tmp_path, open_clip_config=cfg))
    assert found is not None and (found.heads, found.depth, found.activation) == (16, 32, "gelu")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**TIMM, "pretrained_cfg": {"mean": [123.7, 116.3, 103.5]}}, r"its mean \[123.7, .* of pixels in \[0, 1\]"),
        ({**TIMM, "pretrained_cfg": {"std": [0, 0, 0]}}, "its std .0, 0, 0. is not one of pixels"),
        ({**TIMM, "label_names": ["a"]}, "names 1 of 3 classes"),
        ({**HF, "id2label": {"1": "cat", "2": "dog"}}, "does not number its 2 classes from 0 to 1"),
        ("{broken", "no valid JSON"),
    ],
)
def test_what_cannot_be_is_refused_with_the_files_name(tmp_path: Path, config: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"config.json, beside the weights, .*{said}.*mend or remove it"):
        sidecar_of(beside(tmp_path, config=config))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes("{}".encode("utf-16"))
    with pytest.raises(InputError, match="config.json, beside the weights, is no valid JSON"):
        sidecar_of(tmp_path / "w")
