"""Atomic writes (temporary file, flush, rename), lock files, and one-line messages for disk errors."""

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


def atomic_write(path: Path, data: bytes, temporary: Path | None = None, *, sync: bool = True) -> None:
    """Write a file atomically: readers see the old or the new content, also if the process is killed.

    Args:
        path: the file; an existing one is replaced. Its folder is made if needed.
        data: content.
        temporary: folder of the unfinished file, on the same disk; by default the folder of `path`.
        sync: False does not wait for the disk. If the machine itself fails, the file may then be damaged: for what is
            checked when it is read, and can be made again.

    Raises:
        ResultsError: the disk is full or read-only, or the folder cannot be written.
    """
    folder = path.parent if temporary is None else temporary
    unfinished = folder / f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def disk_error(path: Path, error: OSError) -> ResultsError:
    """Error with a one-line message about why `path` could not be written."""
    if error.errno in _FULL:
        return ResultsError(
            f"the disk is full: {path} could not be written; finished cells are kept: "
            "free some space and start the same command again"
        )
    return ResultsError(f"{path} could not be written: {error.strerror or error}")


def remove_stale(temporary: Path) -> None:
    """Remove unfinished files of killed processes of this machine from `temporary`."""
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
    """Context that holds the lock file `path`; yields False if another process holds it and `wait` is False.

    The kernel releases the lock when the process ends in any way, so a killed process leaves no lock behind.
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
            # The file system has no locks. Two processes may then do the same work, which is harmless: writes are
            # idempotent.
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise disk_error(path, error) from error
        yield True
