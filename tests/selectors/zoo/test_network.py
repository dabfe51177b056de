"""Downloads: whole files only, few retries, and one line for each way in which they fail."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import huggingface_hub.constants
import pytest
from file_server import FileServer

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.zoo import network
from ltrp_bench.selectors.zoo.network import answers, check_repository, check_timm_model, download, may_be_in
from ltrp_bench.selectors.zoo.partial import PartialFile

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


@pytest.mark.parametrize("sha256", ["", SHA, SHA[:8]], ids=["unknown", "whole", "first digits"])
def test_a_broken_transfer_goes_on_where_it_broke(server: FileServer, tmp_path: Path, sha256: str) -> None:
    server.files["/w.pth"], server.tags["/w.pth"], server.ranges = CONTENT, '"1"', True
    server.broken["/w.pth"] = 4  # more often than `RETRIES`, each time with something new
    download(f"{server.url}/w.pth", tmp_path / "w.pth", sha256)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and left(tmp_path) == ["w.pth"]
    ends = [len(CONTENT) - len(CONTENT) // 2**n for n in range(1, 5)]
    assert server.wanted == ["", *(f"bytes={end}-" for end in ends)]


def test_a_server_that_sends_no_parts_is_asked_anew(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"], server.tags["/w.pth"], server.broken["/w.pth"] = CONTENT, '"1"', network.RETRIES
    download(f"{server.url}/w.pth", tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and left(tmp_path) == ["w.pth"]
    assert server.wanted == ["", *[f"bytes={len(CONTENT) // 2}-"] * network.RETRIES]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"], server.tags["/w.pth"], server.broken["/w.pth"] = CONTENT, '"1"', 99
    match = "^the download of .*/w.pth broke too often .*; the next attempt goes on from what has arrived$"
    with pytest.raises(InputError, match=match):
        download(f"{server.url}/w.pth", tmp_path / "w.pth")
    half = len(CONTENT) // 2
    assert left(tmp_path) == ["w.pth.part", "w.pth.part.json"] and len(server.asked) == network.RETRIES + 2
    assert (tmp_path / "w.pth.part").read_bytes() == CONTENT[:half]
    server.broken["/w.pth"], server.ranges = 0, True
    download(f"{server.url}/w.pth", tmp_path / "w.pth", SHA)
    assert server.wanted[-1] == f"bytes={half}-" and left(tmp_path) == ["w.pth"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['"1"', '"2"'], ids=["same tag, so the hash tells", "another tag"])
def test_a_file_that_changed_in_between_is_not_mixed(server: FileServer, tmp_path: Path, tag: str) -> None:
    server.files["/w.pth"], server.tags["/w.pth"], server.broken["/w.pth"] = b"x" * len(CONTENT), '"1"', 99
    with pytest.raises(InputError, match="broke too often"):
        download(f"{server.url}/w.pth", tmp_path / "w.pth")
    server.files["/w.pth"], server.tags["/w.pth"], server.broken["/w.pth"] = CONTENT, tag, 0
    server.ranges = True
    download(f"{server.url}/w.pth", tmp_path / "w.pth", SHA)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and left(tmp_path) == ["w.pth"]


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"], ids=["all of it", "too much"])
def test_a_part_of_full_length_is_only_taken_with_its_hash(server: FileServer, tmp_path: Path, part: bytes) -> None:
    server.files["/w.pth"], server.tags["/w.pth"], server.ranges = CONTENT, '"1"', True
    url = f"{server.url}/w.pth"
    (tmp_path / "w.pth.part").write_bytes(part)
    notes = {"url": url, "mark": '"1"', "total": len(CONTENT)}
    (tmp_path / "w.pth.part.json").write_text(json.dumps(notes))
    download(url, tmp_path / "w.pth", SHA)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT and left(tmp_path) == ["w.pth"]
    assert len(server.asked) == (0 if part == CONTENT else 2)


def test_what_is_left_of_another_address_or_without_notes_is_not_used(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"], server.tags["/w.pth"], server.ranges = CONTENT, '"1"', True
    (tmp_path / "w.pth.part").write_bytes(b"other")
    notes = {"url": "https://elsewhere.example/w.pth", "mark": '"1"', "total": len(CONTENT)}
    for text in (json.dumps(notes), "{", "[]"):
        (tmp_path / "w.pth.part.json").write_text(text)
        download(f"{server.url}/w.pth", tmp_path / "w.pth")
        assert (tmp_path / "w.pth").read_bytes() == CONTENT and server.wanted[-1] == ""
        (tmp_path / "w.pth").unlink()


def test_without_a_tag_or_date_or_with_a_weak_tag_nothing_is_kept(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"], server.broken["/w.pth"], server.ranges = CONTENT, 99, True
    for tag in (None, 'W/"1"'):
        server.tags = {} if tag is None else {"/w.pth": tag}
        with pytest.raises(InputError, match=r"broke too often \(\w+\)$"):
            download(f"{server.url}/w.pth", tmp_path / "w.pth")
        assert left(tmp_path) == [] and set(server.wanted) == {""}


def test_a_known_length_is_compared(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"] = CONTENT
    download(f"{server.url}/w.pth", tmp_path / "w.pth", size=len(CONTENT))
    server.files["/v.pth"] = b"abc"
    for server.announced in (True, False):
        with pytest.raises(InputError, match=r"v.pth sends is not the known file: it has 3 bytes, not 1,048,576$"):
            download(f"{server.url}/v.pth", tmp_path / "v.pth", size=len(CONTENT))
        assert left(tmp_path) == ["w.pth"]


def test_another_md5_than_the_known_one_is_not_kept(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"] = CONTENT
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()[:6]
    download(f"{server.url}/w.pth", tmp_path / "w.pth", md5=md5)
    (tmp_path / "w.pth").unlink()
    with pytest.raises(InputError, match="w.pth sends is not the known file: its MD5 is not 000000$"):
        download(f"{server.url}/w.pth", tmp_path / "w.pth", md5="000000")
    assert left(tmp_path) == []


def test_two_processes_do_not_write_one_file(server: FileServer, tmp_path: Path) -> None:
    server.files["/w.pth"] = CONTENT
    with (
        PartialFile.of(tmp_path / "w.pth", f"{server.url}/w.pth"),
        pytest.raises(InputError, match="^another process is fetching .*/w.pth into .*: wait for it$"),
    ):
        download(f"{server.url}/w.pth", tmp_path / "w.pth")
    download(f"{server.url}/w.pth", tmp_path / "w.pth")
    assert left(tmp_path) == ["w.pth"]


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
