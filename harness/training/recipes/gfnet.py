"""`ltrp-bench train gfnet`: glance and focus on the built-in world, in the paper's three stages.

Wang et al., "Glance and Focus", NeurIPS 2020, section 3.2. Stage 1: both encoders and the classifier, crops at random.
Stage 2: the policy alone, by PPO. Stage 3: encoders and classifier again, crops by the fixed policy.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.data.single_label import LabelledShapes, label_set, seen_accuracy, vit_or_mae
from ltrp_bench.harness.training.loop import (
    LossModel,
    TrainingOptions,
    last_checkpoint,
    same_training,
    train,
    trained_state,
)
from ltrp_bench.selectors.checkpoints import load_into, resolve, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.gfnet.encoders import Pool
from ltrp_bench.selectors.gfnet.losses import (
    PolicyOptions,
    Rollout,
    anywhere,
    look_loss,
    near,
    policy_loss,
    roll_out,
)
from ltrp_bench.selectors.gfnet.model import GFNet
from ltrp_bench.selectors.vit.backbones import Backbone
from ltrp_bench.selectors.vit.blocks import config_of
from ltrp_bench.selectors.vit.layers import resample_positions
from ltrp_bench.tasks.data.shapes import world as shapes

STAGES = ("looks", "policy", "finetune")


@dataclass(frozen=True)
class GFNetOptions:
    """How a GFNet is made and taught.

    Attributes:
        fold: of `shapes`, 0 or 1: which half of the categories is labelled.
        iterations: of the three stages.
        lr: peak learning rate of each (linear warm-up, cosine decay to zero).
        crop: side of a crop in pixels.
        glances: looks in all, the glance and the crops (T).
        hidden: width of the policy's and of the classifier's GRU.
        pool: what the classifier reads of a crop's tokens, "avg", "max" or "token".
        own: weight of the encoders' own classifiers in stages 1 and 3 (released: 1).
        policy: of stage 2.
    """

    fold: int = 0
    iterations: tuple[int, int, int] = (3000, 1500, 1000)
    lr: tuple[float, float, float] = (1e-3, 1e-3, 3e-4)
    crop: int = 48
    glances: int = 5
    hidden: int = 256
    pool: Pool = "avg"
    own: float = 1.0
    policy: PolicyOptions = field(default_factory=lambda: PolicyOptions(epochs=4))


class PolicyModel(LossModel):
    """Stage 2 as mmengine's Runner wants it: one set of looks an iteration, `epochs` updates on them."""

    def __init__(self, net: GFNet, options: PolicyOptions, seed: int) -> None:
        super().__init__(net, self._one_update, net.mean, net.std, seed)
        self._options = options
        self._seen: Rollout | None = None

    def train(self, mode: bool = True) -> PolicyModel:
        """Encoders and classifier are fixed in this stage: their normalisation must not follow the crops."""
        super().train(mode)
        for name, part in self.trained.named_children():
            if name != "policy":
                part.eval()
        return self

    def _one_update(self, module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        assert isinstance(module, GFNet)
        if self._seen is None:
            self._seen = roll_out(module, images, labels, self._options, generator)
        return policy_loss(module.policy, self._seen, self._options)

    def forward(self, images: Tensor, *more: Tensor, mode: str = "tensor") -> dict[str, Tensor]:
        """One update on new looks (all that is done on several processes)."""
        self._seen = None
        return super().forward(images, *more, mode=mode)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        """All updates on one batch's looks; logs the loss of the first and the mean reward of a crop."""
        said = super().train_step(data, optim_wrapper)
        assert isinstance(self.trained, GFNet) and self._seen is not None
        for _ in range(self._options.epochs - 1):
            with optim_wrapper.optim_context(self):
                loss = policy_loss(self.trained.policy, self._seen, self._options)
            optim_wrapper.update_params(loss)
        return {**said, "reward": self._seen.reward}


def train_gfnet(
    options: TrainingOptions,
    teaching: GFNetOptions,
    num_images: int = 40_000,
    init: str | Path = "mae.shapes",
    judged: int = 1000,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": constructor arguments, "training": how it was made}.

    Each stage has a folder under `options.out`; the same call goes on where a killed one was, in any of them.

    Args:
        options: of the loop; its `iterations` and `lr` are replaced by each stage's.
        teaching: how the net is made and taught.
        images: how many different images of `shapes`.
        init: what both encoders start from, a file or a shipped tag; see `load_start`.
        judged: images of the validation world for the accuracy in "training"; 0 measures none.
    """
    torch.manual_seed(options.seed)
    net = make_gfnet(load_start(init, teaching.fold), teaching)
    training: dict[str, Any] = {
        "what": "gfnet",
        "data": f"shapes, single-label/{teaching.fold}",
        "pictures": num_images,
        "revision": LabelledShapes(teaching.fold, 1, 1, 0).revision,
        "init_sha256": sha256_of(resolve(init)),
        **_recipe(teaching),
        **replace(options, iterations=sum(teaching.iterations), lr=teaching.lr[0]).recipe(),
        "lr": list(teaching.lr),
        "iterations": list(teaching.iterations),
    }
    for number, stage in enumerate(STAGES):
        _run_stage(
            net, number, replace(options, out=options.out / f"{number + 1}-{stage}"), teaching, num_images, training
        )
    if judged:
        device = next(net.eval().parameters()).device
        found = seen_accuracy(lambda x: net(x).logits, teaching.fold, judged, net.mean, net.std, device)
        training["accuracy"] = [round(float(a), 4) for a in found]
    return {"state": net.state_dict(), "config": net.config, "training": training}


@dataclass(frozen=True)
class Start:
    """The plain ViT that both encoders start from: its state dict under timm's keys, its sizes, its patch grid."""

    state: dict[str, Tensor]
    config: dict[str, Any]
    grid: tuple[int, int]


def load_start(init: str | Path, fold: int) -> Start:
    """A masked autoencoder's encoder, or a ViT that was taught this fold's labels (the paper starts from such).

    Raises:
        UsageError: the ViT was taught other labels than this fold's: it would know the unseen ones.
    """
    found = vit_or_mae(init, fold)
    if isinstance(found, Backbone):
        state = {key.replace("fc_norm.", "norm."): value for key, value in found.model.state_dict().items()}
        return Start(state, {**config_of(found.model), "mean": found.mean, "std": found.std}, found.grid)
    return Start(found.state_dict(), found.config, (int(found.grid[0]), int(found.grid[1])))


def make_gfnet(start: Start, teaching: GFNetOptions) -> GFNet:
    """A GFNet for `shapes` whose encoders start from a plain ViT's weights.

    The glance is the whole image, so its positions are the ViT's, interpolated; a crop is a part of the image at
    its own scale, so its positions are those of the grid's middle.
    """
    own, patch = start.config, int(start.config["patch_size"])
    if teaching.crop % patch or teaching.crop > shapes.SIZE:
        raise UsageError(f"crops of {teaching.crop} pixels cannot be cut into patches of {patch}")
    encoder = {"backbone": "vit", "pool": teaching.pool, "image_size": teaching.crop, "patch_size": patch}
    net = GFNet(
        {**encoder, **{key: own[key] for key in ("embed_dim", "depth", "heads", "stem") if key in own}},
        classes=sorted(shapes.seen_categories(teaching.fold), key=shapes.CATEGORIES.index),
        crop=teaching.crop,
        glances=teaching.glances,
        image_size=shapes.SIZE,
        policy_hidden=teaching.hidden,
        policy_convolution=True,
        fc_hidden=teaching.hidden,
        patch_size=shapes.PATCH,
        mean=tuple(own["mean"]),
        std=tuple(own["std"]),
        label_set=label_set(teaching.fold),
    )
    positions, side = start.state["pos_embed"], teaching.crop // patch
    top, left = ((n - side) // 2 for n in start.grid)
    grid = positions[:, 1:].unflatten(1, start.grid)[:, top : top + side, left : left + side].flatten(1, 2)
    shrunk = resample_positions(positions, start.grid, (side, side))
    for module, places in ((net.prime, shrunk), (net.local, torch.cat([positions[:, :1], grid], dim=1))):
        vit = module.get_submodule("net")
        state = {key: value for key, value in start.state.items() if key in vit.state_dict()}
        load_into(vit, {**state, "pos_embed": places}, "the encoders of this GFNet")
    return net


def _run_stage(
    net: GFNet, number: int, options: TrainingOptions, teaching: GFNetOptions, num_images: int, training: dict[str, Any]
) -> None:
    """Train one stage, or go on with it, and leave its weights in `net`; a stage that is done is only read."""
    # Other orders, flips and crops in each stage.
    seed = len(STAGES) * options.seed + number
    options = replace(options, iterations=teaching.iterations[number], lr=teaching.lr[number], seed=seed)
    config = {**training, "stage": number + 1, "model": net.config}
    last = last_checkpoint(options.out)
    if options.iterations and (last is None or last.stem != f"iter_{options.iterations}"):
        _teach(net, policy=number == 1)
        stream = LabelledShapes(teaching.fold, num_images, options.draws, seed)
        train(_stage_model(net, number, teaching, seed), stream, options, config)
    elif options.iterations and int(os.environ.get("RANK", "0")) == 0:
        same_training(options.out / "training.json", config)
    if options.iterations:
        load_into(net, trained_state(options.out), f"stage {number + 1} of GFNet in {options.out.name}")


def _stage_model(net: GFNet, number: int, teaching: GFNetOptions, seed: int) -> LossModel:
    if number == 1:
        return PolicyModel(net, teaching.policy, seed)

    def loss(module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        place = anywhere(len(images), generator) if number == 0 else near(teaching.policy.spread, generator)
        return look_loss(module(images, place=place), labels, teaching.own)

    return LossModel(net, loss, net.mean, net.std, seed)


def _teach(net: GFNet, policy: bool) -> None:
    """Let the policy learn alone, or all the rest without it."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith("policy.") == policy)


def _recipe(teaching: GFNetOptions) -> dict[str, Any]:
    """The options as a flat table for the card."""
    flat = asdict(teaching)
    policy = flat.pop("policy")
    return {**flat, **{f"policy_{key}": value for key, value in policy.items()}}
