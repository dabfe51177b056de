"""Diverse ranking: the best 70 % by score, the rest by density-peak clusters, so that no region is left out.

The clustering that LTRP (Luo et al., CVPR 2024) adds after ranking: DPC-KNN (Du et al., 2016) as in TCFormer (Zeng et
al., CVPR 2022, section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor

SHARE_BY_SCORE = 0.7


def density_peaks(
    features: Tensor, neighbours: int = 5, noise: float = 0.0, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Degree to which each patch is the center of a cluster.

    The density of a patch is exp(-mean squared distance to its nearest patches, itself included). Its isolation is the
    distance to the nearest denser patch (for the densest, the greatest distance of all). A center has high values of
    both; the result is their product.

    Args:
        features: [B, L, C].
        neighbours: number of nearest patches that determine the density.
        noise: amplitude of the uniform noise that separates equal densities (1e-6 as published); the same for every
            image, so that the clusters do not depend on the batch.
        generator: generator of the noise.

    Returns:
        Peak values [B, L], and distances between all patches [B, L, L] (divided by sqrt(C)).
    """
    # In double precision, so that the noise has an effect and equal patches are at distance 0.
    features = features.double()
    distance = torch.cdist(features, features) / features.shape[-1] ** 0.5
    nearest = distance.topk(min(neighbours, features.shape[1]), dim=-1, largest=False).values
    density = (-nearest.square().mean(dim=-1)).exp()
    if noise:
        source = generator.device if generator is not None else torch.device("cpu")
        drawn = torch.rand(features.shape[1], generator=generator, device=source, dtype=torch.float64)
        density = density + noise * drawn.to(density.device)
    denser = density[:, None, :] > density[:, :, None]
    farthest = distance.flatten(1).max(dim=-1).values[:, None, None]
    isolation = torch.where(denser, distance, farthest).min(dim=-1).values
    return isolation * density, distance


def dpc_knn(
    features: Tensor,
    clusters: int,
    neighbours: int = 5,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Density-peak clusters: [B, L, C] features -> cluster of each patch [B, L], numbered by descending peak.

    The `clusters` greatest peaks are centers; every patch joins the nearest. Arguments as in `density_peaks`.
    """
    peaks, distance = density_peaks(features, neighbours, noise, generator)
    centers = peaks.topk(min(clusters, features.shape[1]), dim=-1).indices
    rows = torch.arange(len(features), device=features.device)[:, None]
    cluster = distance[rows, centers].argmin(dim=1)
    own = torch.arange(centers.shape[1], device=features.device).expand_as(centers)
    return cluster.scatter(1, centers, own)


def diverse_ranking(
    scores: Tensor,
    features: Tensor,
    keep_ratio: float | None = None,
    neighbours: int = 5,
    noise: float = 1e-6,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Scores of a diverse ranking, [B, L] in 1..L (greater = keep), all patches ranked.

    With `keep_ratio` r (as published, for one k = round(r*L)): first the 0.7*k best by score; then, of k
    clusters, the best patch of each cluster that none of the patches so far belongs to, best first, until k
    are kept (k clusters always suffice); then all others by score.

    Without, one ranking for every keep ratio: of each ten places seven go to the best remaining patch by
    score and three to the next greatest density peak that is still free. The centers of C clusters are the C
    greatest peaks for every C, so at any k the three tenths are centers of the k-cluster partition.
    """
    batch, patches = scores.shape
    order = scores.argsort(dim=1, descending=True, stable=True)
    if keep_ratio is None:
        peaks, _ = density_peaks(features, neighbours, noise, generator)
        second = peaks.argsort(dim=1, descending=True, stable=True)
        ranking = [_interleave(a, b) for a, b in zip(order.tolist(), second.tolist(), strict=True)]
    else:
        k = max(1, round(keep_ratio * patches))
        clusters = dpc_knn(features, k, neighbours, noise, generator)
        ranking = [_fill_up(a, c, k) for a, c in zip(order.tolist(), clusters.tolist(), strict=True)]
    places = torch.tensor(ranking, device=scores.device)
    values = torch.arange(patches, 0, -1, dtype=torch.float32, device=scores.device)
    return torch.zeros(batch, patches, device=scores.device).scatter_(1, places, values.expand(batch, -1))


def _interleave(by_score: list[int], by_peak: list[int]) -> list[int]:
    taken: dict[int, None] = {}
    streams = (iter(by_score), iter(by_peak))
    due = 0
    for place in range(len(by_score)):
        # A peak takes each place at which 3/10 * (place + 1) reaches the next integer.
        owed = (place + 1) * 3 // 10
        stream = streams[1] if owed > due else streams[0]
        due = owed
        taken[next(i for i in stream if i not in taken)] = None
    return list(taken)


def _fill_up(by_score: list[int], cluster: list[int], k: int) -> list[int]:
    taken = dict.fromkeys(by_score[: max(1, int(SHARE_BY_SCORE * k + 1e-9))])
    covered = {cluster[i] for i in taken}
    for i in by_score:
        if len(taken) == k:
            break
        if cluster[i] not in covered:
            taken[i] = None
            covered.add(cluster[i])
    taken.update(dict.fromkeys(by_score))
    return list(taken)
