"""Plain ViTs on the kept patches alone: images a second, FLOPs, and how much of the FLOP-ideal speed-up is reached.

    python benchmarks/token_drop.py [--model Ti --model S …] [--keep-ratio 0.5 …] [--batch 32] [--device cuda]
        [--selector ltrp --selector-weights FILE] [--repeats 15] [--dtype float32] [--threads 1] [--clock cpu]

ViT-Ti/S/B/L of 224/16 with random weights. All ways of one model are timed in turn, again and again, and each is
compared with timm's own forward of the same turn; medians over turns are shown, so that what slows the machine down
for a while slows all of them. FLOPs are counted by torch (products and convolutions). The ideal speed-up is timm's
FLOPs over those at r; "of ideal" is the measured one over that, so at r = 1 it is how timm's own forward compares. On
a busy machine wall time means little; processor time of one thread (--threads 1 --clock cpu) then still does.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.topk import count_kept, resample_scores, top_k
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

SIZES = {"Ti": "tiny", "S": "small", "B": "base", "L": "large"}
RATIOS = (1.0, 0.75, 0.5, 0.25)


def flops(run: Callable[[], Any]) -> int:
    """Of one call; attention as plain products, since not every fused kernel is counted."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return int(counter.get_total_flops())


class Clock:
    """Seconds of a call, by wall or processor time."""

    def __init__(self, kind: str, device: torch.device) -> None:
        self.now = time.perf_counter if kind == "wall" else time.process_time
        self.device = device

    def __call__(self, run: Callable[[], Any]) -> float:
        self.wait()
        start = self.now()
        run()
        self.wait()
        return self.now() - start

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def in_turns(ways: dict[str, Callable[[], Any]], repeats: int, clock: Clock) -> dict[str, list[float]]:
    """Seconds of each way in each turn; every turn begins with another way; one warm-up of all goes before."""
    for run in ways.values():
        run()
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(clock(ways[name]))
    return seconds


def spread(patches: int, kept: int, batch: int, device: torch.device) -> Tensor:
    """[batch, kept] another random choice for each image, in raster order."""
    noise = torch.rand(batch, patches, generator=torch.Generator().manual_seed(0))
    return noise.argsort(1)[:, :kept].sort(1).values.to(device)


class Chooser:
    """A selector as the sweep uses it: scores, resampled to the model's grid, top k."""

    def __init__(self, name: str, weights: str | None, device: torch.device, batch: int, grid: tuple[int, int]) -> None:
        self.selector = create_selector(name, weights, domain="photos")
        self.selector.to(device)
        side = self.selector.patch_size
        height, width = self.selector.input_size or (grid[0] * side, grid[1] * side)
        images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(2))
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (self.selector.mean, self.selector.std))
        self.images = ((images - mean) / std).to(device)
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
    ways: dict[str, Callable[[], Any]] = {"timm": lambda: vit(images)}
    kept = {}
    for ratio in options.keep_ratio:
        indices = spread(patches, count_kept(ratio, patches), batch, device)
        kept[ratio] = indices.shape[1]
        ways[f"model {ratio}"] = lambda indices=indices: forward_kept(vit, images, indices)
        ways[f"both {ratio}"] = lambda ratio=ratio: forward_kept(vit, images, chooser.indices(ratio))
    every = torch.arange(patches, device=device).expand(batch, -1)
    difference = float((forward_kept(vit, images, every) - vit(images)).abs().max())
    scale = float(vit(images).abs().max())
    assert difference <= scale * (1e-4 if options.dtype == "float32" else 5e-2), (
        "all patches kept are not timm's forward"
    )
    counted = {name: flops(run) / batch for name, run in ways.items()}
    seconds = in_turns(ways, options.repeats, clock)

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
    parser.add_argument("--model", action="append", choices=list(SIZES), help="which ViTs; all by default")
    parser.add_argument("--keep-ratio", action="append", type=float, help="by default 1, 0.75, 0.5, 0.25")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15, help="turns")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of the model")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0: torch's choice")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="wall or processor time")
    parser.add_argument("--selector", default="ltrp")
    parser.add_argument("--selector-weights", help="a file; by default what ships for photographs")
    options = parser.parse_args()
    options.model = options.model or list(SIZES)
    options.keep_ratio = options.keep_ratio or list(RATIOS)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.clock == "cpu" and device.type != "cpu":
        parser.error("processor time says nothing about another device: --clock wall")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(
        f"batch {options.batch}, {options.dtype}, {where}, {torch.get_num_threads()} threads, {options.clock} time, "
        f"{options.repeats} turns, selector {options.selector} ({options.selector_weights or 'as shipped'}), "
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
