"""The page of official checkpoints."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from ltrp_bench.harness.cli.zoo.page import NOT_PUBLISHED, zoo_page
from ltrp_bench.selectors.zoo.table import checkpoints

PAGE = Path(__file__).parents[4] / "docs" / "zoo.md"


def test_the_page_in_the_docs_is_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == zoo_page(), "ltrp-bench weights list --format markdown > docs/zoo.md"


def test_it_has_every_checkpoint_and_every_selector_of_ours() -> None:
    text = zoo_page()
    assert re.findall(r"^\| `([^`]+)` \|", text, re.M) == [one.name for one in checkpoints()]
    installed = entry_points(group="ltrp_bench.selectors")
    ours = [point.name for point in installed if point.value.startswith("ltrp_bench.")]
    assert [name for name in ours if f"`{name}`" not in text] == []
    assert not set(NOT_PUBLISHED) & {owner for one in checkpoints() for owner in one.used_by}


def test_rows() -> None:
    page = "https://github.com/facebookresearch"
    for row in (
        f"| `vit=deit-t` | DeiT-Ti/16 at 224 | imagenet1k | [automatic]({page}/deit/blob/main/README_deit.md) | 22.9 | "
        "Apache-2.0 | `a1311bcf4f24`… |",
        f"| `dino=vit-s16` | DINO, ViT-S/16 | self | [automatic]({page}/dino) | ≈ 86.7 | Apache-2.0 |  |",
        f"| `mae-finetuned=vit-b16` | MAE fine-tuned on ImageNet-1K, ViT-B/16 | imagenet1k | "
        f"[automatic]({page}/mae/blob/main/FINETUNE.md) |  | CC-BY-NC-4.0 | MD5 `1b25e9`… |",
        "| `mmseg=segformer-b0` | SegFormer-B0, ADE20K | imagenet1k+ade20k | "
        "[automatic](https://github.com/open-mmlab/mmsegmentation/tree/main/configs/segformer) |  |  | `8ffa8fda`… |",
    ):
        assert f"\n{row}\n" in zoo_page()
