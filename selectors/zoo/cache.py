"""The folder of fetched checkpoints: `$LTRP_BENCH_CACHE`, or that of the operating system for caches.

Each checkpoint has a folder of its own, `KIND/SHORT`, in which files may be put by hand as well. `SHA256SUMS` beside a
file holds its hash as it was at first use, in the format of `sha256sum`; a file that changes later is refused.
"""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.files import digests
from ltrp_bench.selectors.files.file_kinds import SUFFIXES
from ltrp_bench.selectors.zoo.network import download
from ltrp_bench.selectors.zoo.table import Checkpoint

VARIABLE: Final = "LTRP_BENCH_CACHE"
SUMS: Final = "SHA256SUMS"

State = Literal["ok", "changed", "wrong"]
"""The file is as it should be, has changed since its first use, or is not the published one."""


def cache_folder() -> Path:
    """The folder of all checkpoints; it may not exist."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ltrp-bench"))


def folder_of(checkpoint: Checkpoint) -> Path:
    """The checkpoint's own folder in the cache."""
    return cache_folder() / checkpoint.kind / checkpoint.short


def cached(checkpoint: Checkpoint) -> Path | None:
    """The checkpoint's file in the cache, under its own or, if it is the only one there, another name; else None."""
    folder = folder_of(checkpoint)
    if checkpoint.file and (folder / checkpoint.file).is_file():
        return folder / checkpoint.file
    found = [one for one in sorted(folder.glob("*")) if one.name.endswith((*SUFFIXES, ".tar")) and one.is_file()]
    return found[0] if len(found) == 1 else None


def take(checkpoint: Checkpoint) -> Path:
    """The checkpoint's file, from the cache or fetched into it.

    Raises:
        InputError: it is not there and cannot be fetched: the message says which file to put where, and where it comes
            from; or it is not the file that it was.
    """
    path = cached(checkpoint) or _fetched(checkpoint)
    state, why = state_of(checkpoint, path)
    if state != "ok":
        raise InputError(f"weights {checkpoint.name}: {why}; delete the file to get it anew")
    return path


def state_of(checkpoint: Checkpoint, path: Path) -> tuple[State, str]:
    """State of a file of the cache, and a clause that says what is wrong; its hash is recorded if it had none."""
    found = _digest(path)
    if why := not_published(checkpoint, path):
        return "wrong", why
    first = _recorded(path)
    if first is None:
        _record(path, found)
    elif first != found:
        return "changed", f"{path} has changed since its first use (SHA-256 {first[:12]}… then, {found[:12]}… now)"
    return "ok", ""


def not_published(checkpoint: Checkpoint, path: Path) -> str:
    """A clause that says which of the published facts a file contradicts; empty if none."""
    for kind, known, digest in (("SHA-256", checkpoint.sha256, _digest), ("MD5", checkpoint.md5, digests.md5_of)):
        found = digest(path) if known else ""
        if not found.startswith(known):
            return f"{path} is not the published file: its {kind} is {found[:12]}…, not {known[:12]}…"
    return ""


def remedy(checkpoint: Checkpoint) -> str:
    """Which file to put where, and where it comes from."""
    file = checkpoint.file or "the file"
    license = f" ({checkpoint.license})" if checkpoint.license else ""
    return f"put {file} from {checkpoint.url or checkpoint.page}{license} into {folder_of(checkpoint)}"


def _fetched(checkpoint: Checkpoint) -> Path:
    if not checkpoint.direct:
        why = "its authors' page sends no file to a program" if checkpoint.url else "no address of the file is known"
        raise InputError(f"weights {checkpoint.name} are not in the cache, and {why}: {remedy(checkpoint)}")
    folder = folder_of(checkpoint)
    try:
        for url in checkpoint.beside:
            download(url, folder / url.rsplit("/", 1)[-1])
        size = None if checkpoint.approximate else checkpoint.size
        download(checkpoint.url, folder / checkpoint.file, checkpoint.sha256, md5=checkpoint.md5, size=size)
    except InputError as error:
        raise InputError(f"weights {checkpoint.name}: {error}; {remedy(checkpoint)}") from error
    return folder / checkpoint.file


def _digest(path: Path) -> str:
    known = path.stat()
    return _digest_at(path, known.st_size, known.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_at(path: Path, size: int, time: int) -> str:
    return digests.sha256_of(path)


def _recorded(path: Path) -> str | None:
    return _sums(path.parent).get(path.name)


def _sums(folder: Path) -> dict[str, str]:
    file = folder / SUMS
    if not file.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in file.read_text(encoding="utf-8").splitlines())
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}


def _record(path: Path, digest: str) -> None:
    sums = {**_sums(path.parent), path.name: digest}
    text = "".join(f"{one}  {name}\n" for name, one in sorted(sums.items()))
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{SUMS}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path.parent / SUMS)  # noqa: PTH105
    except OSError:
        return  # a cache that many share may be read-only: then a change goes unnoticed
