"""A cache of the Hugging Face hub with repositories that were never there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cached_repository(cache: Path, name: str, files: Mapping[str, bytes | Path]) -> Path:
    """Put a repository into a cache, in the hub's layout; return the folder of its files.

    Args:
        cache: folder of the cache, `HF_HUB_CACHE`.
        name: "OWNER/NAME".
        files: name -> content, or the file that it links to.
    """
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for file, content in files.items():
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        else:
            (folder / file).symlink_to(content)
    return folder
