"""Distances of predictions by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_maes import uneven_mae
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import alexnet

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp import distances
from ltrp_bench.selectors.ltrp.distances import check_distance, patch_distance
from ltrp_bench.selectors.ltrp.mae import complement, random_visible
from ltrp_bench.selectors.ltrp.semantic_density import semantic_density
from ltrp_bench.selectors.normalization import denormalize


def test_l1_and_l2_by_hand() -> None:
    pred = torch.tensor([[[1.0, 2.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    anchor = torch.tensor([[[0.0, 4.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert patch_distance(pred.clone(), anchor, "l1").tolist() == [(1 + 2 + 0 + 4) / 4, 0]
    assert patch_distance(pred.clone(), anchor, "l2").tolist() == [(1 + 4 + 0 + 16) / 4, 0]


def test_unknown_distances() -> None:
    check_distance("lpips")
    with pytest.raises(UsageError, match="distance must be one of l1, l2, ssim, psnr, lpips, got 'l3'"):
        check_distance("l3")


def test_psnr_and_ssim_are_those_of_torchmetrics() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    mae = uneven_mae()
    images, visible = torch.rand(2, 3, 48, 48), random_visible(2, 36, 6, torch.Generator().manual_seed(5))
    masked = complement(visible, 36)
    with torch.no_grad():
        anchor = mae.decode_masked(mae.encode(images, visible), visible)
    changed = anchor + 0.1 * torch.randn_like(anchor)
    for name in ("psnr", "ssim"):
        measure = distances.PixelDistance(mae, images, visible, masked, anchor, name)
        rows = torch.arange(2)
        compared = measure.image(changed, rows), measure.image(anchor, rows)
        assert compared[0].min() >= 0 and compared[0].max() <= 1
        if name == "psnr":
            expected = peak_signal_noise_ratio(*compared, data_range=1.0, reduction="none", dim=(1, 2, 3))
        else:
            expected = structural_similarity_index_measure(*compared, data_range=1.0, reduction="none")
        torch.testing.assert_close(measure(changed, rows), -expected, atol=1e-4, rtol=1e-4)
    # the visible patches are shown as they are
    seen = mae.patchify(compared[0]).gather(1, visible[..., None].expand(-1, -1, 192))
    shown = mae.patchify(denormalize(images, mae.mean, mae.std))
    torch.testing.assert_close(seen, shown.gather(1, visible[..., None].expand(-1, -1, 192)).clamp(0, 1))


def test_lpips_without_its_weights_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("<urlopen error no network>\nmore")

    monkeypatch.setattr("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity.__init__", offline)
    with pytest.raises(InputError, match="AlexNet weights.*no network") as caught:
        semantic_density(uneven_mae(), torch.randn(1, 3, 48, 48), distance="lpips")
    assert "\n" not in str(caught.value)


def test_lpips_is_that_of_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own layers, on a backbone of random weights in the place of those that a network would fetch."""
    torch.manual_seed(0)
    backbone = alexnet(weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: backbone)
    mae, images = uneven_mae(), torch.rand(2, 3, 48, 48)
    visible, scores = semantic_density(mae, images, mask_ratio=0.8, distance="lpips")
    assert scores.shape == (2, 7) and torch.isfinite(scores).all() and (scores > 0).all()
    masked = complement(visible, 36)
    anchor, changed = (0.3 * torch.randn(2, 29, 192) for _ in range(2))
    measure = distances.PixelDistance(mae, images, visible, masked, anchor, "lpips")
    images = [F.interpolate(measure.image(x, torch.arange(2)), size=(64, 64)) for x in (anchor, changed)]
    metric = LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
    expected = torch.stack([metric(a[None], b[None]) for a, b in zip(*images, strict=True)])
    torch.testing.assert_close(measure(changed, torch.arange(2)), expected, rtol=1e-4, atol=1e-6)
