"""The base class: what it declares of itself, what it refuses, and third-party objects as selectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv

from ltrp_bench.selectors import controls
from ltrp_bench.selectors.base import (
    AdaptedSelector,
    BatchContext,
    Selector,
    Supervision,
    as_selector,
    check_images,
    check_scores,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.patch_statistics import EdgeEnergySelector


class Mean(Selector):
    """Mean brightness of a patch, by a module."""

    name = "mean"
    patch_size = 4

    def __init__(self) -> None:
        self.pool = nn.AvgPool2d(4)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return self.pool(images.mean(1, keepdim=True))[:, 0].double()


class Plain:
    """A third party's object: the five attributes that are required."""

    name = "plain"
    supervision = Supervision.labels("imagenet1k")
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def scores(self, images: Tensor) -> Any:
        return images.mean(1)[:, ::16, ::16]


class Rich(Plain):
    """One with every optional attribute."""

    name = "rich"
    input_size, patch_size, needs_context, stochastic = (32, 32), 8, 1, 1
    device: Any = "cpu"
    context: BatchContext | None = None

    def scores(self, images: Tensor, context: BatchContext | None = None) -> Any:  # type: ignore[override]
        self.context = context
        return images.mean(1)[:, ::8, ::8]

    def to(self, device: Any) -> None:
        self.device = device


def test_roles() -> None:
    kinds = ("FullControl", "OracleControl", "RandomControl", "CenterControl", "VarianceControl", "DownsampleControl")
    roles = {getattr(controls, kind).name: getattr(controls, kind).role for kind in kinds}
    assert roles == {
        "full": "reference",
        "oracle": "reference",
        "random": "control",
        "center": "control",
        "variance": "control",
        "downsample": "control",
    }
    assert EdgeEnergySelector.role == Selector.role == "method"


def test_what_keeps_no_selection_says_so() -> None:
    assert controls.FullControl.keeps_every_patch and not controls.DownsampleControl.keeps_every_patch
    assert controls.DownsampleControl.reduces_by_downsampling and not controls.FullControl.reduces_by_downsampling


@pytest.mark.parametrize(("kind", "sets"), [("none", ("a",)), ("self", ("a",)), ("labels", ())])
def test_supervision_and_label_sets_go_together(kind: Any, sets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="does not go with label sets"):
        Supervision(kind, sets)


def test_supervision_as_text() -> None:
    assert str(Supervision.none()) == "none" and str(Supervision.self_supervised()) == "self"
    assert str(Supervision.labels("imagenet21k", "imagenet1k")) == "imagenet21k+imagenet1k"


def test_scores_are_float32_and_without_gradient() -> None:
    scores = Mean().scores(torch.zeros(2, 3, 8, 12))
    assert scores.dtype == torch.float32 and scores.shape == (2, 2, 3) and not scores.requires_grad


def test_images_are_refused_in_one_line() -> None:
    selector = Mean()
    for images, says in (
        (torch.zeros(3, 8, 8), "float [B, 3, H, W], got torch.float32 [3, 8, 8]"),
        (torch.zeros(0, 3, 8, 8), "got torch.float32 [0, 3, 8, 8]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "got torch.uint8 [1, 3, 8, 8]"),
        (torch.zeros(1, 3, 8, 9), "image size 8x9 is not a multiple of its patch size 4"),
        (torch.full((1, 3, 8, 8), 200.0), "images range over [200, 200], outside [-2.12, 2.64]"),
    ):
        with pytest.raises(InputError) as caught:
            check_images(images, selector)
        assert str(caught.value).startswith("selector 'mean'") and says in str(caught.value)
        assert "\n" not in str(caught.value)
    selector.input_size = (16, 16)
    with pytest.raises(InputError, match="scores images of 16x16, got 8x8"):
        selector.scores(torch.zeros(1, 3, 8, 8))


def test_bad_scores_name_their_image() -> None:
    scores = torch.zeros(3, 2, 2)
    assert check_scores(scores, 3, "s") is not None
    scores[1, 0, 0] = torch.inf
    with pytest.raises(InputError, match="selector 's' returned NaN or infinite scores for image 1 of the batch"):
        check_scores(scores, 3, "s")
    with pytest.raises(InputError, match="for image 'b'"):
        check_scores(scores, 3, "s", BatchContext(("a", "b", "c")))
    with pytest.raises(InputError, match=r"scores of shape \[3, 4\]; expected \[3, gh, gw\]"):
        check_scores(torch.zeros(3, 4), 3, "s")
    with pytest.raises(InputError, match="scores of shape list"):
        check_scores([0.0], 3, "s")  # type: ignore[arg-type]


def test_a_selector_is_itself() -> None:
    selector = Mean()
    assert as_selector(selector) is selector


def test_a_third_partys_object_gets_the_defaults() -> None:
    selector = as_selector(Plain())
    assert isinstance(selector, AdaptedSelector) and isinstance(selector.wrapped, Plain)
    assert (selector.name, selector.role, selector.input_size, selector.patch_size) == ("plain", "method", None, 16)
    assert not (selector.needs_context or selector.stochastic or selector.movable or selector.checks_images)
    assert selector.to("meta") is selector
    # Images are its own to check; scores are checked here.
    assert selector.scores(torch.full((1, 3, 32, 48), 200.0)).tolist() == [[[200.0] * 3] * 2]
    with pytest.raises(InputError, match="selector 'plain' returned NaN"):
        selector.scores(torch.full((1, 3, 32, 32), torch.nan))


def test_a_third_partys_optional_attributes_are_kept() -> None:
    rich = Rich()
    selector = as_selector(rich)
    assert (selector.input_size, selector.patch_size) == ((32, 32), 8)
    assert selector.needs_context is True and selector.stochastic is True and selector.movable is True
    context = BatchContext(("a",))
    assert selector.scores(torch.zeros(1, 3, 32, 32), context).shape == (1, 4, 4) and rich.context is context
    selector.to("meta")
    assert rich.device == "meta"


def test_what_is_missing_is_named() -> None:
    class Half:
        name = "half"

    with pytest.raises(UsageError, match="selector 'half' lacks supervision, mean, std, scores; see docs"):
        as_selector(Half())
    with pytest.raises(UsageError, match="selector 'module:Half' lacks"):
        as_selector(Half(), "module:Half")
    with pytest.raises(UsageError, match="selector 'object' lacks name, supervision"):
        as_selector(object())


@pytest.mark.parametrize(("input_size", "size"), [(None, (24, 40)), ((32, 16), (32, 16)), ((30, 50), (30, 50))])
def test_images_are_prepared_as_by_torchvision(input_size: tuple[int, int] | None, size: tuple[int, int]) -> None:
    selector = controls.VarianceControl(patch_size=8)
    selector.input_size, selector.mean, selector.std = input_size, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    images = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 3), dtype=np.uint8)
    prepared = selector.prepare(list(images), (3, 5))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    expected = tv.normalize(tv.resize(pixels, list(size), antialias=True), list(selector.mean), list(selector.std))
    assert prepared.shape == (2, 3, *size) and prepared.dtype == torch.float32
    torch.testing.assert_close(prepared, expected, rtol=1e-5, atol=1e-6)


def test_white_stays_within_the_range() -> None:
    selector = controls.VarianceControl(patch_size=7)
    selector.mean, selector.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    assert selector.prepare([np.full((50, 61, 3), 255, np.uint8)], (5, 3)).max() == 1
