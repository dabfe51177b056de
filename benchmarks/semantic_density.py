"""Semantic density with MAE-B 224/16: the paper's loop, the same loop with fused attention, and ltrp-bench.

    python benchmarks/semantic_density.py [--batch 2] [--device cpu] [--dtype float32] [--repeats 2] [--threads 2]

All three run in one process on the same random weights and images. Their scores must agree to 1e-5 and rank equally. In
bfloat16, where all three differ by rounding, their correlation with the float32 scores is printed instead. On a busy
machine compare the processor times of one thread (--threads 1).
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

from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.semantic_density import semantic_density


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
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.manual_seed(options.seed)
    mae = MAE(MAEConfig()).eval().requires_grad_(False)
    for parameter in mae.parameters():  # attention away from uniform, so that removals matter
        parameter.mul_(1.5)
    images = torch.nn.functional.interpolate(torch.randn(options.batch, 3, 28, 28), size=(224, 224))
    keep = count_visible(options.mask_ratio, mae.patches)
    visible = random_visible(options.batch, mae.patches, keep).to(device)
    mae, images = mae.to(device, dtype), images.to(device, dtype)

    print(
        f"MAE-B 224/16, batch {options.batch}, {keep} removals per image, {options.dtype}, {processor(device)}, "
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


if __name__ == "__main__":
    main()
