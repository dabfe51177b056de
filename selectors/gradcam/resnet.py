"""ResNet classifiers from checkpoints of timm or torchvision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import timm
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor

from ltrp_bench.selectors.base import Channels, Supervision
from ltrp_bench.selectors.checkpoints import load_into, mismatch, read_weights, resolve
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.files.prefixes import prefixes_of
from ltrp_bench.selectors.ltrp.mae_checkpoints import count_blocks
from ltrp_bench.selectors.vit.assumptions import assumptions_of, normalization_of
from ltrp_bench.selectors.vit.supervision import Evidence, supervision_of
from ltrp_bench.selectors.vit.vit_files import ViTFile, fitting_sidecar, known_name, name_of_file, timm_name

STRIDE = 32
"""Stride of the feature map of the last stage in pixels, and so the patch size."""


@dataclass
class ResNetBackbone:
    """A frozen ResNet, and how its images are normalized; attributes as in `Backbone`."""

    model: ResNet
    mean: Channels
    std: Channels
    supervision: Supervision
    assumptions: tuple[str, ...] = ()
    readings: Mapping[str, Any] = field(default_factory=dict)


TELLTALE: Final = (r"layer4\.0\.conv1\.weight", r"layer1\.0\.conv1\.weight", r"conv1\.weight", r"fc\.weight")
"""Keys of a ResNet classifier; timm and torchvision use the same names."""


def is_resnet(state: Mapping[str, Tensor]) -> bool:
    """True for the state dict of a ResNet classifier, under any prefix."""
    return bool(prefixes_of(state, *TELLTALE))


def load_resnet(
    weights: str | Path,
    model: str | None = None,
    label_set: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ema: bool | None = None,
) -> ResNetBackbone:
    """Load a ResNet.

    The architecture is that of `model`, else of the timm model that the file is named after, else it is inferred from
    the tensors: plain ResNets (18 to 152, stride in the 3x3 convolution) of any depth and number of classes.

    Args:
        weights: file, or tag of bundled weights.
        model: name of a timm model.
        label_set: label set of the classifier; only needed if neither file nor number of classes identifies it.
        mean, std: normalization of the images, if it is not that of the file; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.

    Raises:
        InputError: a missing, corrupt or foreign file.
        UsageError: an unknown timm model, or one that is no ResNet.
    """
    path = resolve(weights)
    found = read_weights(path, ema).under(*TELLTALE)
    state = {k: v.float() if v.is_floating_point() else v for k, v in found.state.items()}
    if not is_resnet(state):
        raise mismatch(f"a ResNet ({path.name})", state, ["layer4.0.conv1.weight", "fc.weight"])
    classes, width = int(state["fc.weight"].shape[0]), int(state["fc.weight"].shape[1])
    sidecar, beside = fitting_sidecar(path, {"width": width, "classes": classes})
    notes = (*found.notes, *beside)
    name = timm_name(model) if model is not None else name_of_file(path) or known_name(sidecar)
    net = timm.create_model(name, num_classes=classes) if name else _from_state(state, classes)
    if not isinstance(net, ResNet):
        raise UsageError(f"timm's {name} is a {type(net).__name__}, not a ResNet")
    # Counters for training only; old files lack them.
    counters = {k: v for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")}
    load_into(net, {**counters, **state}, f"the ResNet {name or path.name}")
    net.eval().requires_grad_(False)
    file = ViTFile(
        path=path, state=state, library="timm", config={}, name=name, sidecar=sidecar, evidence=Evidence(), notes=notes
    )
    values = normalization_of(file, mean, std, named=model is not None)
    assumed = assumptions_of(file, values, None)
    readings = {"mean": list(values.mean), "std": list(values.std)} if assumed or sidecar is not None else {}
    supervision = supervision_of(name or file.tagged, {}, classes, label_set)
    return ResNetBackbone(net, values.mean, values.std, supervision, (*notes, *assumed), readings)


def _from_state(state: Mapping[str, Tensor], classes: int) -> ResNet:
    block = Bottleneck if "layer1.0.conv3.weight" in state else BasicBlock
    return ResNet(block, tuple(count_blocks(state, f"layer{i}") for i in range(1, 5)), num_classes=classes)
