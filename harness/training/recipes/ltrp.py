"""`ltrp-bench train ltrp`: LTRP's ranker, trained without labels on the semantic density of a frozen autoencoder.

Luo et al., "Learning to Rank Patches for Unbiased Image Redundancy Reduction", CVPR 2024.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.data.unlabelled import image_record, open_stream
from ltrp_bench.harness.training.loop import LoopExtras, train
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.pretraining import LtrpOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.training_folder import TrainedModel, trained_state
from ltrp_bench.selectors.checkpoints import resolve, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_autoencoder
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.objective import RankingObjective
from ltrp_bench.selectors.ltrp.positions import Positions, Sampling
from ltrp_bench.selectors.ltrp.ranker import Ranker, at_image_size, load_ranker

SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "depth": 12, "heads": 3},
    "s": {"embed_dim": 384, "depth": 12, "heads": 6},
    "b": {"embed_dim": 768, "depth": 12, "heads": 12},
}


def train_ltrp(options: LtrpOptions, training: TrainingOptions) -> TrainedModel:
    """Train a ranker; its config is for `Ranker`.

    Raises:
        UsageError, InputError: options, images or weights do not fit.
    """
    torch.manual_seed(training.seed)
    teacher = load_autoencoder(options.mae).eval().requires_grad_(False)
    size = (teacher.image_size[0] * options.tiles, teacher.image_size[1] * options.tiles)
    ranker = (
        make_ranker(teacher, options.ranker, size)
        if options.init is None
        else at_image_size(load_ranker(options.init), size).train().requires_grad_(True)
    )
    # The teacher moves to the device with the student but is neither trained nor saved.
    objective = RankingObjective(
        teacher,
        ranker,
        loss=options.loss,
        distance=options.distance,
        mask_ratio=options.mask_ratio,
        hide=options.hide,
        sublist=options.sublist or None,
        asymmetric=options.asymmetric,
        sampling=Sampling(positions=parse_positions(options.positions), samples=options.samples),
    )

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        teacher.to(images.device)
        return objective(images, generator)

    stream = open_stream(
        options.data,
        size[0],
        training.images_drawn,
        training.seed,
        options.num_images,
        options.crop_scale,
    )
    record: dict[str, Any] = {
        "what": "ltrp",
        **image_record(options.data, stream),
        "mae_sha256": sha256_of(resolve(options.mae)),
        "size": options.ranker if options.init is None else "init",
        "loss": options.loss,
        "distance": options.distance,
        "hide": options.hide,
        "mask_ratio": options.mask_ratio,
        "asymmetric": options.asymmetric,
        "sublist": options.sublist,
        **training.recipe(),
    }
    if options.tiles != 1:
        record["tiles"] = options.tiles
    if options.init is not None:
        record["init_sha256"] = sha256_of(resolve(options.init))
    if isinstance(teacher, CrossMAE):
        record |= {"positions": options.positions, "samples": options.samples}
    model = LossModel(ranker, loss, teacher.mean, teacher.std, training.seed)
    notes = (*(f"--mae: {line}" for line in teacher.notes), *(f"--init: {line}" for line in ranker.notes))
    train(model, stream, training, {**record, "model": ranker.config}, LoopExtras(assumptions=notes))
    return {"state": trained_state(training.out), "config": ranker.config, "training": record}


def parse_positions(text: str) -> Positions:
    """The value of `--positions`: "all", a whole number, or a number with a decimal point for a share."""
    try:
        return "all" if text == "all" else float(text) if "." in text else int(text)
    except ValueError:
        raise UsageError(f"--positions {text}: write all, a whole number, or a share such as 0.1") from None


def make_ranker(teacher: MAE | CrossMAE, size: str, image_size: tuple[int, int]) -> Ranker:
    """An untrained ranker for images of `image_size`, cut into the teacher's patches.

    For size "mae" it is a copy of the teacher's encoder, with position embeddings interpolated to that size.
    """
    own: dict[str, Any] = teacher.config
    common: dict[str, Any] = {
        "patch_size": own["patch_size"],
        "mean": own["mean"],
        "std": own["std"],
    }
    if size in SIZES:
        return Ranker(image_size=image_size, **common, **SIZES[size])
    ranker = Ranker(
        image_size=teacher.image_size, **common, embed_dim=own["embed_dim"], depth=own["depth"], heads=own["heads"]
    )
    mine = ranker.state_dict()
    ranker.load_state_dict({**mine, **{k: v for k, v in teacher.state_dict().items() if k in mine}})
    return at_image_size(ranker, image_size)
