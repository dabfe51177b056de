"""Atomic writes, lock files, and messages for disk errors."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from ltrp_bench.results.schema.atomic_io import atomic_write, disk_error, exclusive, remove_stale
from ltrp_bench.results.schema.record import ResultsError


def test_a_write_replaces_the_file_and_makes_its_folder(tmp_path: Path) -> None:
    path, temporary = tmp_path / "new" / "file", tmp_path / "tmp"
    atomic_write(path, b"one", temporary)
    atomic_write(path, b"two", temporary)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path] and list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EIO, "not be written")]
)
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResultsError, match=message):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", wait=False) as first, exclusive(tmp_path / "lock", wait=False) as second:
        assert first and not second
    with exclusive(tmp_path / "lock", wait=False) as third:
        assert third


def test_messages_of_disk_errors() -> None:
    full = str(disk_error(Path("runs/x"), OSError(errno.ENOSPC, "no space")))
    assert full == (
        "the disk is full: runs/x could not be written; finished cells are kept: free some space and start the same "
        "command again"
    )
    assert str(disk_error(Path("x"), OSError(errno.EROFS, "read-only"))) == "x could not be written: read-only"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="could not be written"):
        atomic_write(tmp_path / "file" / "below", b"x")
    with pytest.raises(ResultsError, match="could not be written"), exclusive(tmp_path / "file" / "lock", wait=False):
        pass


def test_only_stale_files_of_this_machine_are_removed(tmp_path: Path) -> None:
    host = socket.gethostname()
    stale = tmp_path / f".x.json.{host}.999999999.ab.tmp"
    kept = [
        tmp_path / f".x.json.{host}.{os.getpid()}.ab.tmp",
        tmp_path / ".x.json.elsewhere.999999999.ab.tmp",
        tmp_path / ".odd.tmp",
        tmp_path / "x.json",
    ]
    for path in (stale, *kept):
        path.write_text("half")
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
