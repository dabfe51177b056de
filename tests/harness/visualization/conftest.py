"""Two images of `shapes` and the patches that five selectors keep of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.visualization.images import DisplayImage, load_task_images
from ltrp_bench.harness.visualization.selections import (
    ImageSelection,
    build_selectors_and_task,
    needs_oracle_scores,
    select_patches,
)

NAMES = ("ltrp", "variance", "random", "oracle", "full")


@dataclass
class World:
    """Images 3 and 0 of `shapes-coverage`, and each selector's selections at keep ratios 0.25 and 0.5, seed 7."""

    images: list[DisplayImage]
    selections: dict[str, list[ImageSelection]]


@pytest.fixture(scope="package")
def world() -> World:
    entries, task = build_selectors_and_task(Request(selectors=NAMES, tasks=("shapes-coverage",)), pytest.fail)
    images = load_task_images(task.task, [3, 0], with_oracle_scores=needs_oracle_scores(entries))
    selections = {e.name: select_patches(e, images, (0.25, 0.5), seed=7, device="cpu") for e in entries}
    return World(images, selections)


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    """A PNG of noise, 60 pixels wide and 40 high."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture(scope="package")
def teacher() -> Any:
    """`teacher("mask_ratio=0.75")`: the `ltrp-teacher` of `shapes` with options."""

    def build(*options: str) -> Any:
        given = tuple(f"ltrp-teacher.{option}" for option in options)
        request = Request(selectors=("ltrp-teacher",), tasks=("shapes-coverage",), selector_options=given)
        return build_selectors_and_task(request, pytest.fail)[0][0].selector

    return build


@pytest.fixture(scope="package")
def display_images() -> list[DisplayImage]:
    """Images 3 and 12 of `shapes-coverage`."""
    _, task = build_selectors_and_task(Request(selectors=("variance",), tasks=("shapes-coverage",)), pytest.fail)
    return load_task_images(task.task, [3, 12], with_oracle_scores=False)
