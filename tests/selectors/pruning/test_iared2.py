from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.pruning.iared2 import IARed2Selector
from ltrp_bench.selectors.vit.backbones import build_vit

DIM, HEADS, GROUPS = 24, 3, (2, 2, 1)
CONFIG = {"image_size": 48, "patch_size": 8, "embed_dim": DIM, "depth": sum(GROUPS), "heads": HEADS, "classes": 10}


def published_state(seed: int = 0) -> dict[str, Tensor]:
    """The keys of a published file: the ViT's, those of its blocks again by group, and an interpreter a group."""
    torch.manual_seed(seed)
    vit = {k: torch.randn_like(v) * 0.3 for k, v in build_vit(CONFIG).state_dict().items()}
    state, start = dict(vit), 0
    for group, size in enumerate(GROUPS):
        for inner in range(size):
            prefix = f"blocks.{start + inner}."
            for key in [k for k in vit if k.startswith(prefix)]:
                state[f"groups.{group}.block_list.{inner}.{key[len(prefix) :]}"] = vit[key]
        start += size
        state[f"groups.{group}.agent.qk.weight"] = torch.randn(3 * DIM, DIM) * 0.6
        state[f"groups.{group}.agent.qk.bias"] = torch.randn(3 * DIM) * 0.3
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("iared2") / "ckpt.pth"
    torch.save(published_state(), file)
    return file


def build(file: Path, **options: Any) -> IARed2Selector:
    return IARed2Selector(file, **{"heads": HEADS, "label_set": "toys", **options})


def images(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 4 - 2


def plain_policy(state: dict[str, Tensor], group: int, x: Tensor) -> list[float]:
    """Equation 1 of the paper for one image's tokens [n, D], the class token first: one number a patch."""
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    both = normed @ state[f"groups.{group}.agent.qk.weight"].T + state[f"groups.{group}.agent.qk.bias"]
    out = []
    for patch in range(1, len(x)):
        total, width = 0.0, DIM // 6
        for head in range(6):
            q = both[0, head * width : (head + 1) * width]
            k = both[patch, DIM + head * width : DIM + (head + 1) * width]
            total += float(torch.sigmoid((q * k).sum() / width**0.5)) / 6
        out.append(total)
    return out


def embedded(state: dict[str, Tensor], image: Tensor) -> Tensor:
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    x = torch.nn.functional.conv2d(image[None], weight, bias, stride=8)
    return torch.cat([state["cls_token"][0], x[0].flatten(1).T]) + state["pos_embed"][0]


def test_first_policy_equals_a_plain_computation(weights: Path) -> None:
    state = published_state()
    scores = build(weights).scores(images())
    assert scores.shape == (3, 6, 6)
    for row, image in enumerate(images()):
        expected = torch.tensor(plain_policy(state, 0, embedded(state, image)))
        torch.testing.assert_close(scores[row].flatten(), expected, rtol=1e-4, atol=1e-5)


def test_later_policies_see_only_what_is_left(weights: Path) -> None:
    """Here dropped patches are really taken out of the sequence, image by image."""
    state = published_state()
    selector = build(weights, policies=3)
    with torch.inference_mode():
        found = selector.model.policies(images(), 2)
    scores = selector.scores(images()).flatten(1)
    dropped = 0
    for row, image in enumerate(images()):
        x, places, start = embedded(state, image), list(range(36)), 0
        survived: dict[int, tuple[int, float]] = {}
        for group, size in enumerate(GROUPS):
            policy = plain_policy(state, group, x)
            for place, value in zip(places, policy, strict=True):
                assert float(found[group][0][row, place]) == pytest.approx(value, abs=1e-4)
                survived[place] = (group + (value > 0.5), value)
            left = [i for i, value in enumerate(policy) if value > 0.5]
            dropped += len(places) - len(left)
            places, x = [places[i] for i in left], torch.cat([x[:1], x[[i + 1 for i in left]]])
            assert set((found[group][1][row] > 0).nonzero().flatten().tolist()) == set(places)
            with torch.inference_mode():
                for block in selector.model.vit.blocks[start : start + size]:
                    x = block(x[None])[0]
            start += size
        ranked = sorted(survived, key=lambda place: survived[place])
        assert ranked == scores[row].argsort().tolist()
    assert dropped > 10, "the weights drop nothing, so the test shows nothing"


def test_the_class_decides_the_label_set_and_the_file_the_sizes(weights: Path, tmp_path: Path) -> None:
    selector = build(weights)
    assert str(selector.supervision) == "toys"
    assert (selector.patch_size, selector.input_size, selector.model.groups) == (8, (48, 48), GROUPS)
    state = published_state()
    state["head.weight"], state["head.bias"] = torch.zeros(1000, DIM), torch.zeros(1000)
    torch.save({"model": state, "epoch": 1, "args": argparse.Namespace()}, tmp_path / "wrapped.pth")
    wrapped = IARed2Selector(tmp_path / "wrapped.pth", heads=HEADS)
    assert str(wrapped.supervision) == "imagenet1k"
    assert torch.equal(wrapped.scores(images()), selector.scores(images()))


def test_our_files_need_no_second_copy_of_the_blocks(weights: Path, tmp_path: Path) -> None:
    state = {k: v for k, v in published_state().items() if ".block_list." not in k and not k.startswith("blocks.4.")}
    state = {k: v for k, v in state.items() if not k.startswith("groups.2.")}
    file = tmp_path / "ours.safetensors"
    save_safetensors(file, state, {"kind": "iared2", "config": {**CONFIG, "depth": 4, "label_set": "toys"}})
    selector = IARed2Selector(file)
    assert selector.model.groups == (2, 2)
    assert torch.equal(selector.scores(images()), build(weights).scores(images()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("groups.1.agent.qk.bias"), "1.qk.bias"),
        (lambda s: s.pop("blocks.1.norm1.weight"), "norm1.weight|not the same block"),
        (lambda s: s.update({"groups.1.block_list.0.norm1.bias": torch.ones(DIM)}), "blocks.2 are not the same"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("groups.2.block_list.")], r"groups of \[2, 2, 0\]"),
        (lambda s: [s.pop(k) for k in list(s) if ".block_list." in k], "cannot infer how 5 blocks form 3"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("groups.")], "groups.0.agent.*a plain vision"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    state = published_state()
    change(state)
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(InputError, match=said) as caught:
        build(tmp_path / "broken.pth")
    assert "\n" not in str(caught.value)


def test_bad_options(weights: Path) -> None:
    for options, said in (
        ({"policies": 4}, "policies must be a whole number from 1 to 3"),
        ({"interpreter_heads": 7}, "7 heads do not divide"),
    ):
        with pytest.raises(UsageError, match=said):
            build(weights, **options)


class TestIARed2Contract(WeightsContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return build(weights)

    build = IARed2Selector


class TestIARed2AllPoliciesContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return build(weights, policies=3)
