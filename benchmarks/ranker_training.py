"""Training steps of LTRP's ranker with three teachers: the paper's loop over MAE, ours over MAE, and CrossMAE.

    python benchmarks/ranker_training.py [--batch 4] [--device cpu] [--repeats 2] [--threads 1] [--ranker s]

A step is: pseudo scores from the teacher, the ranker's forward and backward pass on the visible patches, and AdamW. All
models have the sizes of MAE-B 224/16, random weights, and 19 visible patches; CrossMAE has the published 12 decoder
blocks and compares the predictions at --sampling POSITIONS[/SAMPLES]. The ranker without a teacher is the floor.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from semantic_density import paper_loop, parse_sampling, plain_attention
from timing import lowest_times, processor
from torch import Tensor

from ltrp_bench.harness.training.recipes.ltrp import make_ranker
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, random_visible
from ltrp_bench.selectors.ltrp.objective import RankingObjective
from ltrp_bench.selectors.ltrp.ranking_losses import ranking_loss

SUBLIST = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for torch's default")
    parser.add_argument("--ranker", default="s", choices=["ti", "s", "b"])
    parser.add_argument("--sampling", nargs="+", default=["all", "25", "26/4"], metavar="N[/SAMPLES]")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    torch.manual_seed(0)
    mae = MAE(MAEConfig()).to(device).eval().requires_grad_(False)
    cross = CrossMAE(CrossMAEConfig()).to(device).eval().requires_grad_(False)
    ranker = make_ranker(mae, options.ranker, mae.image_size).to(device)
    optimizer = torch.optim.AdamW(ranker.parameters())
    images = torch.randn(options.batch, 3, 224, 224, device=device)

    def step(loss: Callable[[], Tensor]) -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    def by_the_loop() -> Tensor:
        visible = random_visible(options.batch, mae.patches, 19, device=device)
        true = paper_loop(mae, images, visible, plain_attention)
        return ranking_loss("list_mle", ranker(images, visible), true, SUBLIST)

    def alone() -> Tensor:
        visible = random_visible(options.batch, mae.patches, 19, device=device)
        return ranking_loss("list_mle", ranker(images, visible), torch.rand_like(visible.float()), SUBLIST)

    variants: dict[str, Callable[[], Tensor]] = {"MAE, the paper's loop": by_the_loop}
    exact = RankingObjective(mae, ranker, sublist=SUBLIST)
    variants["MAE, ltrp-bench"] = lambda: exact(images)
    for text in options.sampling:
        objective = RankingObjective(cross, ranker, sublist=SUBLIST, sampling=parse_sampling(text))
        variants[f"CrossMAE, {text}"] = lambda one=objective: one(images)
    variants["no teacher"] = alone

    print(
        f"ranker {options.ranker!r}, teachers of the size of MAE-B 224/16, batch {options.batch}, float32, "
        f"{processor(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'teacher, positions/samples':28}{'images/s':>9}{'ratio':>7}{'by CPU s':>10}{'ratio':>7}")
    first: tuple[float, float] | None = None
    for name, loss in variants.items():
        wall, busy, _ = lowest_times(lambda one=loss: step(one), options.repeats, device)
        first = first or (wall, busy)
        print(
            f"{name:28}{options.batch / wall:9.2f}{first[0] / wall:7.2f}{options.batch / busy:10.2f}"
            f"{first[1] / busy:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
