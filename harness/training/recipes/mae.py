"""`ltrp-bench train mae`: a masked autoencoder, on `shapes` or any folder of images.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022; with `--decoder cross`, Fu et al., "Rethinking
Patch Dependence for Masked Autoencoders", 2024.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.data.unlabelled import image_record, open_stream
from ltrp_bench.harness.training.loop import LoopExtras, train
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.pretraining import MaeOptions
from ltrp_bench.harness.training.options.training import SHAPES, TrainingOptions
from ltrp_bench.harness.training.training_folder import TrainedModel, trained_state
from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.checkpoints import Weights, load_into, read_weights, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_checkpoints import is_cross_mae
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE, CrossMAEConfig, count_predicted
from ltrp_bench.selectors.ltrp.mae import MAE, MAEConfig, count_visible
from ltrp_bench.selectors.ltrp.mae_checkpoints import SHARED_KEYS, autoencoder_of
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.tasks.data.shapes.world import MEAN, STD

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {
        "embed_dim": 128,
        "depth": 4,
        "heads": 4,
        "decoder_dim": 64,
        "decoder_depth": 3,
        "decoder_heads": 4,
    },
    "small": {
        "embed_dim": 384,
        "depth": 12,
        "heads": 6,
        "decoder_dim": 256,
        "decoder_depth": 4,
        "decoder_heads": 8,
    },
    "base": {
        "embed_dim": 768,
        "depth": 12,
        "heads": 12,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
    "large": {
        "embed_dim": 1024,
        "depth": 24,
        "heads": 16,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
    "huge": {
        "embed_dim": 1280,
        "depth": 32,
        "heads": 16,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
}

CROSS_DEPTH = 12
"""Decoder blocks of all published sizes of CrossMAE; the preset `tiny` keeps its own number."""
ENCODER = ("cls_token", "pos_embed", "patch_embed.", "blocks.")
"""What the keys of an encoder begin with; MAE and CrossMAE have the same encoder but for a norm at its end."""
PREDICT_RATIO = 0.25
"""Share of an image's patches that CrossMAE predicts in training (Fu et al., section 4)."""


def train_mae(options: MaeOptions, training: TrainingOptions) -> TrainedModel:
    """Train a masked autoencoder; its config is for `MAE` or `CrossMAE`.

    Raises:
        UsageError, InputError: options, images or weights do not fit.
    """
    torch.manual_seed(training.seed)
    model = build_mae(options)
    if options.init is not None:
        start_from(model, autoencoder_of(read_weights(located(options.init))), options.preset)

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        assert isinstance(module, (MAE, CrossMAE))
        return module.training_loss(images, options.mask_ratio, generator)

    stream = open_stream(
        options.data, options.size, training.images_drawn, training.seed, options.num_images, options.crop_scale
    )
    record: dict[str, Any] = {
        "what": "mae",
        **image_record(options.data, stream),
        "mask_ratio": options.mask_ratio,
        "init_sha256": None if options.init is None else sha256_of(located(options.init)),
        **training.recipe(),
    }
    if isinstance(model, CrossMAE):
        record |= {"decoder": "cross", "predict_ratio": model.predict_ratio}
    train(
        LossModel(model, loss, model.mean, model.std, training.seed),
        stream,
        training,
        {**record, "model": model.config},
        LoopExtras(assumptions=tuple(f"--init: {line}" for line in model.notes)),
    )
    return {"state": trained_state(training.out), "config": model.config, "training": record}


def start_from(model: MAE | CrossMAE, initial: Weights, preset: str) -> None:
    """Load initial weights: all of them, or the encoder's alone if the file's decoder is of the other kind.

    Raises:
        InputError: the weights are of another model or size.
    """
    state, notes = dict(initial.state), initial.notes
    own = model.state_dict()
    if is_cross_mae(state) != isinstance(model, CrossMAE) and all(name in state for name in SHARED_KEYS):
        state = {key: value for key, value in state.items() if key.startswith(ENCODER)}
        state = {**{key: value for key, value in own.items() if not key.startswith(ENCODER)}, **state}
        notes = (*notes, "the decoder is of the other kind: only the encoder is taken")
    load_into(model, state, f"the MAE preset {preset!r}")
    model.notes = notes


def build_mae(options: MaeOptions) -> MAE | CrossMAE:
    """The untrained model; `UsageError` for options that do not fit together."""
    mean, std = (MEAN, STD) if options.data == SHAPES else (IMAGENET_MEAN, IMAGENET_STD)
    sizes = dict(PRESETS[options.preset])
    if options.decoder == "cross" and options.preset != "tiny":
        sizes["decoder_depth"] = CROSS_DEPTH
    if options.decoder_depth is not None:
        sizes["decoder_depth"] = options.decoder_depth
    common: dict[str, Any] = {
        "image_size": options.size,
        "patch_size": options.patch,
        "norm_pix_loss": options.norm_pix,
        "mean": mean,
        "std": std,
        **sizes,
    }
    if options.decoder == "self":
        if options.predict_ratio is not None:
            raise UsageError("--predict-ratio is for --decoder cross; MAE's decoder predicts all masked patches")
        return MAE(MAEConfig(**common))
    ratio = PREDICT_RATIO if options.predict_ratio is None else options.predict_ratio
    model = CrossMAE(CrossMAEConfig(**common, predict_ratio=ratio))
    masked = model.patches - count_visible(options.mask_ratio, model.patches)
    if count_predicted(ratio, model.patches) > masked:
        raise UsageError(
            f"--predict-ratio {ratio} of {model.patches} patches is more than the {masked} masked by --mask-ratio "
            f"{options.mask_ratio}: lower it"
        )
    return model
