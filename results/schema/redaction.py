"""Redaction of what is shared: paths are shortened to names, and names of users and hosts are left out.

A path is shortened to its last part, wherever it stands in a text: "evit=/home/ada/weights/evit.pth" becomes
"evit=evit.pth". Names of this machine's user and host become "user" and "host".
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

_START: Final = r"(?:file://)?(?:~[\w.-]*|[A-Za-z]:|\.\.)?[\\/]"
_QUOTED: Final = re.compile(rf"(['\"`])({_START}[^'\"`\n]*)\1")
"""A path in quotation marks, which may have spaces."""

_PATH: Final = re.compile(
    r"(?<![\w.~/\\<-])(?<!:/)"  # within a word, a tag, a relative path or a web address
    r"(?!//)"
    r"(?:file://)?(?:~[\w.-]*|[A-Za-z]:|\.\.)?"
    r"(?:[\\/]+(?:[^~\\/\n'\"`,;:|<>()\[\]{}]*[^~\\/\s'\"`,;:|<>()\[\]{}])(?=[\\/]))*"  # folders may have spaces
    r"[\\/]+[^\\/\s'\"`,;:|<>()\[\]{}]+[\\/]*"
)
_WHOLE: Final = re.compile(rf"(?:[\w.:-]*=)?{_START}")
"""Start of an argument that is a path, or "NAME=PATH"."""

_GENERIC: Final = frozenset(
    (
        *("root", "user", "users", "home", "admin", "administrator", "runner", "ubuntu", "debian", "docker", "nobody"),
        *("localhost", "local", "host", "work", "data", "test", "tests", "build", "bench", "ltrp", "python", "image"),
    )
)
"""Names of users and hosts that tell nothing, and that other words would be mistaken for."""

_SHORTEST: Final = 3

_PLAIN: Final = ("versions", "role", "cost", "finished", "python", "cpu", "device", "keeps_every_patch")
"""Entries of provenance that hold no text of a person's."""


@dataclass(frozen=True)
class Redaction:
    """Names that must not leave this machine.

    Attributes:
        folders: folders whose path may have spaces, longest first.
        users, hosts: names of people and hosts.
    """

    folders: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """Text with shortened paths, and without names of users and hosts."""
        for folder in self.folders:
            text = text.replace(folder, "/" + _name(folder)) if folder in text else text
        text = _QUOTED.sub(lambda found: f"{found[1]}{_name(found[2])}{found[1]}", text)
        return self.names(_PATH.sub(lambda found: _name(found[0]), text))

    def names(self, text: str) -> str:
        """Text without names of users and hosts; paths stay."""
        for names, instead in ((self.hosts, "host"), (self.users, "user")):
            for name in names:
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", instead, text, flags=re.IGNORECASE)
        return text

    def command(self, argv: Sequence[str]) -> list[str]:
        """Arguments of a command, each with shortened paths; the paths of arguments may have spaces."""
        return [self._argument(str(one)) for one in argv]

    def _argument(self, text: str) -> str:
        if not _WHOLE.match(text) or "," in text:
            return self.text(text)
        before, equals, path = text.rpartition("=") if not re.match(_START, text) else ("", "", text)
        return self.names(f"{before}{equals}{_name(path)}")

    def json(self, value: Any) -> Any:
        """Plain JSON with `text` of every string in it; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.json(one) for key, one in value.items()}
        return [self.json(one) for one in value] if isinstance(value, Sequence) else value

    def provenance(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Provenance of a cell to be shared: the model of the CPU stands for the machine's name."""
        out: dict[str, Any] = {}
        for key, one in value.items():
            if key == "command" and isinstance(one, Sequence) and not isinstance(one, str):
                out[key] = self.command(one)
            elif key == "machine":
                out[key] = str(value.get("cpu") or "")
            else:
                out[key] = one if key in _PLAIN else self.json(one)
        return out


def here() -> Redaction:
    """Names of this machine, its user and its home folder."""
    homes = {os.environ.get("HOME", ""), os.environ.get("USERPROFILE", ""), _tried(lambda: str(Path.home()))}
    users = {os.environ.get(key, "") for key in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")} | {
        _tried(getpass.getuser)
    }
    users |= {Path(home).name for home in homes if home}
    hosts = {os.environ.get("HOSTNAME", ""), platform.node(), _tried(socket.gethostname)}
    hosts |= {host.partition(".")[0] for host in hosts}
    # A home such as "/" or "/root" is no prefix to look for.
    return Redaction(_longest(home for home in homes if home.count("/") > 1), _telling(users), _telling(hosts))


def is_private_path(text: str) -> bool:
    """True for an absolute path, or one from a home folder."""
    return bool(re.match(_START, text)) and not text.startswith("..") and _name(text) != text


def _name(path: str) -> str:
    """Last part of a POSIX or Windows path."""
    path = path.removeprefix("file://")
    windows = "\\" in path or re.match(r"[A-Za-z]:", path) is not None
    return (PureWindowsPath(path) if windows else PurePosixPath(path)).name or path


def _telling(names: Iterable[str]) -> tuple[str, ...]:
    return _longest(name for name in names if len(name) >= _SHORTEST and name.lower() not in _GENERIC)


def _longest(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names), key=lambda name: (-len(name), name)))


def _tried(read: Callable[[], str]) -> str:
    """What `read` returns; "" where the machine does not say."""
    try:
        return read()
    except (OSError, KeyError, RuntimeError, ImportError):
        return ""
