"""Weights of timm models from the hub: which file is asked for, and one line where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm.models._hub

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.hub import timm_file

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def test_the_file_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def download(*arguments: Any) -> str:
        calls.append(arguments)
        return "/cache/model.safetensors"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert timm_file(f"timm:{NAME}", "gradcam") == Path("/cache/model.safetensors")
    assert timm_file("timm:vit_tiny_patch16_224", "gradcam") == Path("/cache/model.safetensors")
    assert calls == [(f"timm/{NAME}", "model.safetensors")] * 2


def test_the_file_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        hf_hub_id, hf_hub_filename, url = None, None, "https://example.org/w.pth"

    monkeypatch.setattr("ltrp_bench.selectors.hub.timm.get_pretrained_cfg", lambda name: Known)
    monkeypatch.setattr("ltrp_bench.selectors.hub.timm_name", lambda name: NAME)
    monkeypatch.setattr(timm.models._hub, "download_cached_file", lambda url, progress: f"/cache/{Path(url).name}")
    assert timm_file(f"timm:{NAME}", "gradcam") == Path("/cache/w.pth")


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(InputError) as caught:
        timm_file(f"timm:{NAME}", "gradcam")
    assert str(caught.value) == (
        f"cannot fetch the weights of timm:{NAME} (ConnectionError); without a network give the file, under the "
        f"model's name: --weights gradcam={NAME}.safetensors"
    )


def test_models_without_weights() -> None:
    with pytest.raises(UsageError, match="timm has no pretrained weights for 'test_vit4'|timm has no model"):
        timm_file("timm:vit_tiny_patch16_18", "gradcam")
