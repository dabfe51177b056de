"""The version that runs, with its commit where one is known."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def package_version() -> str:
    """The installed version; "unknown" in a checkout that is not installed."""
    try:
        return version("ltrp-bench")
    except PackageNotFoundError:
        return "unknown"


def commit(root: Path = ROOT) -> str | None:
    """Short name of the commit of a checkout, with "+changes" if files differ from it, or of an installation from git.

    None for a wheel, which has no commit.
    """
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return _installed_commit()
    try:
        found = _git(root, "rev-parse", "--short=9", "HEAD")
        return f"{found}+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else found
    except (OSError, subprocess.SubprocessError):
        return None


def version_line() -> str:
    """ "ltrp-bench 0.1.0 (commit 1a2b3c4d5)", or without a commit where none is known."""
    found = commit()
    return f"ltrp-bench {package_version()}" + ("" if found is None else f" (commit {found})")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _installed_commit() -> str | None:
    """Commit that pip recorded when it installed from a repository."""
    try:
        recorded = distribution("ltrp-bench").read_text("direct_url.json")
        found = json.loads(recorded or "{}").get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    return found[:9] if isinstance(found, str) else None
