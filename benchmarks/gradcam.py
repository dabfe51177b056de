"""Grad-CAM on a ViT-Tiny 224/16: images per second of the `grad-cam` package and of ltrp-bench.

    python benchmarks/gradcam.py [--weights FILE] [--batch 8] [--device cpu] [--repeats 3] [--threads 1]

Both run in one process on the same weights (random ones without --weights) and images, and their maps must agree. The
package is used as its documentation shows: gradients through the whole model, then each map resized to the image; "(b)"
leaves the resizing out. On a busy machine compare the processor times of one thread (--threads 1).
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from pytorch_grad_cam import GradCAM
from timing import lowest_times, processor
from torch import Tensor

from ltrp_bench.selectors.gradcam.selector import GradCAMSelector, ViTLayer
from ltrp_bench.selectors.normalization import normalize

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


class PackageCAM(GradCAM):
    """The package's Grad-CAM, keeping the map before ReLU, scaling and resizing; with `short` these are left out."""

    short = False

    def get_cam_image(self, *args: Any, **kwargs: Any) -> np.ndarray:
        self.raw = super().get_cam_image(*args, **kwargs)
        return self.raw

    def compute_cam_per_layer(self, *args: Any) -> Any:
        if not self.short:
            return super().compute_cam_per_layer(*args)
        (activation,), (gradient,) = self.activations_and_grads.activations, self.activations_and_grads.gradients
        cam = self.get_cam_image(args[0], None, args[1], activation.numpy(), gradient.numpy())
        return [np.maximum(cam, 0)[:, None]]


def random_weights(seed: int) -> Path:
    torch.manual_seed(seed)
    net = timm.create_model(NAME, pretrained=False)
    file = Path(tempfile.mkdtemp()) / f"{NAME}.pt"
    torch.save({k: torch.randn_like(v) * 0.1 for k, v in net.state_dict().items()}, file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--weights", type=Path, default=None, help="checkpoint of a ViT; by default a ViT-Tiny with random weights"
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for torch's default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    selector = GradCAMSelector(options.weights or random_weights(options.seed))
    assert isinstance(selector.net, ViTLayer) and selector.input_size is not None
    selector.to(device)
    model = copy.deepcopy(selector.net.vit).requires_grad_(True)
    height, width = selector.input_size
    grid = height // selector.patch_size, width // selector.patch_size
    generator = torch.Generator().manual_seed(options.seed)
    photos = torch.nn.functional.interpolate(torch.rand(options.batch, 3, 28, 28, generator=generator), (height, width))
    images = normalize(photos, selector.mean, selector.std).to(device)

    def to_grid(x: Tensor) -> Tensor:
        return x[:, model.num_prefix_tokens :].unflatten(1, grid).permute(0, 3, 1, 2)

    print(
        f"{'random' if options.weights is None else options.weights.name}, {height}/{selector.patch_size}, batch "
        f"{options.batch}, {processor(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    with PackageCAM(model, [model.blocks[-1].norm1], to_grid) as cam:

        def package(short: bool) -> np.ndarray:
            cam.short = short
            cam(images, None)
            return np.maximum(cam.raw, 0)

        variants: dict[str, Callable[[], np.ndarray]] = {
            "(a) the grad-cam package": lambda: package(False),
            "(b) the same, maps not resized": lambda: package(True),
            "(c) ltrp-bench": lambda: selector.scores(images).cpu().numpy(),
        }
        results = {}
        for name, run in variants.items():
            run()  # warm-up
            results[name] = lowest_times(run, options.repeats, device)
    reference = results["(a) the grad-cam package"]
    size = float(np.abs(reference[2]).max())
    print(f"{'':31}{'images/s':>9}{'ratio':>7}{'CPU s':>8}{'ratio':>7}  largest difference / largest value")
    for name, (seconds, busy, maps) in results.items():
        difference = float(np.abs(maps - reference[2]).max()) / size
        print(
            f"{name:31}{options.batch / seconds:9.2f}{reference[0] / seconds:7.2f}{busy:8.2f}{reference[1] / busy:7.2f}"
            f"  {difference:.1e}"
        )
        assert difference <= 1e-4, f"{name} does not agree with the package"


if __name__ == "__main__":
    main()
