"""Distances between two reconstructions over the masked patches; greater always means farther.

Sources: LTRP (Luo et al., CVPR 2024, section 3.1 and table 6) and torchmetrics for SSIM, PSNR and LPIPS.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.mae import MaskedAutoencoder
from ltrp_bench.selectors.normalization import denormalize
from ltrp_bench.selectors.option_checks import check_value
from ltrp_bench.selectors.vit.layers import patchify, take

Distance = Literal["l1", "l2", "ssim", "psnr", "lpips"]
ON_PIXELS = ("ssim", "psnr", "lpips")


def check_distance(name: str) -> None:
    """Raise `UsageError` unless the distance exists."""
    check_value("semantic density", "distance", name, Distance)


def supervision_by(distance: str) -> Supervision:
    """Supervision of what learns from a distance: LPIPS compares features of an AlexNet trained on ImageNet-1K."""
    return Supervision.labels("imagenet1k") if distance == "lpips" else Supervision.self_supervised()


def patch_distance(pred: Tensor, anchor: Tensor, name: Distance) -> Tensor:
    """Mean absolute (l1) or squared (l2) difference: [..., M, K] predictions -> [...]. May overwrite `pred`."""
    change = pred.float().sub_(anchor)
    change = change.abs_() if name == "l1" else change.square_()
    return change.mean(dim=(-2, -1))


class PixelDistance:
    """SSIM, PSNR or LPIPS between two whole images: visible patches as they are, masked ones as predicted.

    Both images share their visible pixels, so only the masked patches differ. Predictions of normalized
    patches are converted to pixels by mean and standard deviation of the true patch, and pixels to [0, 1] by the
    normalization of the MAE. SSIM and PSNR are similarities and are negated.

    Args:
        mae: the model that predicts.
        images: [B, 3, H, W], normalized for the MAE.
        visible, masked: patch indices, [B, n] and [B, M].
        anchor: [B, M, P*P*3] predictions from all visible patches.
        name: "ssim", "psnr" or "lpips".
    """

    def __init__(
        self, mae: MaskedAutoencoder, images: Tensor, visible: Tensor, masked: Tensor, anchor: Tensor, name: Distance
    ) -> None:
        self.mae, self.name, self.masked = mae, name, masked
        self.patches = patchify(images, mae.patch_size).float()
        truth = take(self.patches, masked)
        self.center = truth.mean(dim=-1, keepdim=True)
        self.spread = (truth.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        self.network = _lpips_network(images.device) if name == "lpips" else None
        self.reference = self.image(anchor, torch.arange(len(images), device=images.device))

    def image(self, pred: Tensor, rows: Tensor) -> Tensor:
        """[R, M, P*P*3] predictions for the images `rows` [R] -> images [R, 3, H, W] in [0, 1]."""
        pred = pred.float()
        if self.mae.norm_pix_loss:
            pred = pred * self.spread[rows] + self.center[rows]
        index = self.masked[rows].unsqueeze(-1).expand_as(pred)
        pixels = self.mae.unpatchify(self.patches[rows].scatter(1, index, pred))
        return denormalize(pixels, self.mae.mean, self.mae.std).clamp(0, 1)

    def __call__(self, pred: Tensor, rows: Tensor) -> Tensor:
        """[R, M, P*P*3] predictions after a removal in images `rows` -> distances [R]."""
        changed, reference = self.image(pred, rows), self.reference[rows]
        if self.name == "lpips":
            assert self.network is not None
            if min(changed.shape[-2:]) < 64:  # the backbone halves the image five times
                changed, reference = (F.interpolate(x, size=(64, 64)) for x in (changed, reference))
            return self.network(changed, reference, normalize=True).flatten()
        if self.name == "psnr":
            # Minus the PSNR, clamped: that of torchmetrics is infinite for equal images, but scores must be finite.
            error = (changed - reference).square().mean(dim=(1, 2, 3))
            return 10 * error.clamp_min(1e-12).log10()
        from torchmetrics.functional.image import structural_similarity_index_measure

        value = structural_similarity_index_measure(changed, reference, data_range=1.0, reduction="none")
        assert isinstance(value, Tensor)
        return -value


def _lpips_network(device: torch.device) -> torch.nn.Module:
    """LPIPS (AlexNet) from torchmetrics; torchvision downloads the backbone once. `InputError` if it cannot."""
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        # The inner network returns one value per image, the metric around it only their mean.
        return LearnedPerceptualImagePatchSimilarity("alex").net.to(device).eval()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the LPIPS distance needs torchvision's AlexNet weights, which could not be fetched ({reason}); "
            f"put alexnet-owt-7be5be79.pth into {torch.hub.get_dir()}/checkpoints or use l1"
        ) from None
