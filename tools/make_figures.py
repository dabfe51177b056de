"""Draw the figures of the README and the docs: `python tools/make_figures.py [shapes] [overview]`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, SIZE, ShapesWorld, seen_categories

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


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
    """Draw what selectors keep of two images of the built-in data set, by `ltrp-bench show`, in 256 colors."""
    file = IMAGES / "overview.png"
    names = "ltrp,attention-rollout,evit,center,random,oracle"
    shown = f"show --task shapes-coverage --index 12,28 --selector {names} --layout block --width 9 --dpi 112 --out"
    code = run_command([*shown.split(), str(file)])
    if code:
        sys.exit(code)
    with Image.open(file) as image:
        # The default method merges rare colors, such as those of the outlines, with frequent ones.
        reduced = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
    reduced.save(file, optimize=True)


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
