"""Every selector with every kind of checkpoint: the supervision, or the refusal (table in docs/label-sets.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.checkpoints import load_metadata
from ltrp_bench.selectors.errors import BenchError, InputError, UsageError
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.layers import sincos_positions

TOWERS = ("clip", "siglip", "visionzip", "prumerge", "divprune")
BACKBONES = (
    "attention-rollout",
    "evit",
    "topk",
    "ats",
    "tome",
    "pitome",
    "diffrate",
    "dpc-knn",
    "patch-norm",
    "gradcam",
    *TOWERS,
)
OWN_FILES = ("adavit", "cropr", "dinov3", "dynamicvit", "gfnet", "iared2", "ltrp", "ltrp-cluster", "ltrp-teacher")
TEXTS = {"logit_scale": torch.zeros(()), "text.transformer.w": torch.zeros(2, 2)}


def vit(classes: int = 0, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 192, "depth": 4, "num_heads": 3}
    net = VisionTransformer(**{**sizes, "num_classes": classes, **options})
    return {key: value + 0.01 for key, value in net.state_dict().items()}


def under(prefix: str, state: dict[str, Tensor], **others: Tensor) -> dict[str, Tensor]:
    return {**{prefix + key: value for key, value in state.items()}, **others}


def probe() -> dict[str, Tensor]:
    return {**vit(1000), "pos_embed": sincos_positions(192, (2, 2))}


KINDS: dict[str, dict[str, Tensor]] = {
    "supervised": vit(1000),
    "distilled": {**vit(1000), "dist_token": torch.zeros(1, 1, 192), "head_dist.weight": torch.zeros(1000, 192)},
    "self-supervised": vit(),
    "teacher and student": {**under("student.backbone.", vit()), **under("teacher.backbone.", vit())},
    "probe": probe(),
    "open_clip": {**under("visual.trunk.", vit()), **TEXTS},
    "siglip": under("visual.trunk.", vit(), logit_scale=torch.zeros(()), logit_bias=torch.zeros(())),
    "captioned, tower alone": under("module.visual.trunk.", vit()),
    "timm's CLIP": vit(512, pre_norm=True),
    "classifier beside the ViT": under("backbone.", vit(), **{"fc.weight": torch.zeros(1000, 192)}),
    "distilled, DeiT III's layout": vit(1000, init_values=1e-5, no_embed_class=True),
    "iBOT": {**under("teacher.backbone.", {**vit(), "masked_embed": torch.zeros(1, 192)})},
    "detector": {**under("backbone.", vit()), "bbox_head.fc_cls.weight": torch.zeros(81, 192)},
    "segmentor": {**under("backbone.", vit()), "decode_head.conv_seg.weight": torch.zeros(150, 192, 1, 1)},
    "Segmenter": {**under("encoder.", vit()), "decoder.head.weight": torch.zeros(150, 192)},
}
CAPTIONED = ("open_clip", "siglip", "captioned, tower alone")
DETECTORS = ("detector", "segmentor", "Segmenter")
EXPECTED: dict[str, dict[str, str]] = {
    **{
        name: {
            "supervised": "imagenet1k",
            "probe": "imagenet1k",
            "distilled": "unexpected: dist_token",
            "self-supervised": "weights without a classifier: give label_set=NAME",
            "classifier beside the ViT": "imagenet1k" if name != "gradcam" else "Grad-CAM needs a classifier",
            "distilled, DeiT III's layout": "imagenet1k",
            "iBOT": "give label_set=NAME",
            "teacher and student": "give label_set=NAME",
            "timm's CLIP": "image tower of CLIP",
            **dict.fromkeys(CAPTIONED, "captions" if name != "gradcam" else "Grad-CAM needs a classifier"),
            **dict.fromkeys(DETECTORS, "backbone of a (detector|segmentor).*give label_set=NAME"),
        }
        for name in BACKBONES
    },
    **{
        name: {
            "supervised": "trained with labels .a classifier of 1000 classes",
            "distilled": "trained with labels .a classifier of 1000 classes",
            "self-supervised": "self",
            "classifier beside the ViT": "trained with labels .a classifier of 1000 classes",
            "distilled, DeiT III's layout": "trained with labels .a classifier of 1000 classes",
            "iBOT": "self",
            "teacher and student": "self",
            "probe": "self" if name == "moco" else "trained with labels .a classifier of 1000 classes",
            "timm's CLIP": "image tower of CLIP",
            **dict.fromkeys(CAPTIONED, "captions"),
            **dict.fromkeys(DETECTORS, "trained with labels .a (detector|segmentor), of which they are the backbone"),
        }
        for name in ("dino", "dinov2", "tokencut", "moco")
    },
    **{name: dict.fromkeys(KINDS, ".") for name in OWN_FILES},
}
SUPERVISIONS = ("imagenet1k", "captions", "self")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    out = {}
    for i, (kind, state) in enumerate(KINDS.items()):
        out[kind] = folder / f"w{i}.pth"
        torch.save({"state_dict": state}, out[kind])
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXPECTED)
def test_every_selector_with_every_kind(name: str, kind: str, files: dict[str, Path]) -> None:
    expected = EXPECTED[name][kind]
    if expected in SUPERVISIONS:
        selector = create_selector(name, files[kind])
        assert str(selector.supervision) == expected
        said = [line for line in selector.assumptions if "counts as trained with captions" in line]
        assert bool(said) == (expected == "captions")
        return
    with pytest.raises(BenchError, match=expected) as caught:
        create_selector(name, files[kind])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["supervised", *CAPTIONED, *DETECTORS])
def test_supervised_false_is_refused_for_what_shows_labels(kind: str, files: dict[str, Path]) -> None:
    for name in ("evit", "tome"):
        with pytest.raises(UsageError, match="supervised=false, but the weights show"):
            create_selector(name, files[kind], supervised=False)
    assert str(create_selector("tome", files["self-supervised"], supervised=False).supervision) == "self"


@pytest.mark.parametrize("kind", [*CAPTIONED, *DETECTORS])
def test_a_statement_that_the_file_contradicts_stops(kind: str, files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="label_set=self, but the weights show"):
        load_backbone(files[kind], label_set="self")
    assert str(load_backbone(files[kind], label_set="captions+coco80").supervision) == "captions+coco80"


def test_a_config_beside_the_file_tells_of_texts_and_of_labels(tmp_path: Path) -> None:
    torch.save(vit(), tmp_path / "pytorch_model.bin")
    config = {"model_type": "clip_vision_model", "hidden_size": 192}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert str(create_selector("dino", tmp_path / "pytorch_model.bin").supervision) == "captions"
    config = {"architecture": "vit_tiny_patch16_224", "num_features": 192, "pretrained_cfg": {"tag": "augreg_in21k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="trained with labels .imagenet21k"):
        create_selector("dino", tmp_path / "pytorch_model.bin")


NORMAL = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def test_normalization_is_read_given_or_assumed_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(vit(1000), path)
    guess = create_selector("evit", path)
    (line,) = guess.assumptions
    assert "pytorch_model.bin does not say" in line and "(0.485, 0.456, 0.406)" in line and "3 attention heads" in line
    assert "mean=, std=, heads=" in line and guess.readings["mean"] == [0.485, 0.456, 0.406]
    given = create_selector("evit", path, heads=3, **NORMAL)
    assert given.mean == given.std == (0.5, 0.5, 0.5) and given.assumptions == () and not given.readings
    config = {"architecture": "my_vit", "num_features": 192, "num_classes": 1000, "pretrained_cfg": NORMAL}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = create_selector("evit", path)
    assert read.mean == (0.5, 0.5, 0.5) and read.readings["mean"] == [0.5, 0.5, 0.5]
    assert not any("mean" in one for one in read.assumptions)
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_features": 768}))
    other = create_selector("evit", path)
    assert other.mean != (0.5, 0.5, 0.5) and "another model (768 width, not 192)" in other.assumptions[0]
    with pytest.raises(UsageError, match="std is three numbers"):
        create_selector("evit", path, std=[0.5, 0.0, 0.5])


def test_self_supervised_weights_of_no_known_name_say_what_is_assumed(tmp_path: Path) -> None:
    for name, moco in (("checkpoint.pth", False), ("dino_vitbase16_pretrain.pth", True), ("vit-s-300ep.pth", True)):
        torch.save(vit(), tmp_path / name)
        for selector, heads in (("dino", 3), ("moco", 12)):
            found = create_selector(selector, tmp_path / name)
            assert bool(found.assumptions) != moco and not found.readings  # readings would change old fingerprints
            if found.assumptions:
                (line,) = found.assumptions
                assert f"(0.229, 0.224, 0.225), {heads} attention heads: if this is wrong, give mean=" in line
                assert line.endswith("heads= or put its config.json beside it")
    config = {"model_type": "vit", "hidden_size": 192, "num_attention_heads": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert create_selector("moco", tmp_path / "checkpoint.pth").model.blocks[0].attn.num_heads == 3


@pytest.mark.parametrize("heads", [5, 0])
def test_heads_that_do_not_divide_the_width(tmp_path: Path, heads: int) -> None:
    torch.save(vit(1000), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=f"heads={heads or 5} do not divide the width 192"):
        create_selector("evit", tmp_path / "w.pth", heads=heads or 5)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "num_attention_heads": heads or 7}))
    with pytest.raises(UsageError, match=f"heads={heads or 7} do not divide the width 192"):
        load_backbone(tmp_path / "w.pth")


def test_numbers_that_no_vit_has_are_refused(tmp_path: Path) -> None:
    for change, said in (
        (lambda v: (v * 100).to(torch.int8), "is int8, not of plain floating-point numbers"),
        (lambda v: v.to_sparse(), "is sparse, not of plain"),
        (lambda v: v * float("nan"), "holds NaN or infinite numbers"),
    ):
        torch.save({key: change(v) if key == "head.weight" else v for key, v in vit(1000).items()}, tmp_path / "w.pth")
        with pytest.raises(InputError, match=f"weights do not fit the ViT w.pth: head.weight {said}"):
            load_backbone(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (vit(1000, class_token=False, global_pool="avg"), "a vision transformer without a class token"),
        (vit(1000, qk_norm=True), "norms of queries and keys"),
        ({**vit(), "pos_embed": torch.zeros(1, 7, 192)}, "has 7 positions, which are no square grid"),
        ({**vit(), "blocks.0.attn.relative_position_bias_table": torch.zeros(2)}, "BEiT, EVA or Swin"),
        ({**vit(), "blocks.0.attn.rel_pos_h": torch.zeros(2)}, "Segment Anything or ViTDet"),
        ({"transformer.layers.0.0.to_qkv.weight": torch.zeros(1)}, "a ViT in key names that are unknown here"),
    ],
)
def test_other_transformers_are_named(tmp_path: Path, state: dict[str, Tensor], said: str) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=said):
        load_backbone(tmp_path / "w.pth", label_set="x")


def test_heads_of_a_config_beside_the_file_count(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save(vit(1000), path)
    config = {"model_type": "vit", "hidden_size": 192, "num_attention_heads": 12, "layer_norm_eps": 1e-12}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = load_backbone(path)
    assert found.model.blocks[0].attn.num_heads == 12 and found.model.blocks[0].norm1.eps == 1e-12
    assert load_metadata(path) == {} and found.readings["heads"] == 12


def test_weights_of_ours_assume_nothing() -> None:
    for name in ("evit", "gradcam", "dino", "tokencut", "tome"):
        selector = create_selector(name, domain=("shapes", "shapes0"))
        assert selector.assumptions == () and not selector.readings
