from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_vits import make_images, save_vit, small_vit

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.contract import WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.merging.pitome import PiToMeSelector, kept_count, merge_by_energy, pair_by_energy

Golden = Callable[[str], tuple[dict[str, Any], dict[str, np.ndarray], Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_golden_through_the_official_wrapping(golden: Golden, tmp_path: Path) -> None:
    meta, expected, fill = golden("pitome")
    torch.save({"model": fill.state_dict(meta["shapes"], meta["seed"])}, tmp_path / "deit.pth")
    selector = PiToMeSelector(tmp_path / "deit.pth")
    assert selector.ratio == meta["ratio"] and str(selector.supervision) == "imagenet1k"
    for row, offset in enumerate(meta["image_offsets"]):
        with torch.inference_mode():
            found = merge_by_energy(selector.net, fill.images(1, 224, meta["seed"] + offset), selector.ratio)
            logits = selector.net.forward_head(selector.net.norm(found.tokens.x))
        np.testing.assert_allclose(logits[0].numpy(), expected["logits"][row], atol=1e-4, rtol=0)
        np.testing.assert_array_equal(found.tokens.size[0, :, 0].numpy(), expected["size_last"][row].ravel())
        after = [*(merges.groups for merges in found.tree.rounds[1:]), found.tree.groups]
        for i, (energy, groups) in enumerate(zip(found.energy, after, strict=True)):
            np.testing.assert_allclose(energy[0].numpy(), expected[f"energy_{i}"][row], atol=1e-6, rtol=0)
            # The same partition: each of our groups meets one of theirs, and each of theirs one of ours.
            ours, theirs = groups[0].tolist(), expected[f"group_{i}"][row][1:].tolist()
            assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))


ALIKE = torch.tensor(
    [
        [1.0, 0.9, 0.2, 0.3, 0.1],
        [0.9, 1.0, 0.4, 0.6, 0.0],
        [0.2, 0.4, 1.0, 0.7, 0.0],
        [0.3, 0.6, 0.7, 1.0, 0.0],
        [0.1, 0.0, 0.0, 0.0, 1.0],
    ]
)[None]
ENERGY = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])


def test_protected_tokens_stay() -> None:
    # By energy 0, 1, 2, 3, 4: of the first two, 0 is merged into 1.
    pairs = pair_by_energy(ALIKE, ENERGY, 1, protect=True)
    assert pairs.source.tolist() == [[0]] and pairs.target.tolist() == [[1]] and pairs.partner.tolist() == [[0]]
    assert pairs.stay.tolist() == [[2, 3, 4]] and pairs.similarity.flatten().tolist() == pytest.approx([0.9])
    # Of the first four, 0 and 2 are merged into the more similar of 1 and 3; pairs are listed by similarity.
    pairs = pair_by_energy(ALIKE, ENERGY, 2, protect=True)
    assert (
        pairs.source.tolist() == [[0, 2]] and pairs.target.tolist() == [[1, 3]] and pairs.partner.tolist() == [[0, 1]]
    )
    assert pairs.stay.tolist() == [[4]]


def test_without_protection_the_most_similar_pairs_are_merged() -> None:
    energy = torch.tensor([[2.0, 0.0, 3.0, 1.0, 4.0]])  # by energy 4, 2, 0, 3, 1: sets {4, 0, 1} and {2, 3}
    pairs = pair_by_energy(ALIKE, energy, 1, protect=False)
    assert pairs.target.tolist() == [[2, 3]]
    assert pairs.source.tolist() == [[1]] and pairs.partner.tolist() == [[1]]  # 1 and 3 are .6 alike
    assert pairs.stay.tolist() == [[0, 4]]  # 0 and 3 are .3 alike, 4 and any 0


def test_energy_by_hand() -> None:
    vit, image = small_vit().eval(), make_images(1)
    with torch.no_grad():
        found = merge_by_energy(vit, image, 0.9)
        x = vit.blocks[0].norm1(vit._pos_embed(vit.patch_embed(image)))
        keys = vit.blocks[0].attn.qkv(x).reshape(37, 3, 4, 8)[1:, 1].mean(1)
    for place in (0, 20):
        others = torch.cosine_similarity(keys[place : place + 1], keys) - 0.75
        by_hand = torch.where(others > 0, others, others.exp() - 1).mean()
        assert found.energy[0][0, place].item() == pytest.approx(by_hand.item(), abs=1e-5)
    # 36, 36 - 3, 33 - 3, 30 - 3 tokens enter; two of four blocks protect.
    assert [energy.shape[1] for energy in found.energy] == [36, 33, 30, 27]
    assert found.tokens.size.sum() == 37 and len(set(found.tree.groups[0].tolist())) == 25


def test_the_remaining_groups_come_first_by_low_energy(weights: Path) -> None:
    selector = PiToMeSelector(weights)
    scores = selector.scores(make_images(2)).flatten(1)
    for row, image in enumerate(make_images(2)):
        with torch.inference_mode():
            found = merge_by_energy(selector.net, image[None], selector.ratio)
        groups = found.tree.groups[0]
        remaining = groups.unique()
        order = scores[row].argsort(descending=True)[: len(remaining)]
        # One patch of each group, the groups in rising order of energy.
        assert sorted(groups[order].tolist()) == remaining.tolist()
        energy = found.last_energy[0][groups[order]]
        assert (energy.diff() >= 0).all()


def test_counts() -> None:
    assert [kept_count(n, 0.925) for n in (196, 182, 169, 13, 1)] == [182, 169, 157, 13, 1]


def test_the_ratio_leaves_the_published_share_at_any_depth(weights: Path) -> None:
    assert PiToMeSelector(weights).ratio ** 4 == pytest.approx(0.925**12)
    assert PiToMeSelector(weights, target_keep_ratio=0.3).ratio ** 4 == pytest.approx(0.3)


def test_bad_options(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ratio or target_keep_ratio"):
        PiToMeSelector(weights, ratio=0.9, target_keep_ratio=0.5)
    with pytest.raises(UsageError, match="at most half"):
        PiToMeSelector(weights, ratio=0.4)
    with pytest.raises(UsageError, match="ratio must be in"):
        PiToMeSelector(weights, ratio=1.5)
    with pytest.raises(InputError, match="not found"):
        PiToMeSelector(tmp_path / "absent.pth")


def test_scores_do_not_depend_on_the_batch(weights: Path) -> None:
    selector = PiToMeSelector(weights)
    alone = torch.cat([selector.scores(image[None]) for image in make_images()])
    assert torch.equal(selector.scores(make_images()), alone)


class TestPiToMeContract(WeightsContract):
    build = PiToMeSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return PiToMeSelector(weights)
