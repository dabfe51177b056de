"""The version and its commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ltrp_bench.harness.cli.terminal import version


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "--short=9", "HEAD")
    assert version.commit(tmp_path) == head
    (tmp_path / "pyproject.toml").write_text("changed")
    assert version.commit(tmp_path) == f"{head}+changes"


def test_an_installation_without_git_has_the_recorded_commit_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        recorded: str | None = None

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return self.recorded

    monkeypatch.setattr(version, "distribution", lambda name: Installed())
    assert version.commit(tmp_path) is None
    Installed.recorded = '{"url": "file:///x"}'
    assert version.commit(tmp_path) is None
    Installed.recorded = '{"vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}}'
    assert version.commit(tmp_path) == "012345678"


def test_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "package_version", lambda: "1.2.3")
    monkeypatch.setattr(version, "commit", lambda: None)
    assert version.version_line() == "ltrp-bench 1.2.3"
    monkeypatch.setattr(version, "commit", lambda: "012345678+changes")
    assert version.version_line() == "ltrp-bench 1.2.3 (commit 012345678+changes)"
