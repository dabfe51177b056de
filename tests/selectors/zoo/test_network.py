"""Downloads: whole files only, few retries, and one line for each way in which they fail."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import huggingface_hub.constants
import pytest
from file_server import FileServer

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.zoo import network
from ltrp_bench.selectors.zoo.network import answers, check_repository, check_timm_model, download, may_be_in

CONTENT = bytes(range(256)) * 4096
SHA = hashlib.sha256(CONTENT).hexdigest()


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("*"))


@pytest.mark.parametrize("sha256", ["", SHA, SHA[:8]], ids=["unknown", "whole", "first digits"])
def test_a_file_arrives_whole(server: FileServer, tmp_path: Path, sha256: str) -> None:
    server.files["/a/w.pth"] = CONTENT
    download(f"{server.url}/a/w.pth", tmp_path / "new" / "w.pth", sha256)
    assert (tmp_path / "new" / "w.pth").read_bytes() == CONTENT
    assert left(tmp_path / "new") == ["w.pth"] and server.asked == ["/a/w.pth"]


def test_a_broken_transfer_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"], server.broken["/w.pth"] = CONTENT, network.RETRIES
    download(f"{server.url}/w.pth", tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and server.asked == ["/w.pth"] * (network.RETRIES + 1)


def test_retries_are_bounded_and_leave_nothing(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"], server.broken["/w.pth"] = CONTENT, 99
    with pytest.raises(InputError, match=rf"^the download of {server.url}/w.pth broke 3 times \(\w+\)$"):
        download(f"{server.url}/w.pth", tmp_path / "w.pth")
    assert left(tmp_path) == [] and len(server.asked) == network.RETRIES + 1


@pytest.mark.parametrize("sha256", ["0" * 64, "00000000"])
def test_another_file_than_the_known_one_is_not_kept(server: FileServer, tmp_path: Path, sha256: str) -> None:
    server.files["/w.pth"] = CONTENT
    with pytest.raises(InputError, match=f"w.pth sends is not the known file: its SHA-256 is not {sha256}"):
        download(f"{server.url}/w.pth", tmp_path / "w.pth", sha256)
    assert left(tmp_path) == []


def test_what_no_retry_can_change_is_said_at_once(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file at .*/none.pth any more \(HTTP 404\)"):
        download(f"{server.url}/none.pth", tmp_path / "none.pth")
    server.files["/page"], server.types["/page"] = b"<html>", "text/html; charset=utf-8"
    with pytest.raises(InputError, match="/page shows a page instead of sending a file"):
        download(f"{server.url}/page", tmp_path / "page")
    assert left(tmp_path) == [] and server.asked == ["/none.pth", "/page"]


def test_no_network_is_said_without_retries(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^no network, or no answer from http://127.0.0.1:1/w.pth$"):
        download("http://127.0.0.1:1/w.pth", tmp_path / "w.pth")
    assert left(tmp_path) == []


def test_a_name_that_nobody_looks_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(network, "PATIENCE", 0.01)
    monkeypatch.setattr(network, "_asked", lambda _: never.wait(60))
    assert not answers("https://silent.invalid/w.pth")
    never.set()


def test_a_repository_is_looked_for_in_the_cache_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(InputError) as caught:
        check_repository("lab/vit", "vit.safetensors")
    assert str(caught.value) == (
        "no answer from http://127.0.0.1:1, and lab/vit is not in the hub's cache: give the weights of "
        "http://127.0.0.1:1/lab/vit as a file, under the model's name: vit.safetensors"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="^HF_HUB_OFFLINE is set, and lab/vit is not in"):
        check_repository("lab/vit", "vit.safetensors")
    (tmp_path / "models--lab--vit").mkdir()
    check_repository("lab/vit", "vit.safetensors")


def test_weights_that_timm_may_have_cached_are_left_to_timm() -> None:
    """timm keeps nearly all weights in repositories of its own; the names of its models are those of its version."""
    from timm.models import get_pretrained_cfg, list_models

    strays = []
    for name in list_models(pretrained=True):
        known = get_pretrained_cfg(name)
        if known is not None and known.hf_hub_id:
            folder = f"models--{known.hf_hub_id.replace('/', '--')}"
            strays += [] if may_be_in([folder], name) else [name]
    assert strays == []
    assert not may_be_in([], "vit_small_patch16_224.dino")
    assert not may_be_in(["models--timm--vit_small_patch16_224.augreg"], "vit_small_patch16_224.dino")
    assert not may_be_in(["models--timm--vit_small_patch16_224.augreg"], "vit_small_patch16")
    assert may_be_in(["models--timm--vit_small_patch16_224.augreg"], "vit_small_patch16_224")
    assert may_be_in(["models--other--vit"], "vit_small_patch16_224.dino")  # may hold it under any name


def test_models_of_timm_are_refused_only_where_they_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"under the model's name: vit_small_patch16_224.TAG.safetensors$"):
        check_timm_model("vit_small_patch16_224")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "gcvit.pth").touch()
    check_timm_model("gcvit_base.in1k")  # torch's hub has files, which may be its weights
    (tmp_path / "hub" / "checkpoints" / "gcvit.pth").unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(network, "answers", lambda url: True)
    check_timm_model("vit_small_patch16_224")
