"""Latency and throughput of a selector, an untrained plain ViT on the kept patches, and both, at several batch sizes.

`ltrp-bench latency` measures the models of tasks in the same way, and stores the numbers for leaderboards.

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

import timm
import torch
from timing import Clock, processor
from token_drop import SIZES, Chooser, spread
from torch import Tensor

from ltrp_bench.harness.evaluation.latency.workload import Workload
from ltrp_bench.harness.evaluation.latency.workload import measure as time_parts
from ltrp_bench.results.leaderboard.latency import break_even_time, range_text
from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

BATCHES = (1, 8, 32, 256)
RATIOS = (0.25, 0.5, 0.75, 0.9)


def measure(name: str, size: str, batch: int, options: argparse.Namespace, clock: Clock) -> None:
    device, dtype = clock.device, getattr(torch, options.dtype)
    vit = timm.create_model(f"vit_{SIZES[size]}_patch16_224", pretrained=False).eval().requires_grad_(False)
    vit.to(device, dtype)
    grid = vit.patch_embed.grid_size
    patches = grid[0] * grid[1]
    images = torch.randn(batch, 3, *vit.patch_embed.img_size, generator=torch.Generator().manual_seed(1))
    images = images.to(device, dtype)
    chooser = Chooser(name, options.weights.get(name), device, batch, grid)

    def run(indices: Tensor | None) -> Tensor:
        return forward_kept(vit, images, indices) if indices is not None and len(indices) else vit(images)

    ratios = options.keep_ratio
    kept = {ratio: spread(patches, count_kept(ratio, patches), batch, device) for ratio in ratios}
    workload = Workload(select=chooser.indices, run=run, whole=torch.empty(0), kept=kept)
    turns, found = time_parts(workload, ratios, turns=options.turns, seconds=options.seconds, clock=clock)
    whole = found[ratios[0]]["whole"].median

    def line(part: str, ratio: float) -> str:
        times = found[ratio][part]
        shown = {"whole": "1", "selector": ""}.get(part, f"{ratio:g}")
        start = f"{name:<18}ViT-{size:<3}{batch:>6}{turns:>6}  {part:<9}{shown:>5}"
        rate, share = 1000 * batch / times.median, times.median / whole
        return f"{start}{times.median:>11.2f}{times.p90:>11.2f}{rate:>11.2f}{share:>9.2f}"

    print(line("whole", ratios[0]))
    print(line("selector", ratios[0]))
    for ratio in ratios:
        print(line("model", ratio))
        print(line("both", ratio))
    both = [found[ratio]["both"].median for ratio in ratios]
    shown = range_text(*break_even_time(ratios, both, [whole] * len(ratios)))
    print(f"{name:<18}ViT-{size:<3}{batch:>6}{turns:>6}  break-even in time: {shown}", flush=True)


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
