from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_maes import small_mae, small_ranker

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.mae import random_visible
from ltrp_bench.selectors.ltrp.ranker import SIZES, Ranker, load_ranker, save_ranker


@pytest.mark.parametrize("beside", [{}, {"mim.mask_token": torch.zeros(1, 1, 8)}])
def test_golden_ltrp_ranker(golden: Callable, tmp_path: Path, beside: dict[str, torch.Tensor]) -> None:
    meta, out, fill = golden("ltrp_ranker")
    state = fill.state_dict(meta["shapes"], meta["seed"])
    official = {f"score_net.{key}": value for key, value in state.items()} | beside
    torch.save({"model": official}, tmp_path / "ltrp.pth")
    ranker = load_ranker(tmp_path / "ltrp.pth")
    assert ranker.head_kind == "class_token" and ranker.config["heads"] == 6
    assert ranker.norm.eps == meta["layer_norm_eps"]
    with torch.no_grad():
        scores = ranker(fill.images(meta["batch"], meta["image_size"], meta["seed"]))
    expected = torch.from_numpy(out["scores"])
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    assert torch.equal(scores.argsort(1), expected.argsort(1))


@pytest.mark.parametrize("head", ["patch", "class_token"])
def test_all_patches_visible_is_the_whole_image(head: Any) -> None:
    ranker, images = small_ranker(head=head), torch.randn(2, 3, 48, 48)
    everything = torch.arange(36).expand(2, -1)
    with torch.no_grad():
        torch.testing.assert_close(ranker(images, everything), ranker(images), atol=1e-5, rtol=1e-4)
        shuffled = ranker(images, everything.flip(1)).flip(1)
        torch.testing.assert_close(shuffled, ranker(images), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["patch", "class_token"])
def test_patches_that_are_not_visible_are_not_seen(head: Any) -> None:
    ranker, images = small_ranker(head=head), torch.randn(2, 3, 48, 48)
    visible = random_visible(2, 36, 7, torch.Generator().manual_seed(0))
    seen = torch.zeros(2, 36, 192).scatter(1, visible[..., None].expand(-1, -1, 192), 1.0)
    from ltrp_bench.selectors.vit.layers import unpatchify

    with torch.no_grad():
        scores = ranker(images, visible)
        assert scores.shape == (2, 7)
        assert torch.equal(ranker(images * unpatchify(seen, (6, 6), 8), visible), scores)


def test_patch_head_takes_any_size_and_class_token_only_its_own() -> None:
    with torch.no_grad():
        assert small_ranker()(torch.randn(1, 3, 64, 96)).shape == (1, 96)
    with pytest.raises(InputError, match="48x48 pixels, not 64x96: resize first"):
        small_ranker(head="class_token")(torch.randn(1, 3, 64, 96))


def test_save_and_load(tmp_path: Path) -> None:
    ranker = small_ranker(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
    save_ranker(tmp_path / "r.safetensors", ranker, taught_by="mae.shapes")
    again = load_ranker(tmp_path / "r.safetensors")
    images = torch.randn(2, 3, 48, 48)
    assert again.config == ranker.config and again.mean == (0.4, 0.5, 0.6)
    assert torch.equal(again(images), ranker(images).detach())


def test_published_sizes_are_told_from_the_state(tmp_path: Path) -> None:
    torch.save(official(Ranker(32, 16, *SIZES["tiny"], head="class_token").state_dict()), tmp_path / "t.pth")
    config = load_ranker(tmp_path / "t.pth").config
    assert [config[k] for k in ("image_size", "patch_size", "embed_dim", "depth", "heads")] == [32, 16, 192, 12, 3]


def official(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"score_net.{key}": value for key, value in state.items()}


def test_a_classifier_with_as_many_outputs_as_patches_is_no_ranker(tmp_path: Path) -> None:
    """Stanford Cars has 196 classes, as many as there are patches of 16 pixels in 224."""
    state = small_ranker(head="class_token").state_dict()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match="w.pth does not say that it is an LTRP ranker: its 36 outputs.*score_net"):
        load_ranker(tmp_path / "w.pth", heads=2)
    torch.save(official(state), tmp_path / "w.pth")
    save_ranker(tmp_path / "w.safetensors", small_ranker(head="class_token"))
    for name in ("w.pth", "w.safetensors"):
        assert load_ranker(tmp_path / name, heads=2).head_kind == "class_token"


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": small_mae().state_dict()}, path)
    with pytest.raises(InputError, match="do not fit an LTRP ranker.*looks like a MAE"):
        load_ranker(path)
    state = small_ranker(head="class_token").state_dict()
    state = official(state)
    torch.save(state | official({"head.weight": torch.zeros(1000, 24), "head.bias": torch.zeros(1000)}), path)
    with pytest.raises(InputError, match="1000 outputs instead of one for each of 36 patches.*classifier"):
        load_ranker(path)
    torch.save({k: v for k, v in state.items() if not k.startswith("score_net.head")}, path)
    with pytest.raises(InputError, match="missing: score_head.weight or head.weight"):
        load_ranker(path)
    torch.save(state, path)
    with pytest.raises(
        InputError, match="cannot infer the number of heads of the ranker from its width 24: pass heads=N"
    ):
        load_ranker(path)
    assert load_ranker(path, heads=2).config["heads"] == 2
    torch.save({k: v for k, v in state.items() if k != "score_net.blocks.0.attn.qkv.bias"}, path)
    with pytest.raises(InputError, match=r"1 keys missing: blocks.0.attn.qkv.bias"):
        load_ranker(path, heads=2)
