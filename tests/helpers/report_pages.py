"""Reports for the tests of the page: a run folder to report, and a browser tab that records errors and requests."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.store.gallery import Thumbnail, write_images, write_ranks

HOSTILE = "</script><img src=x onerror=alert(1)>"
SELECTORS = ("ltrp.shapes", "evit.shapes0", "gradcam.shapes0", "dino.shapes", "tome.shapes0", "variance", "center")
EXTRA = ("random", "oracle", "package.module:Class<b>")
TASKS = ("shapes-coverage", "shapes-cls", "shapes-multilabel", "shapes-seg", "coco-det")


def _webp(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).resize((256, 192)).save(buffer, "webp", quality=80)
    return buffer.getvalue()


def fill_run_folder(world: Any, tasks: tuple[str, ...], selectors: tuple[str, ...], ratios: tuple[float, ...]) -> None:
    """Fill a run folder with resampling summaries, categories and a gallery; one cell is missing."""
    rng = np.random.default_rng(0)
    for task in tasks:
        for place, name in enumerate(selectors):
            for ratio in ratios:
                if (task, name, ratio) == (tasks[0], "center", 0.5):
                    continue
                record = world.cell(name, ratio, 0.9 - 0.08 * place, 0.02 * place, task=task)
                own = tuple(MetricRow("coverage", "seen", f"thing {k}", k / 80, 9) for k in range(80))
                kept = tuple(m for m in record.metrics if m.category is None)
                stored = replace(record, metrics=(*kept, *own))
                world.store.write(world.store.cell_path(record.fingerprint), stored.to_json().encode())
            ids = [HOSTILE, *(f"image {i}" for i in range(7))]
            ranks = {i: rng.permutation(196).reshape(14, 14).astype(np.int32) for i in ids}
            write_ranks(world.store, record.task.identity.short, record.selector.identity.short, 0, ranks)
        images = [Thumbnail(image, 320, 240, _webp(i)) for i, image in enumerate(ids)]
        write_images(world.store, record.task.identity.short, images)


class Tab:
    """A page that records errors and requests."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-plots=ready]")

    def column(self, key: str) -> list[str]:
        heads = self.page.eval_on_selector_all("#board thead button", "all => all.map(b => b.dataset.key)")
        at = heads.index(key) + 1
        return list(
            self.page.eval_on_selector_all(f"#board tbody td:nth-child({at})", "a => a.map(c => c.textContent)")
        )

    def done(self) -> None:
        assert self.errors == []
        assert {url.partition(":")[0] for url in self.requests} <= {"file", "data", "blob"}
        self.page.context.close()
