"""Draw the figures of the README and the docs: `python tools/make_figures.py [shapes] [overview]`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.registry import create_selector
from ltrp_bench.selectors.topk import resample_scores, top_k
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, ShapesWorld, seen_categories

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
GRID = (SIZE // PATCH, SIZE // PATCH)


def shapes() -> None:
    """Draw six images and their objects: seen categories of fold 0 with solid outlines, unseen ones dashed."""
    figure, axes = plt.subplots(2, 6, figsize=(13, 4.5))
    seen = seen_categories(0)
    for index, (top, bottom) in enumerate(axes.T):
        image = ShapesWorld(2000).image(index)
        top.imshow(image.image)
        bottom.imshow(image.image.mean(-1), cmap="gray", vmin=-700, vmax=255)
        for mask, box, label in zip(image.masks, image.boxes, image.labels, strict=True):
            color, style = ("tab:blue", "solid") if CATEGORIES[label] in seen else ("tab:orange", "dashed")
            bottom.contour(mask, levels=[0.5], colors=[color], linestyles=style, linewidths=1.5)
            x = float(np.clip(box[0], 1, SIZE - 40))
            bottom.text(x, max(box[1] - 2, 5), CATEGORIES[label], color=color, fontsize=8, weight="bold")
    _finish(figure, axes, "shapes.png")


def overview() -> None:
    """Draw score maps and the quarter of the patches that selectors keep, on two images of the built-in data set."""
    names = ["ltrp", "variance", "center", "random", "oracle"]
    rows = [3, 12]
    figure, axes = plt.subplots(2 * len(rows), 1 + len(names), figsize=(2.1 * (1 + len(names)), 4.3 * len(rows)))
    for row, index in enumerate(rows):
        image = ShapesWorld(2000).image(index)
        pixels = torch.from_numpy(image.image).permute(2, 0, 1)[None].float() / 255
        covered = torch.from_numpy(image.masks.any(0).reshape(GRID[0], PATCH, GRID[1], PATCH).mean((1, 3)))[None]
        context = BatchContext((f"shapes-{index}",), 0, covered.float(), GRID)
        axes[2 * row, 0].imshow(image.image)
        axes[2 * row, 0].set_title("image", fontsize=10)
        axes[2 * row + 1, 0].imshow(image.semantic > 0, cmap="gray")
        axes[2 * row + 1, 0].set_title("objects", fontsize=10)
        for column, name in enumerate(names, start=1):
            selector = create_selector(name, domain="shapes")
            images = normalize(pixels, selector.mean, selector.std)
            scores = resample_scores(selector.scores(images, context), GRID)
            kept = top_k(scores, 0.25, context.image_ids).mask()[0].numpy().repeat(PATCH, 0).repeat(PATCH, 1)
            filled = np.where(kept[..., None], image.image / 255, np.array(MEAN))
            axes[2 * row, column].imshow(scores[0], cmap="viridis")
            axes[2 * row, column].set_title(name, fontsize=10)
            axes[2 * row + 1, column].imshow(filled)
    _finish(figure, axes, "overview.png")


def _finish(figure: plt.Figure, axes: np.ndarray, name: str) -> None:
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout(pad=0.4)
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / name, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["shapes", "overview"]:
        {"shapes": shapes, "overview": overview}[wanted]()
