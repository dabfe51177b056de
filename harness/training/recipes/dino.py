"""`ltrp-bench train dino`: self-distillation without labels, started from a masked autoencoder's encoder.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021. Written from the paper. Teacher,
centre and the number of steps done are part of what is saved, so a killed training goes on exactly.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.harness.training.data.multi_crop import CropOptions, views
from ltrp_bench.harness.training.loop import LossModel, TrainingOptions, train, trained_state
from ltrp_bench.harness.training.recipes.mae import open_stream
from ltrp_bench.selectors.checkpoints import load_into, resolve, sha256_of, strip_prefix
from ltrp_bench.selectors.class_attention import tokens_of_any_size
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.vit.backbones import build_vit

CENTRE_MOMENTUM = 0.9
STUDENT_TEMPERATURE = 0.1


@dataclass(frozen=True)
class DinoOptions:
    """How the student is taught.

    Attributes:
        crops: the views of an image.
        momentum: of the teacher's moving average at the start; it rises to 1 by a cosine.
        teacher_temperature: of the teacher's softmax (sharpening); the student's is 0.1.
        hidden, bottleneck, prototypes: widths of the projection head.
        freeze_last: share of the iterations in which the last layer of the head stays as it is.
    """

    crops: CropOptions = field(default_factory=CropOptions)
    momentum: float = 0.99
    teacher_temperature: float = 0.04
    hidden: int = 512
    bottleneck: int = 64
    prototypes: int = 1024
    freeze_last: float = 0.02


class DinoHead(nn.Module):
    """Three linear layers, unit length, and cosines with unit-length prototypes (paper, appendix C)."""

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
        """[B, D] -> [B, prototypes] cosines; `frozen`: prototypes get a gradient of zero, not none at all."""
        last = self.prototypes.detach() + 0 * self.prototypes if frozen else self.prototypes
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(last, dim=-1))


class Branch(nn.Module):
    """A backbone with its head: the student, or the teacher."""

    def __init__(self, backbone: VisionTransformer, head: DinoHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor, frozen: bool = False) -> Tensor:
        """[B, 3, H, W] of any whole number of patches -> [B, prototypes], float32 in mixed precision too."""
        x = tokens_of_any_size(self.backbone, images)
        x = self.backbone.norm(self.backbone.blocks(x))
        return cast(Tensor, self.head(x[:, 0], frozen)).float()


class Dino(nn.Module):
    """Student and teacher, the teacher's centre, and how far the training is.

    Args:
        backbone: both start from it.
        options: how to teach.
        iterations: of the whole training; the schedules run over them.
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
        """Views as `views` makes them, normalised -> scalar; the teacher follows the student of the step before."""
        step = int(self.step)
        if step:
            self._follow(teacher_momentum(self.options.momentum, step, self.iterations))
        frozen = step < self.options.freeze_last * self.iterations
        with torch.no_grad():
            said = self.teacher(large)
            targets = ((said - self.centre) / self.options.teacher_temperature).softmax(dim=-1).chunk(2)
        learnt = [*self.student(large, frozen).chunk(2)]
        if len(small):
            learnt += self.student(small, frozen).chunk(2 * len(small) // len(large))
        loss = cross_entropy(targets, learnt)
        self._move_centre(said)
        self.step += 1
        _log(targets)
        return loss

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        for mine, its in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(its.detach(), 1 - momentum)

    @torch.no_grad()
    def _move_centre(self, said: Tensor) -> None:
        mean = said.mean(0)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        self.centre.lerp_(mean, 1 - CENTRE_MOMENTUM)


def teacher_momentum(start: float, step: int, iterations: int) -> float:
    """From `start` to 1 by half a cosine (paper, section 3.1)."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * min(1.0, step / iterations))) / 2


def cross_entropy(targets: tuple[Tensor, ...], learnt: list[Tensor]) -> Tensor:
    """Mean cross-entropy of every pair of a teacher's view and another of the student's (equation 3)."""
    logs = [(x / STUDENT_TEMPERATURE).log_softmax(dim=-1) for x in learnt]
    pairs = [-(p * q).sum(-1).mean() for i, p in enumerate(targets) for j, q in enumerate(logs) if i != j]
    return torch.stack(pairs).mean()


def _log(targets: tuple[Tensor, ...]) -> None:
    """Entropy of the teacher's targets, one by one and of their mean.

    The mean's near 0 (one prototype for all), or both near log(prototypes) (all alike), is a collapse.
    """
    said = torch.cat(targets)
    hub = MessageHub.get_current_instance()
    hub.update_scalar("train/target_entropy", float(torch.special.entr(said).sum(-1).mean()))
    hub.update_scalar("train/mean_target_entropy", float(torch.special.entr(said.mean(0)).sum()))


def vit_of_mae(mae: MAE) -> tuple[VisionTransformer, dict[str, Any]]:
    """A MAE's encoder as timm's ViT without a classifier, and its configuration for `build_vit`."""
    own = mae.config
    if not isinstance(own["image_size"], int):
        raise UsageError(f"DINO starts from a MAE of square images, not {own['image_size']}")
    kept = ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio", "layer_norm_eps", "mean", "std")
    config = {**{key: own[key] for key in kept}, "classes": 0}
    net = build_vit(config)
    state = mae.state_dict()
    load_into(net, {k: v for k, v in state.items() if k in net.state_dict()}, "the encoder of a MAE")
    return net, config


def train_dino(
    data: str,
    options: TrainingOptions,
    dino: DinoOptions | None = None,
    mae: str | Path = "mae.shapes",
    num_images: int = 40_000,
) -> dict[str, Any]:
    """Train, and return {"state": the teacher's backbone, "config": for `build_vit`, "training": how it was made}.

    Randomness depends on (seed, iteration, rank) alone. A teacher follows once an iteration, also where gradients are
    accumulated.

    Args:
        data: "shapes" or a folder of images.
        options: of the loop.
        dino: how the student is taught.
        mae: file or shipped tag of the masked autoencoder whose encoder both branches start from.
        images: how many different images of `shapes`.

    Raises:
        UsageError: options out of range. InputError: no such images or weights.
    """
    dino = dino or DinoOptions()
    torch.manual_seed(options.seed)
    net, config = vit_of_mae(load_mae(mae))
    local = _local_size(dino, config["image_size"], config["patch_size"])
    model = Dino(net, dino, options.iterations)
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        assert isinstance(module, Dino)
        m, s = mean.to(images), std.to(images)
        large, small = ((x - m) / s for x in views(images * s + m, local, dino.crops, generator))
        return module.loss(large, small)

    stream = open_stream(data, config["image_size"], options.draws, options.seed, num_images)
    training = {
        "what": "dino",
        "data": "shapes" if data == "shapes" else "images",
        "pictures": min(stream.num_images, options.draws),
        "revision": stream.revision,
        "mae_sha256": sha256_of(resolve(mae)),
        **asdict(dino),
        **options.recipe(),
    }
    # As JSON keeps it: the card and the folder's own note must say the same.
    training["crops"] = {k: list(v) if isinstance(v, tuple) else v for k, v in training["crops"].items()}
    training["crops"]["local_size"] = local
    trained = LossModel(model, loss, tuple(config["mean"]), tuple(config["std"]), options.seed)
    train(trained, stream, options, {**training, "model": config})
    state = strip_prefix(trained_state(options.out), "teacher.backbone.")
    return {"state": state, "config": config, "training": training}


def _local_size(dino: DinoOptions, size: int, patch: int) -> int:
    """Side of a local view; `UsageError` for options that no training can use."""
    crops = dino.crops
    local = crops.local_size or max(1, size // 2 // patch) * patch
    if crops.local_crops < 0 or local % patch or not 0 < local <= size:
        raise UsageError(f"local crops: 0 or more, of 1 to {size} pixels in whole patches of {patch}, not {crops}")
    for low, high in (crops.global_scale, crops.local_scale):
        if not 0 < low <= high <= 1:
            raise UsageError(f"a crop's scale is a range in (0, 1], got ({low}, {high})")
    if not 0 <= dino.momentum <= 1 or dino.teacher_temperature <= 0:
        raise UsageError(
            f"the teacher's momentum lies in [0, 1] and its temperature above 0, "
            f"not {dino.momentum} and {dino.teacher_temperature}"
        )
    if min(dino.hidden, dino.bottleneck, dino.prototypes) < 1 or not 0 <= dino.freeze_last <= 1:
        raise UsageError("a head's widths are from 1 on, and freeze_last lies in [0, 1]")
    return local
