"""Bundled task models: trained on random patches if patches are dropped, else on whole images."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.catalog import shapes_cls, shapes_multilabel, shapes_seg
from ltrp_bench.tasks.models import bundled as shipped


def test_which_model_a_reduction_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("a.shapes", "a.shapes-drop"):
        (tmp_path / f"{name}.safetensors").touch()
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert shipped.shipped_model("a", "fill").name == "a.shapes.safetensors"
    assert (
        shipped.shipped_model("a", "drop").name == shipped.shipped_model("a", None).name == "a.shapes-drop.safetensors"
    )
    for task in (shapes_cls, shapes_multilabel, shapes_seg):
        with pytest.raises(InputError, match="--model-weights FILE, or --task-option random_weights=0") as error:
            task()
        assert "\n" not in str(error.value)
