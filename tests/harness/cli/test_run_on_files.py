"""`ltrp-bench run` on annotations that cannot be used as they are: what it says, keeps and returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_lines import Run
from PIL import Image

from ltrp_bench.results.store.run_store import RunStore


def coco(root: Path, *annotations: dict[str, Any]) -> list[object]:
    """Arguments of a run on one image of 56x56 pixels, whose center of 28x28 is kept."""
    (root / "data" / "2017").mkdir(parents=True)
    (root / "data" / "annotations").mkdir()
    Image.fromarray(np.full((56, 56, 3), 9, np.uint8)).save(root / "data" / "2017" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 56, "width": 56}],
        "categories": [{"id": 1, "name": "cat "}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1, **one} for n, one in enumerate(annotations)],
    }
    (root / "data" / "annotations" / "instances_2017.json").write_text(json.dumps(content))
    (root / "pets.csv").write_text("Category;State\ncat;seen\n;\n")
    options = ("--selector", "center", "--keep-ratio", "0.25", "--no-full", "--task-option", "subset=2017")
    return ["run", "--task", "coco-coverage", "--data", root / "data", "--split", root / "pets.csv", *options]


BOX = {"bbox": [20, 20, 16, 16], "area": 256, "iscrowd": "0"}


def metrics(root: Path) -> dict[str, tuple[float, int]]:
    (record,) = RunStore(root / "runs").read_cells()
    return {row.metric: (row.value, row.n) for row in record.metrics if row.group == "all" and row.category is None}


def test_what_was_left_out_is_said_and_kept(run: Run, tmp_path: Path) -> None:
    line = coco(tmp_path, BOX, {**BOX, "image_id": 9}, {**BOX, "bbox": [0.5, 0.5, 0.25, 0.25]}, {**BOX, "iscrowd": 1})
    for evaluated in (1, 0):
        code, _, err = run(*line)
        assert code == 0 and f"1 cell, {evaluated} image" in err
        assert "note: coco-coverage: 1 of 4 annotations left out: of images that are not listed (annotation 1" in err
        assert "note: coco-coverage: 1 of 3 objects left out: crowds and difficult objects do not count" in err
        assert (
            "1 of 3 objects left out: no pixel of the image is theirs (first in image 1, a cat with a box of 0.25"
            in err
        )
    assert metrics(tmp_path)["coverage"] == (1.0, 1)
    (fingerprint,) = (path.stem for path in (tmp_path / "runs" / "cells").glob("*.json"))
    omitted = RunStore(tmp_path / "runs").read_provenance(fingerprint)["omitted"]
    assert [(one["what"].split()[0], one["count"], one["of"]) for one in omitted] == [
        ("annotations", 1, 4),
        ("objects", 1, 3),
        ("objects", 1, 3),
    ]
    code, _, err = run(*line, "--strict", "--out", "strict")
    assert code == 1 and "annotation 1 names image 9, which is not among the images (--strict)" in err


@pytest.mark.parametrize("annotations", [[], [{**BOX, "iscrowd": "1"}]])
def test_a_run_in_which_nothing_counts_fails(run: Run, tmp_path: Path, annotations: list[dict[str, Any]]) -> None:
    code, out, err = run(*coco(tmp_path, *annotations))
    assert code == 1 and "nothing to measure: no object or label counts" in " ".join(out.split())
    assert "note: coco-coverage: 1 of 1 images without an object that counts (first 1)" in err
    assert err.splitlines()[-1].startswith("ltrp-bench: nothing could be measured: no object or label of coco-coverage")
