"""Grad-CAM: the contract, and equality with the `grad-cam` package on ViTs and ResNets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, BatchContext, Selector, Supervision
from ltrp_bench.selectors.checkpoints import load_state, save_safetensors
from ltrp_bench.selectors.contract import SelectorContract, example_images
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.gradcam.resnet import load_resnet
from ltrp_bench.selectors.gradcam.selector import GradCAMSelector
from ltrp_bench.selectors.vit.backbones import build_vit

CONFIG = {"image_size": 48, "patch_size": 8, "embed_dim": 32, "depth": 3, "heads": 4, "classes": 8}


class PackageCAM(GradCAM):
    """The package's Grad-CAM, which also keeps the map before ReLU, scaling and resizing."""

    def get_cam_image(self, *args: Any, **kwargs: Any) -> np.ndarray:
        self.raw = super().get_cam_image(*args, **kwargs)
        return self.raw


def package(
    net: nn.Module, layer: nn.Module, images: Tensor, targets: list[Callable[..., Tensor]] | None = None, side: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The package's raw maps [B, gh, gw], and its final ones [B, H, W] in [0, 1]; `side`: of a ViT's patch grid."""

    def to_grid(x: Tensor) -> Tensor:
        return x[:, 1:].reshape(len(x), side, side, x.shape[-1]).permute(0, 3, 1, 2)

    net.requires_grad_(True)
    with PackageCAM(net, [layer], to_grid if side else None) as cam:
        final = cam(images, targets)
        return cam.raw, final


def small_vit(folder: Path, **changes: Any) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    config = {**CONFIG, **changes}
    net = build_vit(config)
    state = {k: torch.randn_like(v) * 0.2 for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    file = folder / "vit.safetensors"
    save_safetensors(file, state, {"kind": "vit", "config": {**config, "label_set": "shapes-seen0"}})
    return file, net.eval()


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    return small_vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """torchvision's ResNet-50, its norms away from identity, saved as its own files are."""
    torch.manual_seed(0)
    net = torchvision.models.resnet50(weights=None).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.6)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    file = tmp_path_factory.mktemp("resnet") / "resnet50-0676ba61.pth"
    torch.save(net.state_dict(), file)
    return file, net


@pytest.fixture(scope="module")
def small_resnet(resnet: tuple[Path, nn.Module]) -> Selector:
    return GradCAMSelector(resnet[0], image_size=96)


def normalised(selector: Selector, count: int = 3, seed: int = 0) -> Tensor:
    assert selector.input_size is not None
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (selector.mean, selector.std))
    return (example_images(count, selector.input_size, seed) - mean) / std


def check_equal(mine: Tensor, theirs: np.ndarray) -> None:
    """Equal to float tolerance, relative to the size of the map (random nets give small gradients)."""
    size = np.abs(theirs).max()
    assert size > 0
    np.testing.assert_allclose(mine.numpy() / size, theirs / size, atol=2e-5)


class TestViT(SelectorContract):
    @pytest.fixture
    def selector(self, vit: tuple[Path, nn.Module]) -> Selector:
        return GradCAMSelector(vit[0])

    def test_labels_are_the_weights(self, selector: Selector) -> None:
        assert selector.supervision == Supervision.labels("shapes-seen0")


class TestResNet(SelectorContract):
    count = 3

    @pytest.fixture
    def selector(self, small_resnet: Selector) -> Selector:
        return small_resnet

    def test_labels_and_grid(self, selector: Selector) -> None:
        assert selector.supervision == Supervision.labels("imagenet1k")
        assert selector.input_size == (96, 96) and selector.patch_size == 32
        assert (selector.mean, selector.std) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("changes", [{}, {"fc_norm": True}], ids=["class token", "mean of patches"])
@pytest.mark.parametrize("target", ["predicted", 3, "top-3"])
def test_equals_the_package_on_a_vit(tmp_path: Path, changes: dict[str, Any], target: str | int) -> None:
    file, net = small_vit(tmp_path, **changes)
    selector = GradCAMSelector(file, target=target, relu=False)
    images = normalised(selector)
    targets: dict[str | int, list[Callable[..., Tensor]] | None] = {
        "predicted": None,
        3: [ClassifierOutputTarget(3)] * 3,
        "top-3": [lambda out: out.topk(3).values.sum()] * 3,
    }
    raw, _ = package(net, net.blocks[-1].norm1, images, targets[target], side=6)
    check_equal(selector.scores(images), raw)
    check_equal(GradCAMSelector(file, target=target).scores(images), np.maximum(raw, 0))


def test_equals_the_package_on_a_resnet_at_224(resnet: tuple[Path, nn.Module]) -> None:
    file, net = resnet
    selector = GradCAMSelector(file)
    images = normalised(selector, 2)
    raw, final = package(net, net.layer4[-1], images)
    scores = selector.scores(images)
    assert scores.shape == (2, 7, 7)
    check_equal(scores, np.maximum(raw, 0))
    # The package's own output: each map to [0, 1], resized to the image, to [0, 1] again.
    for mine, theirs in zip(scores.numpy(), final, strict=True):
        shown = cv2.resize((mine - mine.min()) / np.ptp(mine), (224, 224))
        np.testing.assert_allclose((shown - shown.min()) / np.ptp(shown), theirs, atol=1e-4)


def test_equals_the_package_on_the_genuine_vit_tiny(shared_dir: Path) -> None:
    file = shared_dir / "data" / "weights" / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"
    selector = GradCAMSelector(file, relu=False)
    assert selector.mean == selector.std == (0.5, 0.5, 0.5) and selector.input_size == (224, 224)
    assert selector.supervision == Supervision.labels("imagenet21k", "imagenet1k")
    net = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    net.load_state_dict({k: v.float() for k, v in load_state(file).items()})
    images = normalised(selector, 2)
    raw, _ = package(net, net.blocks[-1].norm1, images, side=14)
    check_equal(selector.scores(images), raw)


def test_each_of_the_best_classes_by_its_own_map(vit: tuple[Path, nn.Module]) -> None:
    file, net = vit
    selector = GradCAMSelector(file, target="top-2", combine="max")
    images = normalised(selector)
    best = net(images).topk(2).indices
    shares = []
    for place in range(2):
        raw, _ = package(net, net.blocks[-1].norm1, images, [ClassifierOutputTarget(int(c)) for c in best[:, place]], 6)
        maps = np.maximum(raw, 0)
        shares.append(maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-30))
    np.testing.assert_allclose(selector.scores(images).numpy(), np.maximum(*shares), atol=1e-4)


def test_images_of_a_batch_are_explained_by_their_own_classes(vit: tuple[Path, nn.Module]) -> None:
    predicted = vit[1](normalised(GradCAMSelector(vit[0]), 8, seed=4)).argmax(1)
    assert len(predicted.unique()) > 1, "the test means nothing where all have one class"
    images = normalised(GradCAMSelector(vit[0]), 8, seed=4)
    together = GradCAMSelector(vit[0]).scores(images)
    for row, label in enumerate(predicted.tolist()):
        given = GradCAMSelector(vit[0], target=label).scores(images[row : row + 1])
        torch.testing.assert_close(together[row], given[0], rtol=1e-4, atol=1e-6)


def test_autograd_leaves_no_trace(vit: tuple[Path, nn.Module]) -> None:
    selector = GradCAMSelector(vit[0])
    scores = selector.scores(normalised(selector), BatchContext(("a", "b", "c")))
    assert not scores.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in selector.net.parameters())


def test_timms_resnet_reads_as_torchvisions(resnet: tuple[Path, nn.Module], tmp_path: Path) -> None:
    state = {k: v for k, v in resnet[1].state_dict().items() if not k.endswith("num_batches_tracked")}
    file = tmp_path / "resnet50.a1_in1k.pth"
    torch.save({"state_dict": state}, file)
    backbone = load_resnet(file)
    assert backbone.supervision == Supervision.labels("imagenet1k")
    images = example_images(1, (64, 64)) - 0.5
    with torch.inference_mode():
        torch.testing.assert_close(backbone.model(images), resnet[1](images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "best"}, "predicted, a class index or top-N"),
        ({"target": True}, "predicted, a class index or top-N"),
        ({"target": 8}, "classes go from 0 to 7"),
        ({"target": "top-0"}, "top-1 to top-8"),
        ({"target": "top-9"}, "top-1 to top-8"),
        ({"combine": "mean"}, "combine must be one of sum, max, got 'mean'"),
        ({"combine": "max"}, "top-N and relu"),
        ({"combine": "max", "target": "top-2", "relu": False}, "top-N and relu"),
        ({"image_size": 224}, "image_size is a ResNet's"),
    ],
)
def test_options_that_cannot_be_are_one_line(
    vit: tuple[Path, nn.Module], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        GradCAMSelector(vit[0], **options)


def test_a_resnets_image_size_is_a_multiple_of_32(resnet: tuple[Path, nn.Module]) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        GradCAMSelector(resnet[0], image_size=100)


def test_weights_without_a_classifier_are_refused(tmp_path: Path) -> None:
    file, _ = small_vit(tmp_path, classes=0)
    with pytest.raises(InputError, match="needs a classifier"):
        GradCAMSelector(file)


def test_a_detector_is_refused_by_what_it_looks_like(tmp_path: Path) -> None:
    file = tmp_path / "detector.pth"
    torch.save(
        {"state_dict": {"bbox_head.fc.weight": torch.zeros(2, 2), "backbone.conv1.weight": torch.zeros(1)}}, file
    )
    with pytest.raises(InputError, match="looks like a detector"):
        GradCAMSelector(file)


def test_other_models_named_by_hand_are_refused(vit: tuple[Path, nn.Module], resnet: tuple[Path, nn.Module]) -> None:
    with pytest.raises(UsageError, match="not a ResNet"):
        load_resnet(resnet[0], model="timm:regnety_002")
    with pytest.raises(InputError, match="plain vision transformer"):
        load_resnet(vit[0])
