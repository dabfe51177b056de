"""Models of tasks by the names of official checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_yolox import original_yolox

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.named_weights import with_named_weights

NANO = "yolox_nano_8xb8-300e_coco"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LTRP_BENCH_CACHE", str(tmp_path))
    return tmp_path


def test_a_checkpoint_brings_its_file_converted_and_its_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The file is a small model of the same layout, not the published one.
    monkeypatch.setattr("ltrp_bench.selectors.zoo.cache.not_published", lambda *_: "")
    (cache / "yolox" / "nano").mkdir(parents=True)
    state = original_yolox(cache / "yolox" / "nano" / "yolox_nano.pth")
    found = with_named_weights("coco-det", {"model_weights": "yolox=nano", "limit": 3, "model": None})
    path = found.pop("model_weights")
    assert found == {"limit": 3, "model": NANO}
    assert all(torch.equal(value, state[key]) for key, value in load_file(path).items())


def test_given_options_come_first_and_hub_names_are_passed_on(cache: Path) -> None:
    given = {"model_weights": "efficientnet-lite0", "model": "mine"}
    assert with_named_weights("imagenet-cls", given) == {
        "model_weights": "timm:tf_efficientnet_lite0.in1k",
        "model": "mine",
    }


def test_files_and_other_texts_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cache)
    for options in ({}, {"model_weights": None}, {"model_weights": "w.pth"}, {"model_weights": Path("a/b.pth")}):
        assert with_named_weights("coco-det", options) == options
    Path("yolox=nano").touch()
    assert with_named_weights("coco-det", {"model_weights": "yolox=nano"}) == {"model_weights": "yolox=nano"}


def test_one_that_is_not_there(cache: Path) -> None:
    with pytest.raises(InputError, match="^weights mmseg=segformer-b0: no network"):
        with_named_weights("ade20k-seg", {"model_weights": "segformer-b0"})
