"""`ltrp-bench train dino`: self-distillation without labels, started from a masked autoencoder's encoder.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021. Written from the paper. The
teacher, its center and the number of steps are saved in every checkpoint, so that a training resumes exactly.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.harness.training.data.multi_crop import views
from ltrp_bench.harness.training.data.unlabelled import image_record, open_stream
from ltrp_bench.harness.training.loop import LoopExtras, train
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.pretraining import CropOptions, DinoOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.training_folder import TrainedModel, trained_state
from ltrp_bench.selectors.checkpoints import load_into, resolve, sha256_of, strip_prefix
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.normalization import denormalize, normalize
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.embedding import with_offset
from ltrp_bench.selectors.vit.reading import ViTReader

CENTER_MOMENTUM = 0.9
STUDENT_TEMPERATURE = 0.1
CROPS = CropOptions()


class DinoHead(nn.Module):
    """Projection head: three linear layers, then cosines with the prototypes (paper, appendix C)."""

    def __init__(self, dim: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """[B, D] -> [B, prototypes] cosines; the gradient of `frozen` prototypes is zero rather than None."""
        last = self.prototypes.detach() + 0 * self.prototypes if frozen else self.prototypes
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(last, dim=-1))


class Branch(nn.Module):
    """A backbone with its projection head: the student, or the teacher."""

    def __init__(self, backbone: VisionTransformer, head: DinoHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor, frozen: bool = False) -> Tensor:
        """[B, 3, H, W] of any whole number of patches -> [B, prototypes], float32 even in mixed precision."""
        x = ViTReader(self.backbone, with_offset).features(images, normalized=True)
        return cast(Tensor, self.head(x[:, 0], frozen)).float()


class Dino(nn.Module):
    """Student, teacher and center.

    Args:
        backbone: initial backbone of both.
        options: options of the recipe.
        iterations: length of the whole training, over which the schedules run.

    Attributes:
        centre: [prototypes] moving mean of the teacher's outputs.
        step: steps done.
    """

    centre: Tensor
    step: Tensor

    def __init__(self, backbone: VisionTransformer, options: DinoOptions, iterations: int) -> None:
        super().__init__()
        head = DinoHead(int(backbone.embed_dim), options.hidden, options.bottleneck, options.prototypes)
        self.student = Branch(backbone, head).requires_grad_(True)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.options, self.iterations = options, iterations
        self.register_buffer("centre", torch.zeros(options.prototypes))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def loss(self, large: Tensor, small: Tensor) -> Tensor:
        """Loss of normalized views, see `views`; first the teacher is updated with the student of the last step."""
        step = int(self.step)
        if step:
            self._update_teacher(teacher_momentum(self.options.momentum, step, self.iterations))
        frozen = step < self.options.freeze_last * self.iterations
        with torch.no_grad():
            outputs = self.teacher(large)
            targets = ((outputs - self.centre) / self.options.teacher_temperature).softmax(dim=-1).chunk(2)
        predictions = [*self.student(large, frozen).chunk(2)]
        if len(small):
            predictions += self.student(small, frozen).chunk(2 * len(small) // len(large))
        loss = cross_entropy(targets, predictions)
        self._move_center(outputs)
        self.step += 1
        _log(targets)
        return loss

    @torch.no_grad()
    def _update_teacher(self, momentum: float) -> None:
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(theirs.detach(), 1 - momentum)

    @torch.no_grad()
    def _move_center(self, outputs: Tensor) -> None:
        mean = outputs.mean(0)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        self.centre.lerp_(mean, 1 - CENTER_MOMENTUM)


def teacher_momentum(start: float, step: int, iterations: int) -> float:
    """Momentum at a step: from `start` to 1 by half a cosine (paper, section 3.1)."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * min(1.0, step / iterations))) / 2


def cross_entropy(targets: tuple[Tensor, ...], predictions: list[Tensor]) -> Tensor:
    """Mean cross-entropy over all pairs of a teacher's view and a different view of the student (equation 3)."""
    logs = [(x / STUDENT_TEMPERATURE).log_softmax(dim=-1) for x in predictions]
    pairs = [-(p * q).sum(-1).mean() for i, p in enumerate(targets) for j, q in enumerate(logs) if i != j]
    return torch.stack(pairs).mean()


def _log(targets: tuple[Tensor, ...]) -> None:
    """Log the mean entropy of the teacher's targets, and the entropy of their mean.

    Either shows a collapse: the second near 0 (one prototype for all images), or both near log(prototypes) (uniform).
    """
    together = torch.cat(targets)
    hub = MessageHub.get_current_instance()
    hub.update_scalar("train/target_entropy", float(torch.special.entr(together).sum(-1).mean()))
    hub.update_scalar("train/mean_target_entropy", float(torch.special.entr(together.mean(0)).sum()))


def vit_of_mae(mae: MAE) -> tuple[VisionTransformer, dict[str, Any]]:
    """The encoder of a MAE as timm's ViT without a classifier, and its config for `build_vit`."""
    own = mae.config
    if not isinstance(own["image_size"], int):
        raise UsageError(f"DINO starts from a MAE of square images, not {own['image_size']}")
    kept = ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio", "layer_norm_eps", "mean", "std")
    config = {**{key: own[key] for key in kept}, "classes": 0}
    net = build_vit(config)
    state = mae.state_dict()
    load_into(net, {k: v for k, v in state.items() if k in net.state_dict()}, "the encoder of a MAE")
    return net, config


def train_dino(options: DinoOptions, training: TrainingOptions, crops: CropOptions = CROPS) -> TrainedModel:
    """Train DINO; the result is the teacher's backbone, and its config is for `build_vit`.

    Randomness depends on (seed, iteration, rank) alone. The teacher is updated once per iteration, even if gradients
    are accumulated.

    Args:
        options: options of the recipe.
        training: options of the loop.
        crops: views of an image.

    Raises:
        UsageError: options out of range. InputError: images or weights are missing.
    """
    torch.manual_seed(training.seed)
    mae = load_mae(options.mae)
    notes = tuple(f"--mae: {line}" for line in mae.notes)
    net, config = vit_of_mae(mae)
    local = _local_size(options, crops, config["image_size"], config["patch_size"])
    mean, std = tuple(config["mean"]), tuple(config["std"])

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        assert isinstance(module, Dino)
        large, small = views(denormalize(images, mean, std), local, crops, generator)
        return module.loss(normalize(large, mean, std), normalize(small, mean, std))

    stream = open_stream(options.data, config["image_size"], training.images_drawn, training.seed, options.num_images)
    record = {
        "what": "dino",
        **image_record(options.data, stream),
        "mae_sha256": sha256_of(resolve(options.mae)),
        # Lists, as JSON has no tuples: the card and the record in the folder must be equal.
        "crops": {
            **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(crops).items()},
            "local_size": local,
        },
        "momentum": options.momentum,
        "teacher_temperature": options.teacher_temperature,
        "hidden": options.hidden,
        "bottleneck": options.bottleneck,
        "prototypes": options.prototypes,
        "freeze_last": options.freeze_last,
        **training.recipe(),
    }
    model = LossModel(Dino(net, options, training.iterations), loss, mean, std, training.seed)
    train(model, stream, training, {**record, "model": config}, LoopExtras(assumptions=notes))
    state = strip_prefix(trained_state(training.out), "teacher.backbone.")
    return {"state": state, "config": config, "training": record}


def _local_size(options: DinoOptions, crops: CropOptions, size: int, patch: int) -> int:
    """Side of a local view in pixels; `UsageError` for options out of range."""
    local = crops.local_size or max(1, size // 2 // patch) * patch
    if crops.local_crops < 0 or local % patch or not 0 < local <= size:
        raise UsageError(f"local crops: 0 or more, of 1 to {size} pixels in whole patches of {patch}, not {crops}")
    for low, high in (crops.global_scale, crops.local_scale):
        if not 0 < low <= high <= 1:
            raise UsageError(f"the scale of a crop is a range in (0, 1], not ({low}, {high})")
    if not 0 <= options.momentum <= 1 or options.teacher_temperature <= 0:
        raise UsageError(
            f"the teacher's momentum must be in [0, 1] and its temperature above 0, "
            f"not {options.momentum} and {options.teacher_temperature}"
        )
    if min(options.hidden, options.bottleneck, options.prototypes) < 1 or not 0 <= options.freeze_last <= 1:
        raise UsageError("the head's widths must be at least 1, and freeze_last in [0, 1]")
    return local
