"""Ranking of all patches from the glimpses of GFNet (docs/selectors/gfnet.md)."""

from __future__ import annotations

import torch
from torch import Tensor


def glimpse_ranking(corners: Tensor, crop: int, grid: tuple[int, int], patch: int) -> Tensor:
    """Scores of patches from a sequence of glimpses.

    Patches are ranked by the first glimpse that covers any of them, then by the share covered, then by the distance
    between the centers of patch and glimpse. Patches that no glimpse covers come last, by the distance of their center
    to the edge of the nearest glimpse, then to its center. Distances are integers, in half pixels, so that ties are
    exact.

    Args:
        corners: [B, n, 2] int64 first pixels (row, column) of the glimpses, in their order.
        crop: side of a glimpse in pixels.
        grid: (gh, gw) patches.
        patch: side of a patch in pixels.

    Returns:
        [B, gh, gw] float32: number of patches of the image that rank below; ties have equal scores.
    """
    glimpses, device = corners.shape[1], corners.device
    rows, columns = (torch.arange(side, device=device) * patch for side in grid)
    covered = (
        _overlap(corners[..., 0], rows, crop, patch)[..., :, None]
        * (_overlap(corners[..., 1], columns, crop, patch)[..., None, :])
    )
    covered = covered.flatten(2)
    to_center = _squares(corners, crop, rows, columns, patch, edge=False)
    to_edge = _squares(corners, crop, rows, columns, patch, edge=True)
    # No squared distance in half pixels reaches `far`, so that lesser criteria only break ties.
    far = 8 * (max(grid) * patch + crop) ** 2
    place = torch.arange(glimpses, device=device).view(1, -1, 1)
    order = torch.where(covered > 0, glimpses - place, 0) * (patch * patch + 1) + covered
    best = (order * far + (far - 1 - to_center)).where(covered > 0, -1).amax(1)
    nearest = (to_edge * far + to_center).amin(1)
    value = torch.where(covered.amax(1) > 0, best, -1 - nearest)
    ordered = value.sort(dim=1).values
    return torch.searchsorted(ordered, value.contiguous()).float().view(-1, *grid)


def _overlap(start: Tensor, places: Tensor, crop: int, patch: int) -> Tensor:
    """[B, n] first pixels of glimpses, [g] of patches -> [B, n, g] pixels in common along one axis."""
    ends = torch.minimum(start[..., None] + crop, places + patch)
    return (ends - torch.maximum(start[..., None], places)).clamp(min=0)


def _squares(corners: Tensor, crop: int, rows: Tensor, columns: Tensor, patch: int, edge: bool) -> Tensor:
    """[B, n, L] squared distances, in half pixels, of patch centers to glimpse centers or edges."""
    parts = []
    for axis, places in enumerate((rows, columns)):
        away = (2 * places + patch - (2 * corners[..., axis, None] + crop)).abs()
        # A glimpse extends `crop` half pixels from its center.
        parts.append((away - crop).clamp(min=0) ** 2 if edge else away**2)
    return (parts[0][..., :, None] + parts[1][..., None, :]).flatten(2)
