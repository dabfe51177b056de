from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import load_into
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.pruning.adavit import AdaViT, AdaViTSelector, adavit_config
from ltrp_bench.selectors.vit.tokens_to_token import TokenPerformer, TokensToToken

DIM, HEADS, DEPTH = 24, 3, 4


def published_shapes(t2t: bool, dim: int, depth: int, heads: int, side: int, ratio: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the published files (--ada-head --ada-layer --ada-token-with-mlp, keep-layers 1)."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + side**2, dim)}
    if t2t:
        for name, size in (("attention1", 147), ("attention2", 576)):
            at = f"tokens_to_token.{name}."
            shapes |= {f"{at}w": (32, 64), f"{at}kqv.weight": (192, size), f"{at}kqv.bias": (192,)}
            for part in ("proj", "mlp.0", "mlp.2"):
                shapes |= {f"{at}{part}.weight": (64, 64), f"{at}{part}.bias": (64,)}
            for part, width in (("norm1", size), ("norm2", 64)):
                shapes |= {f"{at}{part}.weight": (width,), f"{at}{part}.bias": (width,)}
        shapes |= {"tokens_to_token.project.weight": (dim, 576), "tokens_to_token.project.bias": (dim,)}
    else:
        shapes |= {"patch_embed.proj.weight": (dim, 3, 16, 16), "patch_embed.proj.bias": (dim,)}
    linear = {"attn.proj": (dim, dim), "mlp.fc1": (ratio * dim, dim), "mlp.fc2": (dim, ratio * dim)}
    linear["attn.token_select.mlp_head"] = (1, dim)
    for block in range(depth):
        at = f"blocks.{block}."
        both = linear | ({"head_select.mlp_head": (heads, dim), "layer_select.mlp_head": (2, dim)} if block else {})
        for part, shape in both.items():
            shapes |= {f"{at}{part}.weight": shape, f"{at}{part}.bias": shape[:1]}
        for part in ("query", "key", "value"):
            shapes[f"{at}attn.{part}.weight"] = (dim, dim)
            if not t2t:
                shapes[f"{at}attn.{part}.bias"] = (dim,)
        for part in ("norm1", "norm2"):
            shapes |= {f"{at}{part}.weight": (dim,), f"{at}{part}.bias": (dim,)}
    return shapes | {"norm.weight": (dim,), "norm.bias": (dim,), "head.weight": (1000, dim), "head.bias": (1000,)}


def published_state(t2t: bool) -> dict[str, Tensor]:
    shapes = published_shapes(t2t, DIM, DEPTH, HEADS, 4, 3 if t2t else 4)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in shapes.items():
        x = torch.randn(shape, generator=generator)
        state[key] = x / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 and "token" not in key else x * 0.5
        if "norm" in key and key.endswith("weight"):
            state[key] = 1 + 0.1 * x
        if "tokens_to_token" in key and len(shape) == 2:
            state[key] = x / math.sqrt(shape[1])
    return state


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    folder = tmp_path_factory.mktemp("adavit")
    for t2t in (True, False):
        content = {
            "epoch": 1,
            "args": argparse.Namespace(model="ada"),
            "state_dict": published_state(t2t),
            "version": 2,
        }
        torch.save(content, folder / f"{t2t}.pth.tar")
    return {t2t: folder / f"{t2t}.pth.tar" for t2t in (True, False)}


def images(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 4 - 2


def linear(state: dict[str, Tensor], key: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{key}.weight"], state.get(f"{key}.bias"))


def plain_tokens(state: dict[str, Tensor], image: Tensor) -> Tensor:
    if "patch_embed.proj.weight" in state:
        x = F.conv2d(image[None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=16)
        return x[0].flatten(1).T
    module = TokensToToken(DIM, 64, 32)
    load_into(module, {k.removeprefix("tokens_to_token."): v for k, v in state.items() if k.startswith("tokens_to")})
    with torch.no_grad():
        return module(image[None])[0]


def plain_decisions(state: dict[str, Tensor], image: Tensor, eps: float) -> list[Tensor]:
    """One image, with whole attention matrices and every head by itself: the probabilities of each block."""
    x = torch.cat([state["cls_token"][0], plain_tokens(state, image)]) + state["pos_embed"][0]
    out, width = [], DIM // HEADS
    for i in range(DEPTH):
        at = f"blocks.{i}."

        def norm(name: str, x: Tensor, at: str = at) -> Tensor:
            return F.layer_norm(x, (DIM,), state[f"{at}{name}.weight"], state[f"{at}{name}.bias"], eps)

        heads, layers = [True] * HEADS, [True] * 2
        if i:
            heads = (linear(state, f"{at}head_select.mlp_head", x[0]) > 0).tolist()
            layers = (linear(state, f"{at}layer_select.mlp_head", x[0]) > 0).tolist()
        y = norm("norm1", x)
        probability = torch.sigmoid(linear(state, f"{at}attn.token_select.mlp_head", y[1:]))[:, 0]
        out.append(probability)
        kept = [True, *(probability > 0.6).tolist()]
        gathered = torch.zeros_like(x)
        for head in range(HEADS):
            if not heads[head]:
                continue
            at_head = slice(head * width, (head + 1) * width)
            q, k, v = (linear(state, f"{at}attn.{part}", y)[:, at_head] for part in ("query", "key", "value"))
            logits = q @ k.T / width**0.5
            for a in range(len(x)):
                for b in range(len(x)):
                    if a != b and not (kept[a] and kept[b]):
                        logits[a, b] = -math.inf
            gathered[:, at_head] = logits.softmax(dim=1) @ v
        alive = torch.tensor(kept).float()[:, None]
        if layers[0]:
            x = x + linear(state, f"{at}attn.proj", gathered) * alive
        if layers[1]:
            y = norm("norm2", x) * torch.tensor(heads).float().repeat_interleave(width)
            x = x + linear(state, f"{at}mlp.fc2", F.gelu(linear(state, f"{at}mlp.fc1", y))) * alive
    return out


@pytest.mark.parametrize("t2t", [True, False])
def test_decisions_equal_a_plain_computation(files: dict[bool, Path], t2t: bool) -> None:
    state = published_state(t2t)
    selector = AdaViTSelector(files[t2t], last_blocks=3)
    with torch.inference_mode():
        logits, found = selector.model(images())
    assert logits.shape == (3, 1000) and found.shape == (3, DEPTH, 16)
    scores = selector.scores(images()).flatten(1)
    soft = AdaViTSelector(files[t2t], rule="probability", last_blocks=3).scores(images()).flatten(1)
    for row, image in enumerate(images()):
        expected = torch.stack(plain_decisions(state, image, 1e-5 if t2t else 1e-6))
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(soft[row], expected[1:].mean(0), rtol=1e-4, atol=1e-5)
        order = sorted(range(16), key=lambda p: (int((expected[1:, p] > 0.6).sum()), float(expected[1:, p].mean())))
        assert scores[row].argsort().tolist() == order
    kept = found > 0.6
    assert 0.2 < kept.float().mean() < 0.8, "all or nothing is kept, so the test shows little"


@pytest.mark.parametrize("t2t", [True, False])
def test_heads_and_layers_are_left_out_in_the_tested_images(files: dict[bool, Path], t2t: bool) -> None:
    model = AdaViTSelector(files[t2t], last_blocks=1).model
    used: list[Tensor] = []
    for block in model.blocks[1:]:
        for part in (block.head_select, block.layer_select):
            part.register_forward_hook(lambda _, __, out: used.append(out > 0.5))
    with torch.inference_mode():
        model(images())
    flat = torch.cat([u.flatten() for u in used]).float()
    assert len(used) == 2 * (DEPTH - 1) and 0.1 < flat.mean() < 0.9


def test_performer_attention_is_its_kernel_summed_pair_by_pair() -> None:
    torch.manual_seed(0)
    module = TokenPerformer(10, 6, 3).requires_grad_(False)
    x = torch.randn(2, 5, 10)
    normed = module.norm1(x)
    k, q, v = module.kqv(normed).split(6, dim=-1)

    def phi(z: Tensor) -> Tensor:
        return torch.stack([torch.exp(w @ z - z @ z / 2) for w in module.w]) / math.sqrt(3)

    for b in range(2):
        for i in range(5):
            pairs = [float(phi(q[b, i]) @ phi(k[b, j])) for j in range(5)]
            mixed = sum(p * v[b, j] for j, p in enumerate(pairs)) / (sum(pairs) + 1e-8)
            y = v[b, i] + module.proj(mixed)
            torch.testing.assert_close(module(x)[b, i], y + module.mlp(module.norm2(y)), rtol=1e-4, atol=1e-5)
    # Orthogonal directions of length sqrt(features), as the published files have them.
    torch.testing.assert_close(module.w @ module.w.T, 3 * torch.eye(3), atol=1e-4, rtol=0)


def test_tokens_lie_where_their_pixels_do() -> None:
    torch.manual_seed(0)
    module = TokensToToken(8, 64, 32).eval()
    images = torch.zeros(1, 3, 64, 96)
    with torch.no_grad():
        assert module(images).shape == (1, 4 * 6, 8)
        # Attention reaches everywhere; with its paths shut a token sees only pixels around its own place.
        for attention in (module.attention1, module.attention2):
            attention.proj.weight.zero_()
        before = module(images)
        images[:, :, 34:46, 68:76] = 1.0
        changed = (module(images) - before).abs().sum(-1)[0].view(4, 6)
    # Three splits make a window of 31 pixels that starts 14 before a token's patch: rows 34 to 45 lie in the windows
    # of rows 2 (18 to 48) and 3 (34 to 64), columns 68 to 75 in those of columns 4 and 5.
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[2:4, 4:6] = True
    assert torch.equal(changed > 1e-3, expected) and torch.equal(changed > 0, expected)


def test_published_sizes_build_key_by_key() -> None:
    for t2t, dim, depth, heads, ratio, millions in ((True, 448, 19, 7, 3, 39.26), (False, 384, 12, 6, 4, 22.1)):
        shapes = published_shapes(t2t, dim, depth, heads, 14, ratio)
        state = {k: torch.empty(s, device="meta") for k, s in shapes.items()}
        config = adavit_config(state)
        assert (config["heads"], config["side"], config["patch_size"]) == (heads, 14, 16)
        assert not t2t or (config["token_dim"], config["features"]) == (64, 32)
        with torch.device("meta"):
            own = {k: tuple(v.shape) for k, v in AdaViT(config).state_dict().items()}
        assert own == shapes
        assert sum(math.prod(s) for s in shapes.values()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_averaged_weights_are_taken_where_a_file_has_both(files: dict[bool, Path], tmp_path: Path) -> None:
    state = published_state(False)
    other = {f"module.{k}": torch.zeros_like(v) for k, v in state.items()}
    ours = {f"module.{k}": v for k, v in state.items()}
    torch.save({"state_dict": other, "state_dict_ema": ours, "optimizer": {}}, tmp_path / "both.pth.tar")
    both = AdaViTSelector(tmp_path / "both.pth.tar", last_blocks=2)
    assert str(both.supervision) == "imagenet1k" and both.input_size == (64, 64)
    assert torch.equal(both.scores(images()), AdaViTSelector(files[False], last_blocks=2).scores(images()))


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    def refused(change: Callable[[dict[str, Tensor]], Any], said: str, **options: Any) -> None:
        state = published_state(True)
        change(state)
        torch.save(state, tmp_path / "broken.pth")
        with pytest.raises(InputError, match=said) as caught:
            AdaViTSelector(tmp_path / "broken.pth", last_blocks=DEPTH, **options)
        assert "\n" not in str(caught.value)

    def without(state: dict[str, Tensor], part: str) -> None:
        for key in [k for k in state if part in k]:
            del state[key]

    refused(lambda s: s.pop("norm.bias"), "norm.bias")
    refused(lambda s: s.update(extra=torch.zeros(1)), "unexpected: extra")
    refused(lambda s: without(s, "token_select"), "token_select")
    refused(lambda s: without(s, "blocks.0.attn.token_select"), "not all of the last 4 blocks")
    refused(lambda s: None, "7 attention heads do not divide", heads=7)
    refused(lambda s: without(s, "blocks."), "keys missing")


def test_bad_options(files: dict[bool, Path]) -> None:
    for options, said in (
        ({"rule": "vote"}, "rule must be one of decisions, probability, got 'vote'"),
        ({"last_blocks": 5}, "last_blocks must be a whole number from 1 to 4, got 5"),
    ):
        with pytest.raises(UsageError, match=said):
            AdaViTSelector(files[True], **options)


class TestAdaT2TContract(WeightsContract):
    @pytest.fixture
    def selector(self, files: dict[bool, Path]) -> Selector:
        return AdaViTSelector(files[True], last_blocks=4)

    build = AdaViTSelector


class TestAdaDeiTContract(SelectorContract):
    @pytest.fixture
    def selector(self, files: dict[bool, Path]) -> Selector:
        return AdaViTSelector(files[False], rule="probability", last_blocks=2)
