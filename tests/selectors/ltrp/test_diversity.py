from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrp_bench.selectors.ltrp.diversity import density_peaks, diverse_ranking, dpc_knn
from ltrp_bench.selectors.vit.layers import patchify


def test_golden_dpc_knn(golden: Callable) -> None:
    meta, out, fill = golden("dpc_knn")
    images = fill.images(meta["batch"], meta["image_size"], meta["seed"])
    features = patchify(images, meta["image_size"] // meta["grid"])
    found = dpc_knn(features, meta["clusters"], meta["neighbours"])
    assert torch.equal(found, torch.from_numpy(out["cluster"]))


def test_blobs_become_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = centres.repeat_interleave(8, 0) + 0.1 * torch.randn(24, 2, generator=torch.Generator().manual_seed(0))
    cluster = dpc_knn(points[None], 3)[0].view(3, 8)
    assert (cluster == cluster[:, :1]).all() and len(set(cluster[:, 0].tolist())) == 3


def test_noise_is_seeded_and_the_same_for_each_image() -> None:
    flat = torch.zeros(2, 30, 4)
    first, second, other = (
        density_peaks(flat, noise=1e-6, generator=torch.Generator().manual_seed(s))[0] for s in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert torch.equal(first[0], first[1])
    assert other.shape == first.shape


@settings(max_examples=30)
@given(st.integers(2, 50), st.integers(0, 1000), st.sampled_from([None, 0.1, 0.25, 0.5, 1.0]))
def test_ranking_is_a_permutation_and_alone_as_in_a_batch(patches: int, seed: int, ratio: float | None) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores, features = torch.rand(3, patches, generator=draw), torch.randn(3, patches, 4, generator=draw)
    ranks = diverse_ranking(scores, features, ratio, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranks.sort(1).values, torch.arange(1.0, patches + 1).expand(3, -1))
    alone = diverse_ranking(scores[1:2], features[1:2], ratio, generator=torch.Generator().manual_seed(0))
    assert torch.equal(alone[0], ranks[1])


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_at_its_keep_ratio_every_extra_patch_opens_a_new_cluster(ratio: float) -> None:
    draw = torch.Generator().manual_seed(0)
    scores, features = torch.rand(1, 64, generator=draw), torch.randn(1, 64, 6, generator=draw)
    order = diverse_ranking(scores, features, ratio, noise=0)[0].argsort(descending=True).tolist()
    k = round(ratio * 64)
    best = int(0.7 * k)
    assert order[:best] == scores[0].argsort(descending=True)[:best].tolist()
    cluster = dpc_knn(features, k)[0].tolist()
    extra = [cluster[i] for i in order[best:k]]
    assert len(extra) == k - best == len(set(extra)) and not set(extra) & {cluster[i] for i in order[:best]}


def test_without_a_ratio_seven_of_ten_are_by_score_at_every_ratio() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, features = torch.rand(1, 100, generator=draw), torch.randn(1, 100, 6, generator=draw)
    order = diverse_ranking(scores, features, noise=0)[0].argsort(descending=True).tolist()
    by_score = scores[0].argsort(descending=True).tolist()
    peaks = density_peaks(features)[0][0].argsort(descending=True).tolist()
    for k in (10, 20, 40):
        assert set(by_score[: round(0.7 * k)]) <= set(order[:k])
        assert set(peaks[: round(0.3 * k)]) <= set(order[:k])
