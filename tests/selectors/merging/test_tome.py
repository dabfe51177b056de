from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_vits import make_images, save_vit, small_vit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.checkpoints import shipped
from ltrp_bench.selectors.contract import SelectorContract, WeightsContract
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.merging.merge_tree import MergeTree, Round, representative_scores
from ltrp_bench.selectors.merging.tome import ToMeSelector, bipartite_matching, merge_schedule, merge_tokens
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.tasks.data.shapes.world import WORLD_SEEDS, ShapesWorld


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vit(tmp_path_factory.mktemp("weights") / "vit.safetensors", small_vit())


def test_schedule() -> None:
    assert merge_schedule(196, 12, 12 * 13) == (13,) * 12
    assert merge_schedule(10, 4, 6) == (2, 2, 1, 1)
    assert merge_schedule(144, 4, 143) == (36, 36, 36, 18)  # at most half of the 36 that are left
    assert merge_schedule(9, 3, 0) == (0, 0, 0)


def test_matching_by_hand() -> None:
    # A: tokens 0, 2, 4; B: tokens 1, 3. Directions in degrees.
    angle = torch.tensor([0.0, 50.0, 60.0, 90.0, 85.0]).deg2rad()
    lengths = torch.tensor([1.0, 5.0, 2.0, 0.5, 3.0])
    keys = (torch.stack([angle.cos(), angle.sin()], -1) * lengths[:, None])[None]
    places, partners, similarity = bipartite_matching(keys, 2)
    assert places.tolist() == [[2, 1]] and partners.tolist() == [[1, 0]]
    torch.testing.assert_close(similarity, torch.tensor([[5.0, 10.0]]).deg2rad().cos())


def loops(vit: VisionTransformer, image: Tensor, schedule: tuple[int, ...]) -> list[list[set[int]]]:
    """Token merging of one image written with sets and loops: the groups after each block."""
    x = vit._pos_embed(vit.patch_embed(image[None]))[0]
    cls, rest = x[0], list(x[1:])
    groups, out = [{i} for i in range(len(rest))], []
    for block, r in zip(vit.blocks, schedule, strict=True):
        seq = torch.stack([cls, *rest])
        size = torch.tensor([1.0, *(float(len(g)) for g in groups)])
        heads = block.attn.num_heads
        q, k, v = block.attn.qkv(block.norm1(seq)).reshape(len(seq), 3, heads, -1).permute(1, 2, 0, 3)
        logits = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        weights = logits.exp() * size
        mixed = (weights / weights.sum(-1, keepdim=True)) @ v
        seq = seq + block.attn.proj(mixed.transpose(0, 1).flatten(1))
        keys = k.mean(0)[1:]
        pairs = []
        for i in range(0, len(groups), 2):
            near = [(torch.cosine_similarity(keys[i], keys[j], dim=0).item(), j) for j in range(1, len(groups), 2)]
            pairs.append((*max(near), i))
        cls, rest = seq[0], list(seq[1:])
        gone = set()
        sums = [token * len(group) for token, group in zip(rest, groups, strict=True)]
        for _, j, i in sorted(pairs, reverse=True)[:r]:
            sums[j], groups[j] = sums[j] + sums[i], groups[j] | groups[i]
            gone.add(i)
        order = [i for i in range(0, len(groups), 2) if i not in gone] + list(range(1, len(groups), 2))
        rest = [sums[i] / len(groups[i]) for i in order]
        groups = [groups[i] for i in order]
        seq = torch.stack([cls, *rest])
        seq = seq + block.mlp(block.norm2(seq))
        cls, rest = seq[0], list(seq[1:])
        out.append(list(groups))
    return out


@pytest.mark.parametrize("image", [0, 1, 2])
def test_merging_equals_loops(image: int) -> None:
    vit, schedule = small_vit().eval(), merge_schedule(36, 4, 30)
    with torch.no_grad():
        tree = merge_tokens(vit, make_images(), schedule)
        expected = loops(vit, make_images()[image], schedule)
    for after, groups in zip([*(r.groups for r in tree.rounds[1:]), tree.groups], expected, strict=True):
        found: dict[int, set[int]] = {}
        for patch, anchor in enumerate(after[image].tolist()):
            found.setdefault(anchor, set()).add(patch)
        assert all(anchor in group for anchor, group in found.items())
        assert sorted(map(sorted, found.values())) == sorted(map(sorted, groups))


def partitions(tree: MergeTree, row: int) -> list[dict[int, set[int]]]:
    """Groups of one image by anchor, from single patches on, after each merge."""
    groups = {p: {p} for p in range(tree.groups.shape[1])}
    out = [dict(groups)]
    for merges in tree.rounds:
        for source, target in zip(merges.source[row].tolist(), merges.target[row].tolist(), strict=True):
            groups[target] = groups[target] | groups.pop(source)
            out.append(dict(groups))
    return out


def test_at_every_k_each_group_has_one_representative() -> None:
    vit = small_vit().eval()
    with torch.no_grad():
        tree = merge_tokens(vit, make_images(), merge_schedule(36, 4, 35))
    scores = representative_scores(tree)
    for row in range(4):
        order = scores[row].argsort(descending=True).tolist()
        stages = partitions(tree, row)
        assert {frozenset(g) for g in stages[-1].values()} == {
            frozenset((tree.groups[row] == a).nonzero().flatten().tolist()) for a in tree.groups[row].unique()
        }
        for groups in stages:
            best = set(order[: len(groups)])
            assert all(len(best & members) == 1 for members in groups.values())


def test_the_most_central_member_and_greater_groups_first() -> None:
    # Patches 0-2 lie at 0, 10 and 25 degrees: patch 1 is nearest to their mean. 3 and 4 are one group, 5 is alone.
    angle = torch.tensor([0.0, 10.0, 25.0, 90.0, 92.0, 200.0]).deg2rad()
    keys = torch.stack([angle.cos(), angle.sin()], -1)[None]
    rounds = [
        Round(torch.tensor([[0, 1, 2, 3, 4, 5]]), torch.tensor([[4, 0]]), torch.tensor([[3, 1]]), torch.ones(1, 2)),
        Round(torch.tensor([[1, 1, 2, 3, 3, 5]]), torch.tensor([[2]]), torch.tensor([[1]]), torch.ones(1, 1)),
    ]
    scores = representative_scores(MergeTree(rounds, torch.tensor([[1, 1, 1, 3, 3, 5]]), keys))[0]
    order = scores.argsort(descending=True).tolist()
    assert order[0] == 1 and order[2] == 5  # of three patches and of one; 3 and 4 are as central as each other
    assert order[1] in (3, 4) and order[3] == 2  # the last merge is undone first
    assert set(order[4:]) == {0, 3, 4} - {order[1]}


def test_of_what_is_undone_the_least_similar_comes_first() -> None:
    keys = torch.nn.functional.normalize(torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    groups = torch.tensor([[0, 1, 2, 3]])
    merges = Round(groups, torch.tensor([[0, 2]]), torch.tensor([[1, 3]]), torch.tensor([[0.9, 0.4]]))
    scores = representative_scores(MergeTree([merges], torch.tensor([[1, 1, 3, 3]]), keys))[0]
    first, second = scores[:2].max(), scores[2:].max()
    assert first == second  # groups of two
    assert scores[2:].min() > scores[:2].min() and scores[:2].min() == 0


def test_alike_patches_are_represented_once() -> None:
    """Pairs of equal neighbours: with positions off they merge in one round, and the best half is one of each."""
    vit = small_vit().eval()
    with torch.no_grad():
        vit.pos_embed.zero_()
    left = make_images(1).unflatten(3, (3, 2, 8))[:, :, :, :, :1]
    images = left.expand(-1, -1, -1, -1, 2, -1).flatten(3)
    with torch.no_grad():
        tree = merge_tokens(vit, images, (18, 0, 0, 0))
    best = representative_scores(tree)[0].topk(18).indices
    assert {int(p) // 2 for p in best} == set(range(18))


def test_options(weights: Path) -> None:
    assert ToMeSelector(weights).schedule == (9, 9, 9, 4)
    assert ToMeSelector(weights, r=2).schedule == (2, 2, 2, 2)
    assert sum(ToMeSelector(weights, target_keep_ratio=0.5).schedule) == 18
    assert str(ToMeSelector(weights).supervision) == "shapes-seen/0"
    with pytest.raises(UsageError, match="supervised=false, but the weights were trained with labels"):
        ToMeSelector(weights, supervised=False)
    selector = ToMeSelector(weights, target_keep_ratio=1.0)
    assert selector.scores(make_images()).unique().numel() == 1  # nothing is merged, so all patches have the same score
    for options, match in (
        ({"r": 0}, "r must be a whole number from 1 on"),
        ({"r": 1.5}, "r must be a whole number from 1 on"),
        ({"r": 2, "target_keep_ratio": 0.5}, "not both"),
        ({"target_keep_ratio": 0.0}, "target_keep_ratio"),
    ):
        with pytest.raises(UsageError, match=match):
            ToMeSelector(weights, **options)


def test_one_ratio_asked_for_is_one_group_a_patch(weights: Path) -> None:
    selector = ToMeSelector(weights, target_keep_ratio=0.5)
    scores = selector.scores(make_images()).flatten(1)
    with torch.inference_mode():
        tree = merge_tokens(selector.net, make_images(), selector.schedule)
    for row in range(4):
        best = scores[row].topk(18).indices
        assert tree.groups[row, best].unique().numel() == tree.groups[row].unique().numel() == 18


def test_a_vit_without_class_token(tmp_path: Path) -> None:
    vit = VisionTransformer(
        img_size=48, patch_size=8, embed_dim=32, depth=4, num_heads=4, class_token=False, global_pool="avg"
    )
    with torch.no_grad():
        tree = merge_tokens(vit.eval(), make_images(), (5, 5, 5, 5))
    assert all(groups.unique().numel() == 16 for groups in tree.groups)


def test_a_real_vit(shared_dir: Path) -> None:
    file = shared_dir / "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"
    selector = ToMeSelector(file)
    assert selector.supervision.label_sets == ("imagenet21k", "imagenet1k") and selector.mean == (0.5, 0.5, 0.5)
    assert selector.scores(make_images(1, 224) / 2).shape == (1, 14, 14)


def test_foreign_files_are_one_line(tmp_path: Path) -> None:
    torch.save({"model": {"conv1.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="do not fit a plain ViT") as caught:
        ToMeSelector(tmp_path / "other.pth")
    assert "\n" not in str(caught.value)


class TestToMeContract(WeightsContract):
    build = ToMeSelector

    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return ToMeSelector(weights)


class TestToMeForOneRatioContract(SelectorContract):
    @pytest.fixture
    def selector(self, weights: Path) -> Selector:
        return ToMeSelector(weights, target_keep_ratio=0.25)


def test_a_batch_flips_no_merge() -> None:
    # Sums in another order did, on images like these.
    selector = create_selector("tome", shipped("vit.shapes0"))
    world = ShapesWorld(WORLD_SEEDS["test"])
    images = torch.stack([torch.from_numpy(world.image(i).image).permute(2, 0, 1) / 255 for i in range(12, 20)])
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (selector.mean, selector.std))
    images = (images - mean) / std
    alone = torch.cat([selector.scores(image) for image in images.split(1)])
    assert torch.equal(selector.scores(images), alone)
