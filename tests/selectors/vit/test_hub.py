"""Weights of timm models from the hub: which file is asked for, and one line where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm.models._hub
import torch
from huggingface_hub.errors import EntryNotFoundError

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.registry import resolve
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.hub import hub_file

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def test_the_file_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def download(*arguments: Any, **_: Any) -> str:
        calls.append(arguments)
        return "/cache/model.safetensors"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert hub_file(f"timm:{NAME}", "gradcam") == Path("/cache/model.safetensors")
    assert hub_file("timm:vit_tiny_patch16_224", "gradcam") == Path("/cache/model.safetensors")
    assert calls == [(f"timm/{NAME}", "model.safetensors")] * 2


def test_the_file_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        hf_hub_id, hf_hub_filename, url = None, None, "https://example.org/w.pth"

    monkeypatch.setattr("ltrp_bench.selectors.vit.hub.timm.get_pretrained_cfg", lambda name: Known)
    monkeypatch.setattr("ltrp_bench.selectors.vit.hub.timm_name", lambda name: NAME)
    monkeypatch.setattr(timm.models._hub, "download_cached_file", lambda url, progress: f"/cache/{Path(url).name}")
    assert hub_file(f"timm:{NAME}", "gradcam") == Path("/cache/w.pth")


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(InputError) as caught:
        hub_file(f"timm:{NAME}", "gradcam")
    assert str(caught.value) == (
        f"cannot fetch the weights of timm:{NAME} (ConnectionError); without a network give the file, under the "
        f"model's name: --weights gradcam={NAME}.safetensors"
    )


def test_models_without_weights() -> None:
    with pytest.raises(UsageError, match="timm has no pretrained weights for 'test_vit4'|timm has no model"):
        hub_file("timm:vit_tiny_patch16_18", "gradcam")


def test_a_repository_and_what_lies_beside_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of a repository are found under any usual name, and its config.json says which model they are of."""
    net = timm.create_model("vit_tiny_patch16_224", depth=12, img_size=32, num_classes=5)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 5, "pretrained_cfg": {"tag": "augreg_in21k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def download(repository: str, file: str, **_: Any) -> str:
        assert repository == "lab/vit"
        if not (tmp_path / file).exists():
            raise EntryNotFoundError(file)
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert hub_file("hf-hub:lab/vit") == tmp_path / "pytorch_model.bin"
    assert resolve("gradcam", weights="hf-hub:lab/vit").weights == tmp_path / "pytorch_model.bin"
    found = load_backbone("hf-hub:lab/vit", label_set="mine")
    assert found.image_size == (32, 32) and found.classes == 5 and found.supervision.label_sets == ("mine",)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(InputError, match=r"hf-hub:lab/vit \(EntryNotFoundError\); without a network .* name: vit.safe"):
        hub_file("hf-hub:lab/vit")
    with pytest.raises(UsageError, match="hf-hub:vit: write a repository as hf-hub:OWNER/NAME"):
        hub_file("hf-hub:vit")


def test_weights_named_after_a_timm_model_are_of_that_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224", img_size=32).state_dict(), tmp_path / "model.safetensors.pth")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(tmp_path / "model.safetensors.pth"))
    found = load_backbone("timm:vit_tiny_patch16_224")
    assert found.supervision.label_sets == ("imagenet21k", "imagenet1k") and found.mean == (0.5, 0.5, 0.5)


def test_offline_the_cache_alone_is_asked() -> None:
    """In a process of its own: the variable is read once, at import."""
    code = "from ltrp_bench.selectors.vit.hub import hub_file; hub_file('hf-hub:timm/nothing-of-that-name')"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert "cannot fetch the weights of hf-hub:timm/nothing-of-that-name" in run.stderr
    assert "LocalEntryNotFoundError" in run.stderr or "OfflineModeIsEnabled" in run.stderr
