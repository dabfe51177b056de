"""Latency and throughput of a selector, of a plain ViT on the kept patches, and of both, at several batch sizes.

    python benchmarks/latency.py [--selector ltrp …] [--weights gradcam=FILE …] [--model Ti …] [--batch 1 …]
        [--keep-ratio 0.75 …] [--turns 30] [--seconds 20] [--device cuda] [--threads 1] [--clock cpu] [--dtype float32]

A ViT-Ti/S/B/L 224/16 with random weights, which change no time. "whole" is timm's own forward pass on all patches.
"both" is what a user waits for: scores, top k, and the model on the kept patches. Milliseconds of a batch are the
median and the 90th percentile over turns; images per second follow from the median. All variants of a batch size are
timed in turns after a warm-up, in `torch.inference_mode`, and a GPU is waited for before and after each of them.

The break-even in time is the largest keep ratio at which both together take no longer than the whole model, with
straight lines between the measured ratios. Above it, selecting patches costs more time than it saves. On a busy machine
use processor time of one thread (--threads 1 --clock cpu) instead of wall time.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import timm
import torch
from timing import Clock, processor, time_in_turns
from token_drop import SIZES, Chooser, spread

from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

BATCHES = (1, 8, 32, 256)
RATIOS = (0.25, 0.5, 0.75, 0.9)
FEWEST_TURNS = 3


def break_even(ratios: Sequence[float], both: Sequence[float], whole: float) -> float | None:
    """Largest keep ratio at which `both` takes no longer than `whole`; None if that is below the smallest ratio.

    Args:
        ratios: measured keep ratios, ascending.
        both: time of selector and model at each of them.
        whole: time of the model on all patches.
    """
    if both[-1] <= whole:
        return ratios[-1]
    for (r0, t0), (r1, t1) in reversed(list(pairwise(zip(ratios, both, strict=True)))):
        if t0 <= whole < t1:
            return r0 + (r1 - r0) * (whole - t0) / (t1 - t0)
    return None


def number_of_turns(variants: dict[str, Callable[[], Any]], options: argparse.Namespace, clock: Clock) -> int:
    """As many turns as asked for, fewer where they would take longer than `--seconds`; the calls warm up as well."""
    once = 0.0
    for run in variants.values():
        run()
        once += clock(run)
    return max(FEWEST_TURNS, min(options.turns, int(options.seconds / once)))


def measure(name: str, size: str, batch: int, options: argparse.Namespace, clock: Clock) -> None:
    device, dtype = clock.device, getattr(torch, options.dtype)
    vit = timm.create_model(f"vit_{SIZES[size]}_patch16_224", pretrained=False).eval().requires_grad_(False)
    vit.to(device, dtype)
    grid = vit.patch_embed.grid_size
    patches = grid[0] * grid[1]
    images = torch.randn(batch, 3, *vit.patch_embed.img_size, generator=torch.Generator().manual_seed(1))
    images = images.to(device, dtype)
    chooser = Chooser(name, options.weights.get(name), device, batch, grid)
    variants: dict[str, Callable[[], Any]] = {
        "whole": lambda: vit(images),
        "selector": lambda: chooser.indices(0.5),
    }
    for ratio in options.keep_ratio:
        indices = spread(patches, count_kept(ratio, patches), batch, device)
        variants[f"model {ratio}"] = lambda indices=indices: forward_kept(vit, images, indices)
        variants[f"both {ratio}"] = lambda ratio=ratio: forward_kept(vit, images, chooser.indices(ratio))
    turns = number_of_turns(variants, options, clock)
    seconds = time_in_turns(variants, turns, clock)
    whole = statistics.median(seconds["whole"])

    def line(label: str, ratio: str, variant: str) -> str:
        times = 1000 * np.asarray(seconds[variant])
        median = float(np.median(times))
        rate, share = 1000 * batch / median, median / (1000 * whole)
        start = f"{name:<18}ViT-{size:<3}{batch:>6}{turns:>6}  {label:<9}{ratio:>5}"
        return f"{start}{median:>11.2f}{float(np.quantile(times, 0.9)):>11.2f}{rate:>11.2f}{share:>9.2f}"

    print(line("whole", "1", "whole"))
    print(line("selector", "", "selector"))
    for ratio in options.keep_ratio:
        for label in ("model", "both"):
            print(line(label, f"{ratio:g}", f"{label} {ratio}"))
    both = [statistics.median(seconds[f"both {ratio}"]) for ratio in options.keep_ratio]
    found = break_even(options.keep_ratio, both, whole)
    shown = f"below {options.keep_ratio[0]:g}" if found is None else f"{found:.2f}"
    limit = " or more" if found == options.keep_ratio[-1] else ""
    print(f"{name:<18}ViT-{size:<3}{batch:>6}{turns:>6}  break-even in time at r = {shown}{limit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--selector", action="append", help="ltrp by default, with the weights shipped for photographs")
    parser.add_argument("--weights", action="append", default=[], help="NAME=FILE")
    parser.add_argument("--model", action="append", choices=list(SIZES), help="sizes of ViTs; Ti by default")
    parser.add_argument("--batch", action="append", type=int, help="1, 8, 32, 256 by default")
    parser.add_argument("--keep-ratio", action="append", type=float, help="0.25, 0.5, 0.75, 0.9 by default")
    parser.add_argument("--turns", type=int, default=30, help="number of turns")
    parser.add_argument("--seconds", type=float, default=20, help="most seconds of a batch size; at least 3 turns")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of the model")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for torch's default")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="wall or processor time")
    options = parser.parse_args()
    options.weights = dict(one.split("=", 1) for one in options.weights)
    options.keep_ratio = sorted(options.keep_ratio or RATIOS)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.clock == "cpu" and device.type != "cpu":
        parser.error("--clock cpu does not measure a GPU: use --clock wall")
    print(
        f"{options.dtype}, {processor(device)}, {torch.get_num_threads()} threads, {options.clock} time, "
        f"torch {torch.__version__}, timm {timm.__version__}"
    )
    print(f"{'selector':<18}{'model':<7}{'batch':>6}{'turns':>6}  {'time of':<9}{'r':>5}", end="")
    print(f"{'median ms':>11}{'90 % ms':>11}{'images/s':>11}{'/ whole':>9}")
    with torch.inference_mode():
        for name in options.selector or ["ltrp"]:
            for size in options.model or ["Ti"]:
                for batch in options.batch or BATCHES:
                    measure(name, size, batch, options, Clock(options.clock, device))


if __name__ == "__main__":
    main()
