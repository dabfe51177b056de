"""`ltrp-bench train gfnet`: GFNet on `shapes`, in the paper's three stages.

Wang et al., "Glance and Focus", NeurIPS 2020, section 3.2. Stage 1: both encoders and the classifier, with random
crops. Stage 2: the policy alone, by PPO. Stage 3: encoders and classifier again, with crops of the fixed policy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.data.single_label import LabelledShapes, label_set, seen_accuracy, vit_or_mae
from ltrp_bench.harness.training.loop import train
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.selectors import GFNetOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.training_folder import (
    TrainedModel,
    check_same_training,
    last_checkpoint,
    trained_state,
)
from ltrp_bench.selectors.checkpoints import load_into, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.gfnet.losses import (
    PolicyOptions,
    Rollout,
    gaussian_actions,
    glimpse_loss,
    policy_loss,
    roll_out,
    uniform_actions,
)
from ltrp_bench.selectors.gfnet.model import GFNet, GFNetConfig
from ltrp_bench.selectors.vit.backbones import Backbone
from ltrp_bench.selectors.vit.blocks import config_of
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.selectors.vit.layers import resample_positions
from ltrp_bench.tasks.data.shapes import world as shapes

STAGES = ("looks", "policy", "finetune")
"""Names of the stages' folders."""
POLICY = PolicyOptions(epochs=4)


class PolicyModel(LossModel):
    """Model of stage 2: one rollout of the policy per iteration, and `epochs` updates on it."""

    def __init__(self, net: GFNet, options: PolicyOptions, seed: int) -> None:
        super().__init__(net, self._one_update, net.mean, net.std, seed)
        self._options = options
        self._rollout: Rollout | None = None

    def train(self, mode: bool = True) -> PolicyModel:
        """Keep encoders and classifier in evaluation mode: their batch statistics must not follow the crops."""
        super().train(mode)
        for name, part in self.trained.named_children():
            if name != "policy":
                part.eval()
        return self

    def _one_update(self, module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        assert isinstance(module, GFNet)
        if self._rollout is None:
            self._rollout = roll_out(module, images, labels, self._options, generator)
        return policy_loss(module.policy, self._rollout, self._options)

    def forward(self, images: Tensor, *others: Tensor, mode: str = "tensor") -> dict[str, Tensor]:
        """Loss on a new rollout (the only update if several processes train)."""
        self._rollout = None
        return super().forward(images, *others, mode=mode)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """All updates on one rollout; logs the loss of the first and the mean reward of a crop."""
        losses = super().train_step(data, optim_wrapper)
        assert isinstance(self.trained, GFNet) and self._rollout is not None
        for _ in range(self._options.epochs - 1):
            with optim_wrapper.optim_context(self):
                loss = policy_loss(self.trained.policy, self._rollout, self._options)
            optim_wrapper.update_params(loss)
        return {**losses, "reward": self._rollout.reward}


def train_gfnet(
    options: GFNetOptions, training: TrainingOptions, policy: PolicyOptions = POLICY, *, eval_images: int = 1000
) -> TrainedModel:
    """Train a GFNet; its config is for `GFNet`.

    Each stage has a folder under `training.out`; the same call resumes in the stage that was interrupted.

    Args:
        options: options of the recipe.
        training: options of the loop; its `iterations` and `lr` are replaced by each stage's.
        policy: options of stage 2.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options or weights do not fit.
    """
    torch.manual_seed(training.seed)
    net = make_gfnet(load_initial_vit(options.init, options.fold), options)
    record: dict[str, Any] = {
        "what": "gfnet",
        "data": f"shapes, single-label/{options.fold}",
        "pictures": options.num_images,
        "revision": LabelledShapes(options.fold, 1, 1, 0).revision,
        "init_sha256": sha256_of(located(options.init)),
        "fold": options.fold,
        "crop": options.crop,
        "glances": options.glances,
        "hidden": options.hidden,
        "pool": options.pool,
        "own": options.encoder_loss,
        **{f"policy_{key}": value for key, value in asdict(policy).items()},
        **training.recipe(),
        "warmup": replace(training, iterations=sum(options.stage_iterations)).recipe()["warmup"],
        "lr": list(options.stage_lr),
        "iterations": list(options.stage_iterations),
    }
    for number, stage in enumerate(STAGES):
        out = training.out / f"{number + 1}-{stage}"
        _run_stage(net, number, replace(training, out=out), options, policy, record)
    if eval_images:
        device = next(net.eval().parameters()).device
        found = seen_accuracy(
            lambda x: net(x).logits, options.fold, eval_images, mean=net.mean, std=net.std, device=device
        )
        record["accuracy"] = [round(float(a), 4) for a in found]
    return {"state": net.state_dict(), "config": net.config, "training": record}


@dataclass(frozen=True)
class InitialViT:
    """The plain ViT that both encoders start from.

    Attributes:
        state: state dict under timm's keys.
        config: sizes and normalization.
        grid: (gh, gw) of its patches.
    """

    state: dict[str, Tensor]
    config: dict[str, Any]
    grid: tuple[int, int]


def load_initial_vit(init: str | Path, fold: int) -> InitialViT:
    """A masked autoencoder's encoder, or a ViT trained on this fold's labels (as in the paper).

    Raises:
        UsageError: the ViT was trained on other labels, which might include the unseen ones.
    """
    found = vit_or_mae(init, fold)
    if isinstance(found, Backbone):
        state = {key.replace("fc_norm.", "norm."): value for key, value in found.model.state_dict().items()}
        return InitialViT(state, {**config_of(found.model), "mean": found.mean, "std": found.std}, found.grid)
    return InitialViT(found.state_dict(), found.config, (int(found.grid[0]), int(found.grid[1])))


def make_gfnet(start: InitialViT, options: GFNetOptions) -> GFNet:
    """A GFNet for `shapes`; its encoders start from a plain ViT's weights.

    The glance shows the whole image, so its position embeddings are the ViT's, interpolated; a crop is a part of the
    image at its own scale, so its position embeddings are those of the middle of the ViT's grid.
    """
    own, patch = start.config, int(start.config["patch_size"])
    if options.crop % patch or options.crop > shapes.SIZE:
        raise UsageError(f"crops of {options.crop} pixels cannot be cut into patches of {patch}")
    encoder = {"backbone": "vit", "pool": options.pool, "image_size": options.crop, "patch_size": patch}
    config = GFNetConfig(
        encoder={**encoder, **{key: own[key] for key in ("embed_dim", "depth", "heads", "stem") if key in own}},
        classes=sorted(shapes.seen_categories(options.fold), key=shapes.CATEGORIES.index),
        crop=options.crop,
        glances=options.glances,
        image_size=shapes.SIZE,
        policy_hidden=options.hidden,
        policy_convolution=True,
        fc_hidden=options.hidden,
        patch_size=shapes.PATCH,
        mean=tuple(own["mean"]),
        std=tuple(own["std"]),
        label_set=label_set(options.fold),
    )
    net = GFNet(config)
    positions, side = start.state["pos_embed"], options.crop // patch
    top, left = ((n - side) // 2 for n in start.grid)
    grid = positions[:, 1:].unflatten(1, start.grid)[:, top : top + side, left : left + side].flatten(1, 2)
    shrunk = resample_positions(positions, start.grid, (side, side))
    for module, places in ((net.prime, shrunk), (net.local, torch.cat([positions[:, :1], grid], dim=1))):
        vit = module.get_submodule("net")
        state = {key: value for key, value in start.state.items() if key in vit.state_dict()}
        load_into(vit, {**state, "pos_embed": places}, "the encoders of this GFNet")
    return net


def _run_stage(
    net: GFNet,
    number: int,
    training: TrainingOptions,
    options: GFNetOptions,
    policy: PolicyOptions,
    record: Mapping[str, Any],
) -> None:
    """Train one stage, or resume it, and leave its weights in `net`; a finished stage is only read."""
    iterations = options.stage_iterations[number]
    if not iterations:
        return
    # Each stage has another seed for order, flips and crops.
    seed = len(STAGES) * training.seed + number
    training = replace(training, iterations=iterations, lr=options.stage_lr[number], seed=seed)
    config = {**record, "stage": number + 1, "model": net.config}
    last = last_checkpoint(training.out)
    if last is None or last.stem != f"iter_{iterations}":
        _select_parameters(net, policy=number == 1)
        stream = LabelledShapes(options.fold, options.num_images, training.images_drawn, seed)
        train(_stage_model(net, number, options, policy, seed), stream, training, config)
    elif int(os.environ.get("RANK", "0")) == 0:
        check_same_training(training.out / "training.json", config)
    load_into(net, trained_state(training.out), f"stage {number + 1} of GFNet in {training.out.name}")


def _stage_model(net: GFNet, number: int, options: GFNetOptions, policy: PolicyOptions, seed: int) -> LossModel:
    if number == 1:
        return PolicyModel(net, policy, seed)

    def loss(module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        place = uniform_actions(len(images), generator) if number == 0 else gaussian_actions(policy.spread, generator)
        return glimpse_loss(module(images, place=place), labels, options.encoder_loss)

    return LossModel(net, loss, net.mean, net.std, seed)


def _select_parameters(net: GFNet, *, policy: bool) -> None:
    """Train the policy alone, or everything else."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith("policy.") == policy)
