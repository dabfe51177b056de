"""Files that are whole or absent: written beside, flushed, then renamed; disk troubles in one line."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ltrp_bench.results.schema.record import ResultsError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def atomic_write(path: Path, data: bytes, temporary: Path | None = None) -> None:
    """Write `data` to `path` so that a reader, or a kill at any moment, sees all of it or none.

    Args:
        path: the file; its folder is made if need be, an older file is replaced.
        data: the whole content.
        temporary: folder of the unfinished file, on the same disk; `path`'s own by default.

    Raises:
        ResultsError: if the disk is full, read-only, or the folder cannot be written.
    """
    folder = path.parent if temporary is None else temporary
    beside = folder / f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def disk_error(path: Path, error: OSError) -> ResultsError:
    """The one line that tells a person why `path` could not be written."""
    if error.errno in _FULL:
        return ResultsError(
            f"the disk is full: {path} could not be written; finished cells are kept: "
            "free some space and start the same command again"
        )
    return ResultsError(f"{path} could not be written: {error.strerror or error}")


def remove_stale(temporary: Path) -> None:
    """Remove unfinished files in `temporary` that killed processes of this machine left behind."""
    host = socket.gethostname()
    for file in temporary.glob(".*.tmp"):
        name, _, _ = file.name.rpartition(".")
        parts = name.rsplit(".", 2)
        if len(parts) == 3 and parts[0].endswith(f".{host}") and not _alive(parts[1]):
            file.unlink(missing_ok=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def exclusive(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock file `path`; gives False (and holds nothing) if another process has it and `wait` is off.

    The kernel lets go of it however the process ends, so a kill leaves no lock behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise disk_error(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            # A file system without locks: two writers then only do work twice, for all writes are idempotent.
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise disk_error(path, error) from error
        yield True
