"""Semantic density with MAE-B 224/16: the paper's loop, the same loop with fused attention, ltrp-bench, and CrossMAE.

    python benchmarks/semantic_density.py [--batch 2] [--device cpu] [--dtype float32] [--repeats 2] [--threads 2]

All three run in one process on the same random weights and images. Their scores must agree to 1e-5 and rank equally. In
bfloat16, where all three differ by rounding, their correlation with the float32 scores is printed instead. On a busy
machine compare the processor times of one thread (--threads 1).

Then a CrossMAE of the same sizes, with the published 12 decoder blocks (--cross-depth): at all masked positions, at
samples of them, and at samples for each removal (--sampling POSITIONS[/SAMPLES] ...). "ranks" is Spearman's
correlation with its scores at all positions, averaged over images and draws. Random weights say little about it:
--cross-weights FILE takes the sizes and weights of a file, and images of `shapes` or --data FOLDER.
"""

from __future__ import annotations

import argparse
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import lowest_times, processor
from torch import Tensor

from ltrp_bench.harness.training.data.unlabelled import open_stream
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_cross_mae
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.positions import Sampling, count_positions, spread_positions
from ltrp_bench.selectors.ltrp.semantic_density import semantic_density
from ltrp_bench.selectors.normalization import normalize


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    weights = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    if mask is not None:
        weights = weights + mask
    return weights.softmax(dim=-1) @ v


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@torch.no_grad()
def paper_loop(mae: MAE, images: Tensor, visible: Tensor, attend: Callable[..., Tensor]) -> Tensor:
    """One decoder pass over all positions per removal; an N x N mask is -inf in the column of the removed token."""
    batch, seen = visible.shape
    latent = mae.encode(images, visible)
    masked = complement(visible, mae.patches)
    order = torch.cat([visible, masked], dim=1).unsqueeze(-1)
    x = mae.decoder_embed(latent)
    tokens = torch.cat([x[:, 1:], mae.mask_token.expand(batch, masked.shape[1], -1)], dim=1)
    tokens = torch.empty_like(tokens).scatter_(1, order.expand_as(tokens), tokens)
    tokens = torch.cat([x[:, :1], tokens], dim=1) + mae.decoder_pos_embed
    size = tokens.shape[1]

    def decode(mask: Tensor | None) -> Tensor:
        x = tokens
        for block in mae.decoder_blocks:
            q, k, v = block.attn.heads_of(block.attn.qkv(block.norm1(x))).unbind(0)
            out = attend(q, k, v, mask).transpose(1, 2).reshape(batch, size, -1)
            x = x + block.attn.proj(out)
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
        return mae.decoder_pred(mae.decoder_norm(x))[:, 1:].float()

    anchor = decode(None)
    hidden = torch.zeros(batch, mae.patches, device=images.device).scatter_(1, masked, 1.0)
    scores = []
    for i in range(seen):
        mask = torch.zeros(batch, 1, size, size, device=images.device, dtype=images.dtype)
        column = (visible[:, i] + 1).view(batch, 1, 1, 1).expand(batch, 1, size, 1)
        mask.scatter_(3, column, float("-inf"))
        change = (decode(mask) - anchor).abs().mean(dim=-1)
        scores.append((change * hidden).sum(dim=1) / hidden.sum(dim=1))
    return torch.stack(scores, dim=1)


class PeakMemory:
    """Peak memory during a block minus the memory in use before it, in MB."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    @staticmethod
    def resident() -> float:
        pages = Path("/proc/self/statm")
        if pages.exists():
            return int(pages.read_text().split()[1]) * resource.getpagesize() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def __enter__(self) -> PeakMemory:
        self.peak = 0.0
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated() / 2**20
            return self
        self.before = self.resident()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, self.resident() - self.before)

    def __exit__(self, *_: object) -> None:
        if self.cuda:
            self.peak = torch.cuda.max_memory_allocated() / 2**20 - self.before
        else:
            self.stop.set()
            self.thread.join()


def build(options: argparse.Namespace) -> tuple[MAE, CrossMAE, Tensor]:
    """Models and images; the MAE has random weights, since its speed does not depend on them."""
    if options.cross_weights is not None:
        cross = load_cross_mae(options.cross_weights)
        sizes = {key: value for key, value in cross.config.items() if key not in ("decoder", "predict_ratio")}
        stream = open_stream(options.data, cross.image_size[0], options.batch, options.seed, 40_000)
        pixels = torch.stack([stream[i] for i in range(options.batch)]).float() / 255
        images = normalize(pixels, cross.mean, cross.std)
        mae = MAE(MAEConfig(**sizes))
    else:
        mae, cross = MAE(MAEConfig()), CrossMAE(CrossMAEConfig(decoder_depth=options.cross_depth))
        images = torch.nn.functional.interpolate(torch.randn(options.batch, 3, 28, 28), size=(224, 224))
        cross.requires_grad_(False)
        for parameter in cross.parameters():
            parameter.mul_(1.5)
    mae.eval().requires_grad_(False)
    for parameter in mae.parameters():  # attention away from uniform, so that removals matter
        parameter.mul_(1.5)
    return mae, cross.eval(), images


def parse_sampling(text: str) -> Sampling:
    positions, _, samples = text.partition("/")
    return Sampling(
        positions="all" if positions == "all" else int(positions), samples=int(samples) if samples else None
    )


def rank_correlation(found: Tensor, reference: Tensor) -> float:
    """Mean over images of Spearman's correlation of [B, n] scores."""
    ranks = [scores.argsort(1).argsort(1).float() for scores in (found, reference)]
    centered = [rank - rank.mean(1, keepdim=True) for rank in ranks]
    products = (centered[0] * centered[1]).sum(1) / (centered[0].norm(dim=1) * centered[1].norm(dim=1))
    return float(products.mean())


def cross_table(
    cross: CrossMAE, images: Tensor, visible: Tensor, options: argparse.Namespace, loop: tuple[float, float]
) -> None:
    """Print seconds and ratios to the paper's loop (wall, processor) of a CrossMAE at each sampling."""
    masked = complement(visible, cross.patches)
    exact: dict[str, Tensor] = {}

    def density(sampling: Sampling, distance: str) -> Tensor:
        places, starts = torch.rand(2, len(images))
        asked = spread_positions(masked, count_positions(sampling.positions, masked.shape[1]), cross.grid, places)
        limit = options.max_memory_mb
        return semantic_density(
            cross,
            images,
            visible,
            distance=distance,
            positions=None if sampling.exact else asked,
            samples=sampling.samples,
            starts=starts,
            max_memory_mb=limit,
        )[1]

    for name in ("l1", "l2"):
        exact[name] = density(Sampling(), name)
    print(f"CrossMAE, {len(cross.decoder_blocks)} decoder blocks, {masked.shape[1]} masked positions")
    print(f"{'positions/samples':31}{'seconds':>8}{'ratio':>7}{'CPU s':>8}{'ratio':>7}  ranks l1, l2")
    for text in options.sampling:
        sampling = parse_sampling(text)
        seconds, busy, _ = lowest_times(lambda one=sampling: density(one, "l1"), options.repeats, images.device)
        ranks = [
            sum(rank_correlation(density(sampling, name), exact[name]) for _ in range(options.draws)) / options.draws
            for name in ("l1", "l2")
        ]
        print(
            f"{text:31}{seconds:8.3f}{loop[0] / seconds:7.2f}{busy:8.3f}{loop[1] / busy:7.2f}"
            f"  {ranks[0]:.3f}, {ranks[1]:.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for torch's default")
    parser.add_argument("--max-memory-mb", type=float, default=None)
    parser.add_argument("--mask-ratio", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cross-depth", type=int, default=12)
    parser.add_argument("--cross-weights", default=None, metavar="FILE")
    parser.add_argument("--data", default="shapes", help="images with --cross-weights: shapes, or a folder")
    parser.add_argument(
        "--sampling",
        nargs="+",
        default=["all", "49", "25", "12", "36/5", "36/4", "26/4", "26/3"],
        metavar="N[/SAMPLES]",
    )
    parser.add_argument("--draws", type=int, default=4, help="samples in the mean of the rank correlation")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.manual_seed(options.seed)
    mae, cross, images = build(options)
    keep = count_visible(options.mask_ratio, mae.patches)
    visible = random_visible(options.batch, mae.patches, keep).to(device)
    mae, cross, images = mae.to(device, dtype), cross.to(device, dtype), images.to(device, dtype)

    sizes = "MAE-B 224/16" if options.cross_weights is None else f"MAE as {Path(options.cross_weights).name}"
    print(
        f"{sizes}, batch {options.batch}, {keep} removals per image, {options.dtype}, {processor(device)}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )

    def ours() -> Tensor:
        return semantic_density(mae, images, visible, max_memory_mb=options.max_memory_mb)[1]

    variants: dict[str, Callable[[], Tensor]] = {
        "(a) the paper's loop": lambda: paper_loop(mae, images, visible, plain_attention),
        "(b) the same, fused attention": lambda: paper_loop(mae, images, visible, fused_attention),
        "(c) ltrp-bench": ours,
    }
    results = {}
    for name, run in variants.items():
        if device.type == "cuda" or options.repeats > 1:
            run()  # warm-up
        with PeakMemory(device) as memory:
            seconds, busy, scores = lowest_times(run, options.repeats, device)
        results[name] = seconds, busy, memory.peak, scores
    reference = results["(a) the paper's loop"]
    print(f"{'':31}{'seconds':>8}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'peak MB':>9}  largest difference, ranks")
    for name, (seconds, busy, peak, scores) in results.items():
        difference = (scores - reference[3]).abs().max().item()
        equal = torch.equal(scores.argsort(1), reference[3].argsort(1))
        print(
            f"{name:31}{seconds:8.2f}{reference[0] / seconds:7.2f}{busy:8.2f}{reference[1] / busy:7.2f}{peak:9.0f}"
            f"  {difference:.1e}, {'equal' if equal else 'differ'}"
        )
        if dtype == torch.float32:
            assert difference <= 1e-5 and equal, f"{name} does not agree with the paper's loop"
    if dtype != torch.float32:
        exact = semantic_density(mae.float(), images.float(), visible)[1]
        for name, (*_, scores) in results.items():
            together = torch.corrcoef(torch.stack([exact.flatten(), scores.flatten()]))[0, 1]
            print(f"{name:31}correlation with the float32 scores {together:.5f}")
    cross_table(cross, images, visible, options, (reference[0], reference[1]))


if __name__ == "__main__":
    main()
