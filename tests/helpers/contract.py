"""The contract of selectors: subclass `SelectorContract`, make yours in `selector`, and every test here runs on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import BenchError
from ltrp_bench.selectors.topk import count_kept, top_k

RATIOS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def make_images(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """[count, 3, H, W] smooth random images in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear").clamp(0, 1)


class SelectorContract:
    """Every selector keeps exactly k patches, nested over k, the same alone and in a batch, and says what is wrong.

    A subclass for a selector with weights may define `foreign(self, tmp_path)`, which returns what builds one from
    a file (such as its class): it is then held to refuse a checkpoint of another model.
    """

    size: tuple[int, int] = (96, 96)
    batch: int = 5

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Only where there is something to load: no test that passes, or is skipped, for want of weights.
        if hasattr(cls, "foreign"):
            cls.test_a_foreign_checkpoint_is_one_clear_line = _foreign_checkpoint  # type: ignore[attr-defined]

    @pytest.fixture
    def selector(self) -> Selector:
        raise NotImplementedError("make the selector under test")

    @pytest.fixture
    def images(self, selector: Selector) -> Tensor:
        mean = torch.tensor(selector.mean).view(1, 3, 1, 1)
        std = torch.tensor(selector.std).view(1, 3, 1, 1)
        return (make_images(self.batch, selector.input_size or self.size) - mean) / std

    def context(self, selector: Selector, images: Tensor, rows: list[int] | None = None) -> BatchContext:
        rows = list(range(len(images))) if rows is None else rows
        grid = (images.shape[2] // selector.patch_size, images.shape[3] // selector.patch_size)
        objects = torch.rand(self.batch, *grid, generator=torch.Generator().manual_seed(3))[rows]
        return BatchContext(tuple(f"image-{r}" for r in rows), 0, objects, None)

    def test_it_says_who_it_is(self, selector: Selector) -> None:
        assert selector.name and len(selector.mean) == len(selector.std) == 3
        assert selector.supervision.kind in ("none", "self", "labels")

    def test_scores_are_finite_floats_on_the_patch_grid(self, selector: Selector, images: Tensor) -> None:
        scores = selector.scores(images, self.context(selector, images))
        assert scores.dtype == torch.float32 and scores.shape[0] == len(images) and scores.ndim == 3
        assert torch.isfinite(scores).all()

    def test_exactly_k_unique_patches_in_raster_order_and_nested(self, selector: Selector, images: Tensor) -> None:
        context = self.context(selector, images)
        scores = selector.scores(images, context)
        patches = scores[0].numel()
        before = torch.zeros(len(images), patches, dtype=torch.bool)
        for ratio in RATIOS:
            selection = top_k(scores, ratio, context.image_ids)
            assert selection.indices.shape == (len(images), count_kept(ratio, patches))
            assert (selection.indices.diff(dim=1) > 0).all()
            assert selection.indices.min() >= 0 and selection.indices.max() < patches
            now = selection.mask().flatten(1)
            assert (now | ~before).all(), f"patches kept at a smaller ratio are dropped at {ratio}"
            before = now

    def test_same_alone_in_a_batch_and_in_another_order(self, selector: Selector, images: Tensor) -> None:
        whole = selector.scores(images, self.context(selector, images))
        turned = list(reversed(range(len(images))))
        again = selector.scores(images[turned], self.context(selector, images, turned))[turned]
        torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-5)
        ids = tuple(f"image-{r}" for r in range(len(images)))
        kept = top_k(whole, 0.25, ids).mask()
        for row in range(len(images)):
            alone = selector.scores(images[row : row + 1], self.context(selector, images, [row]))
            torch.testing.assert_close(alone[0], whole[row], rtol=1e-4, atol=1e-5)
            same = (top_k(alone, 0.25, ids[row : row + 1]).mask()[0] == kept[row]).float().mean()
            assert same >= 0.97

    def test_bfloat16_keeps_nearly_the_same_patches(self, selector: Selector, images: Tensor) -> None:
        context = self.context(selector, images)
        exact = top_k(selector.scores(images, context), 0.5, context.image_ids).mask()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = top_k(selector.scores(images, context), 0.5, context.image_ids).mask()
        assert (exact == rough).float().mean() >= 0.9

    def test_wrong_shape_is_one_clear_line(self, selector: Selector, images: Tensor) -> None:
        for wrong in (images[0], images[:, :1], images[..., :-3], images[:0]):
            with pytest.raises(BenchError) as caught:
                selector.scores(wrong, self.context(selector, images))
            assert selector.name in str(caught.value) and "\n" not in str(caught.value)

    def test_wrong_normalisation_range_is_refused(self, selector: Selector, images: Tensor) -> None:
        with pytest.raises(BenchError, match="normalise"):
            selector.scores(images * 255, self.context(selector, images))
        with pytest.raises(BenchError, match="normalise"):
            selector.scores(images * float("nan"), self.context(selector, images))

    def test_nan_scores_are_refused_and_name_the_image(
        self, selector: Selector, images: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = selector.scores(images, self.context(selector, images)).clone()
        broken[2, 0, 0] = float("nan")
        monkeypatch.setattr(type(selector), "_scores", lambda *_: broken)
        with pytest.raises(BenchError, match="image-2"):
            selector.scores(images, self.context(selector, images))


def _foreign_checkpoint(self: SelectorContract, tmp_path: Path) -> None:
    """A ResNet's state dict is refused in one line that says what it is, and not an untrained selector."""
    file = tmp_path / "foreign" / "resnet18.pth"
    file.parent.mkdir()
    torch.save(timm.create_model("resnet18", pretrained=False).half().state_dict(), file)
    with pytest.raises(BenchError) as caught:
        self.foreign(tmp_path)(file)  # type: ignore[attr-defined]
    message = str(caught.value)
    assert "\n" not in message and "looks like a ResNet" in message
