"""A server of checkpoints, and a cache in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import FileServer, file_server

from ltrp_bench.selectors.zoo.table import Checkpoint, find_all


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    with file_server() as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LTRP_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def checkpoint(server: FileServer) -> Checkpoint:
    """DINO's ViT-S/16 as the server would have it; its file is not there yet."""
    (one,) = find_all("dino=vit-s16")
    return replace(one, url=f"{server.url}/w.pth", file="w.pth")
