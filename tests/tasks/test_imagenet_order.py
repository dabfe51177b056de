"""Classifiers of ImageNet-1K whose files name their outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.synsets import imagenet_classes, imagenet_lemmas
from ltrp_bench.tasks.imagenet_order import match_imagenet
from ltrp_bench.tasks.models.vit.loading import load_timm
from ltrp_bench.tasks.timm_task import output_order


def test_imagenets_classes_under_the_names_of_others() -> None:
    """transformers lists all lemmas, timm the wnids; two classes are called crane, two maillot."""
    names = [", ".join(lemmas) for lemmas in imagenet_lemmas().values()]
    wnids = list(imagenet_lemmas())
    usual = list(range(1000))
    for given in (names, wnids, [name.partition(",")[0].upper() for name in names]):
        assert match_imagenet("t", given).tolist() == usual
    # A few other names, as OpenAI's, change nothing.
    assert match_imagenet("t", ["rooster" if name == "cock" else name for name in names]).tolist() == usual
    assert match_imagenet("t", wnids[::-1]).tolist() == usual[::-1]
    with pytest.raises(InputError, match="in another order than ImageNet's .toilet tissue.*, ear, spike.*classes=FILE"):
        match_imagenet("t", names[::-1])
    assert match_imagenet("t", [f"class {i}" for i in usual]) is None and match_imagenet("t", names[:10]) is None


def test_a_file_that_names_imagenets_outputs_in_another_order_is_followed(tmp_path: Path) -> None:
    class Data:
        categories = tuple(imagenet_classes().values())

    net = VisionTransformer(img_size=32, patch_size=16, embed_dim=192, depth=1, num_heads=3, num_classes=1000)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    order = sorted(imagenet_lemmas(), reverse=True)
    config = {"architecture": "my_vit", "num_classes": 1000, "label_names": order, "pretrained_cfg": {}}
    assert output_order("t", Data(), load_timm(tmp_path / "pytorch_model.bin")) == (None, True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    found, known = output_order("t", Data(), load_timm(tmp_path / "pytorch_model.bin"))
    assert known and found is not None and [order[i] for i in found] == list(imagenet_lemmas())
