"""The cache of checkpoints: where files lie, what is fetched, and which changes are noticed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest
from file_server import FileServer

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.zoo.cache import SUMS, cache_folder, cached, folder_of, state_of, take
from ltrp_bench.selectors.zoo.table import Checkpoint, find_all


def test_the_folder_follows_the_variable_or_the_system(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("LTRP_BENCH_CACHE")
    assert cache_folder() == Path(platformdirs.user_cache_dir("ltrp-bench"))


def test_it_is_fetched_once_and_its_hash_recorded(cache: Path, server: FileServer, checkpoint: Checkpoint) -> None:
    server.files["/w.pth"] = b"weights"
    path = take(checkpoint)
    assert path == cache / "dino" / "vit-s16" / "w.pth" and path.read_bytes() == b"weights"
    assert (path.parent / SUMS).read_text() == f"{hashlib.sha256(b'weights').hexdigest()}  w.pth\n"
    assert take(checkpoint) == path and server.asked == ["/w.pth"]


def test_files_that_belong_beside_it_come_along(cache: Path, server: FileServer, checkpoint: Checkpoint) -> None:
    server.files |= {"/w.pth": b"weights", "/variant.yml": b"net"}
    path = take(replace(checkpoint, beside=(f"{server.url}/variant.yml",)))
    assert (path.parent / "variant.yml").read_bytes() == b"net"


def test_what_is_left_of_a_broken_transfer_is_not_taken_for_the_file(
    cache: Path, server: FileServer, checkpoint: Checkpoint
) -> None:
    content = bytes(1 << 20)
    server.files["/w.pth"], server.tags["/w.pth"], server.broken["/w.pth"] = content, '"1"', 99
    with pytest.raises(InputError, match=r"^weights dino=vit-s16: .* broke too often .*; put w.pth from"):
        take(checkpoint)
    assert (folder_of(checkpoint) / "w.pth.part").stat().st_size == 1 << 19 and cached(checkpoint) is None
    server.broken["/w.pth"], server.ranges = 0, True
    assert take(checkpoint).read_bytes() == content and server.wanted[-1] == f"bytes={1 << 19}-"


def test_a_later_change_is_noticed(cache: Path, server: FileServer, checkpoint: Checkpoint) -> None:
    server.files["/w.pth"] = b"weights"
    path = take(checkpoint)
    path.write_bytes(b"other weights")
    assert state_of(checkpoint, path)[0] == "changed"
    with pytest.raises(InputError, match=r"^weights dino=vit-s16: .*w.pth has changed since its first use .*; delete"):
        take(checkpoint)
    path.unlink()
    assert cached(checkpoint) is None


def test_a_file_put_there_by_hand_is_compared_with_the_published_hash(cache: Path, checkpoint: Checkpoint) -> None:
    right = hashlib.sha256(b"weights").hexdigest()
    folder = folder_of(checkpoint)
    folder.mkdir(parents=True)
    (folder / "any-name.pth").write_bytes(b"weights")
    assert take(replace(checkpoint, sha256=right[:8])) == folder / "any-name.pth"
    with pytest.raises(InputError, match=r"any-name.pth is not the published file: its SHA-256 is .*, not 00000000…"):
        take(replace(checkpoint, sha256="00000000"))
    (folder / "second.pth").write_bytes(b"which?")
    assert cached(checkpoint) is None


def test_first_digits_of_a_published_md5_are_compared_too(cache: Path, checkpoint: Checkpoint) -> None:
    folder = folder_of(checkpoint)
    folder.mkdir(parents=True)
    (folder / "w.pth").write_bytes(b"weights")
    published = replace(checkpoint, md5=hashlib.md5(b"weights", usedforsecurity=False).hexdigest()[:6])
    assert take(published) == folder / "w.pth" and state_of(published, folder / "w.pth") == ("ok", "")
    state, why = state_of(replace(published, md5="000000"), folder / "w.pth")
    assert state == "wrong" and re.search(r"w.pth is not the published file: its MD5 is \w+…, not 000000…$", why)


def test_offline_it_says_which_file_to_put_where(cache: Path, checkpoint: Checkpoint) -> None:
    url = "http://127.0.0.1:1/w.pth"
    with pytest.raises(InputError) as caught:
        take(replace(checkpoint, url=url))
    assert str(caught.value) == (
        f"weights dino=vit-s16: no network, or no answer from {url}; put w.pth from {url} (Apache-2.0) into "
        f"{cache / 'dino' / 'vit-s16'}"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("evit=deit-s-0.7", "its authors' page sends no file to a program: put evit-0.7-fuse-img224-deit-s.pth from "
                            "https://drive.google.com/"),
        ("ltrp=vit-s16", "no address of the file is known: put ltrp_vit_s.pth from https://github.com/irsLu/ltrp into"),
    ],
)  # fmt: skip
def test_what_a_program_cannot_fetch_is_left_to_a_person(cache: Path, name: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        take(find_all(name)[0])
    assert str(caught.value).startswith(f"weights {name} are not in the cache, and {why}")
