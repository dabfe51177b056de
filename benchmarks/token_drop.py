"""Plain ViTs on the kept patches alone: images per second, FLOPs, and the share of the ideal speed-up that is reached.

    python benchmarks/token_drop.py [--model Ti --model S …] [--keep-ratio 0.5 …] [--batch 32] [--device cuda]
        [--selector ltrp --selector-weights FILE] [--repeats 15] [--dtype float32] [--threads 1] [--clock cpu]

ViT-Ti/S/B/L 224/16 with random weights. The variants of one model are timed in turns, and each is compared with timm's
own forward pass of the same turn; medians over turns are printed. FLOPs are counted by torch (matrix products and
convolutions). The ideal speed-up is timm's FLOPs divided by those at keep ratio r; "of ideal" is the measured speed-up
divided by the ideal one, so at r = 1 it compares timm's forward pass with ours. On a busy machine use processor time of
one thread (--threads 1 --clock cpu) instead of wall time.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import timm
import torch
from timing import Clock, processor, time_in_turns
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.topk import count_kept, resample_scores, top_k
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

SIZES = {"Ti": "tiny", "S": "small", "B": "base", "L": "large"}
RATIOS = (1.0, 0.75, 0.5, 0.25)


def flops(run: Callable[[], Any]) -> int:
    """FLOPs of one call, with unfused attention, since torch does not count every fused kernel."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return int(counter.get_total_flops())


def spread(patches: int, kept: int, batch: int, device: torch.device) -> Tensor:
    """[batch, kept] random patch indices, different for each image, in raster order."""
    noise = torch.rand(batch, patches, generator=torch.Generator().manual_seed(0))
    return noise.argsort(1)[:, :kept].sort(1).values.to(device)


class Chooser:
    """A selector as a sweep uses it: scores, resampled to the model's grid, top k."""

    def __init__(self, name: str, weights: str | None, device: torch.device, batch: int, grid: tuple[int, int]) -> None:
        self.selector = create_selector(name, weights, domain="photos")
        self.selector.to(device)
        side = self.selector.patch_size
        height, width = self.selector.input_size or (grid[0] * side, grid[1] * side)
        images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(2))
        self.images = normalize(images, self.selector.mean, self.selector.std).to(device)
        self.ids = tuple(f"image {i}" for i in range(batch))
        self.grid = grid

    def scores(self) -> Tensor:
        return self.selector.scores(self.images, context=BatchContext(self.ids, 0, None, self.grid))

    def indices(self, keep_ratio: float) -> Tensor:
        scores = resample_scores(self.scores(), self.grid)
        return top_k(scores, keep_ratio, image_ids=self.ids).indices.to(self.images.device)


def measure(size: str, options: argparse.Namespace, clock: Clock) -> None:
    device, batch = clock.device, options.batch
    torch.manual_seed(0)
    vit = timm.create_model(f"vit_{SIZES[size]}_patch16_224", pretrained=False).eval().requires_grad_(False)
    vit.to(device, getattr(torch, options.dtype))
    grid = vit.patch_embed.grid_size
    patches = grid[0] * grid[1]
    images = torch.randn(batch, 3, *vit.patch_embed.img_size, generator=torch.Generator().manual_seed(1))
    images = images.to(device, getattr(torch, options.dtype))
    chooser = Chooser(options.selector, options.selector_weights, device, batch, grid)
    variants: dict[str, Callable[[], Any]] = {"timm": lambda: vit(images)}
    kept = {}
    for ratio in options.keep_ratio:
        indices = spread(patches, count_kept(ratio, patches), batch, device)
        kept[ratio] = indices.shape[1]
        variants[f"model {ratio}"] = lambda indices=indices: forward_kept(vit, images, indices)
        variants[f"both {ratio}"] = lambda ratio=ratio: forward_kept(vit, images, chooser.indices(ratio))
    every = torch.arange(patches, device=device).expand(batch, -1)
    difference = float((forward_kept(vit, images, every) - vit(images)).abs().max())
    scale = float(vit(images).abs().max())
    assert difference <= scale * (1e-4 if options.dtype == "float32" else 5e-2), (
        "with all patches kept the output is not that of timm's forward pass"
    )
    counted = {name: flops(run) / batch for name, run in variants.items()}
    seconds = time_in_turns(variants, options.repeats, clock)

    def rate(name: str) -> float:
        return batch / statistics.median(seconds[name])

    def speed_up(name: str) -> float:
        pairs = zip(seconds["timm"], seconds[name], strict=True)
        return statistics.median(whole / part for whole, part in pairs)

    print(f"ViT-{size:<3}{'timm':>6}{patches:>6}{counted['timm'] / 1e9:>9.2f}{rate('timm'):>11.2f}")
    for ratio in options.keep_ratio:
        model, both = f"model {ratio}", f"both {ratio}"
        ideal, ideal_both = counted["timm"] / counted[model], counted["timm"] / counted[both]
        alone = f"{rate(model):>11.2f}{speed_up(model):>9.2f}{ideal:>7.2f}{speed_up(model) / ideal:>10.2f}"
        whole = f"{rate(both):>11.2f}{speed_up(both):>9.2f}{speed_up(both) / ideal_both:>10.2f}"
        print(
            f"ViT-{size:<3}{ratio:>6g}{kept[ratio]:>6}{counted[model] / 1e9:>9.2f}{alone}"
            f"{counted[both] / 1e9:>12.2f}{whole}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(SIZES), help="sizes of ViTs; all by default")
    parser.add_argument("--keep-ratio", action="append", type=float, help="1, 0.75, 0.5, 0.25 by default")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15, help="number of turns")
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="type of the model's weights"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for torch's default")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="wall or processor time")
    parser.add_argument("--selector", default="ltrp")
    parser.add_argument("--selector-weights", help="file of weights; by default those shipped for photographs")
    options = parser.parse_args()
    options.model = options.model or list(SIZES)
    options.keep_ratio = options.keep_ratio or list(RATIOS)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.clock == "cpu" and device.type != "cpu":
        parser.error("--clock cpu does not measure a GPU: use --clock wall")
    print(
        f"batch {options.batch}, {options.dtype}, {processor(device)}, {torch.get_num_threads()} threads, "
        f"{options.clock} time, {options.repeats} turns, "
        f"selector {options.selector} ({options.selector_weights or 'as shipped'}), "
        f"torch {torch.__version__}, timm {timm.__version__}"
    )
    print(f"{'':28}{'model alone':^37}{'selector and model':>42}")
    head = f"{'':7}{'r':>6}{'k':>6}{'GFLOPs':>9}{'images/s':>11}{'speed-up':>9}{'ideal':>7}{'of ideal':>10}"
    print(f"{head}{'GFLOPs':>12}{'images/s':>11}{'speed-up':>9}{'of ideal':>10}")
    with torch.inference_mode():
        for size in options.model:
            measure(size, options, Clock(options.clock, device))


if __name__ == "__main__":
    main()
