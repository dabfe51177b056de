"""`ltrp-bench train ltrp`: teach a ranker, without labels, from the semantic density of a frozen MAE."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.loop import LossModel, TrainingOptions, train, trained_state
from ltrp_bench.harness.training.recipes.mae import open_stream
from ltrp_bench.selectors.checkpoints import resolve as resolve_weights
from ltrp_bench.selectors.checkpoints import sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.distances import Distance
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.ltrp.objective import RankingObjective
from ltrp_bench.selectors.ltrp.ranker import Ranker
from ltrp_bench.selectors.ltrp.ranking_losses import Loss
from ltrp_bench.selectors.ltrp.semantic_density import Hide

SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "depth": 12, "heads": 3},
    "s": {"embed_dim": 384, "depth": 12, "heads": 6},
    "b": {"embed_dim": 768, "depth": 12, "heads": 12},
}


@dataclass(frozen=True)
class RankingOptions:
    """How the ranker is taught.

    Attributes:
        size: "ti", "s", "b", or "mae": as the MAE's encoder, and started from its weights.
        loss: "list_mle", "list_net", "rank_net", "focused_rank" or "pointwise".
        distance: of reconstructions, "l1" (the paper's), "l2", "ssim", "psnr", "lpips".
        hide: "decoder" (the paper's default) or "encoder_decoder".
        mask_ratio: share of patches the MAE does not see.
        asymmetric: the ranker sees the visible patches only (the paper's), not the whole image.
        sublist: patches a random sub-list for ListMLE; 0 takes the whole list.
    """

    size: str = "s"
    loss: Loss = "list_mle"
    distance: Distance = "l1"
    hide: Hide = "decoder"
    mask_ratio: float = 0.9
    asymmetric: bool = True
    sublist: int = 20


def train_ltrp(
    data: str, mae: str | Path, options: TrainingOptions, ranking: RankingOptions, num_images: int = 40_000
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": constructor arguments, "training": how it was made}.

    Args:
        data: "shapes" or a folder of images.
        mae: file or shipped tag of the frozen MAE.
        options: of the loop.
        ranking: how the ranker is taught.
        images: how many different images of `shapes`.
    """
    torch.manual_seed(options.seed)
    teacher = load_mae(mae).eval().requires_grad_(False)
    ranker = make_ranker(teacher, ranking.size)
    # The teacher moves to the device with the student but is neither trained nor saved.
    objective = RankingObjective(
        teacher,
        ranker,
        loss=ranking.loss,
        distance=ranking.distance,
        mask_ratio=ranking.mask_ratio,
        hide=ranking.hide,
        sublist=ranking.sublist or None,
        asymmetric=ranking.asymmetric,
    )

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        teacher.to(images.device)
        return objective(images, generator)

    stream = open_stream(data, teacher.image_size[0], options.draws, options.seed, num_images)
    training = {
        "what": "ltrp",
        "data": "shapes" if data == "shapes" else "images",
        "pictures": min(stream.num_images, options.draws),
        "revision": stream.revision,
        "mae_sha256": sha256_of(resolve_weights(mae)),
        **asdict(ranking),
        **options.recipe(),
    }
    model = LossModel(ranker, loss, teacher.mean, teacher.std, options.seed)
    train(model, stream, options, {**training, "model": ranker.config})
    return {"state": trained_state(options.out), "config": ranker.config, "training": training}


def make_ranker(teacher: Any, size: str) -> Ranker:
    """A ranker on the teacher's patches; size "mae" copies the encoder's shape and weights."""
    own = teacher.config
    common: dict[str, Any] = {
        "image_size": own["image_size"],
        "patch_size": own["patch_size"],
        "mean": own["mean"],
        "std": own["std"],
    }
    if size in SIZES:
        return Ranker(**common, **SIZES[size])
    if size != "mae":
        raise UsageError(f"no ranker size {size!r}; there are {', '.join(SIZES)} and mae")
    ranker = Ranker(**common, embed_dim=own["embed_dim"], depth=own["depth"], heads=own["heads"])
    mine = ranker.state_dict()
    ranker.load_state_dict({**mine, **{k: v for k, v in teacher.state_dict().items() if k in mine}})
    return ranker
