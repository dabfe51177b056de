"""Downloads that go on where they broke off, and a quick answer where there is no network."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.files import digests
from ltrp_bench.selectors.zoo.partial import PartialFile

PATIENCE: Final = 4.0
"""Seconds to wait for the first answer of a host, in which its name is looked up as well."""

STALLED: Final = 30.0
"""Seconds without any data after which a transfer counts as broken."""

RETRIES: Final = 2
"""How often in a row a transfer may break without having brought anything new."""

MOST: Final = 20
"""How often it may break in all."""

LOST: Final = (404, 410)
REFUSED: Final = (401, 403)

SILENCE: Final = 60.0
"""Seconds for which a host that did not answer is not asked again."""

_ANSWERED: Final[set[str]] = set()
_SILENT: Final[dict[str, float]] = {}


def answers(url: str) -> bool:
    """True if the host of an address answers within `PATIENCE` seconds, whatever its answer is."""
    host = "/".join(url.split("/", 3)[:3])
    if time.monotonic() - _SILENT.get(host, -math.inf) < SILENCE:
        return False
    if host not in _ANSWERED:
        # A thread, since a look-up of a name has no limit of its own.
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(_asked(host)), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not any(found):
            _SILENT[host] = time.monotonic()
            return False
        _ANSWERED.add(host)
    return True


def _asked(host: str) -> bool:
    import requests

    try:
        requests.head(host, timeout=PATIENCE, allow_redirects=False).close()
    except requests.RequestException:
        return False
    return True


def download(url: str, path: Path, sha256: str = "", *, md5: str = "", size: int | None = None) -> None:
    """Download a file. It appears under its name only when it is complete and has its hash.

    What arrived of a broken transfer stays beside it, and the next call goes on from there if the server still has the
    same file (an `If-Range` request; see `PartialFile`).

    Args:
        url: its address.
        path: file to write; its folder is made.
        sha256: known hash, or the first digits of it; empty if unknown.
        md5: the same of another hash.
        size: known number of bytes; None if unknown.

    Raises:
        InputError: no network, no such file there, a page instead of a file, another process that fetches it, a
            transfer that broke too often, or another size or hash than the known one.
    """
    import pooch

    if not answers(url):
        raise InputError(f"no network, or no answer from {url}")
    pooch.get_logger().setLevel("ERROR")
    known = f"sha256:{sha256}" if len(sha256) == 64 else None
    try:
        # The transfer itself deals with broken connections; pooch begins anew, once, where the hash is another.
        manager = pooch.create(
            path.parent, base_url="", registry={path.name: known}, urls={path.name: url}, retry_if_failed=1
        )
        manager.fetch(path.name, downloader=_Transfer(path, size))
    except ValueError as error:  # pooch's
        raise InputError(_another(url, "SHA-256", sha256)) from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    for kind, digits, digest in (("SHA-256", sha256, digests.sha256_of), ("MD5", md5, digests.md5_of)):
        if digits and not digest(path).startswith(digits):
            path.unlink()
            raise InputError(_another(url, kind, digits))


def _another(url: str, kind: str, known: str) -> str:
    return f"what {url} sends is not the known file: its {kind} is not {known}"


class _Transfer:
    """Pooch's download by HTTP: with a bar in a terminal, and from where the last one broke off.

    Args:
        path: the file that is to be.
        size: known number of its bytes; None if unknown.
    """

    def __init__(self, path: Path, size: int | None) -> None:
        self.path = path
        self.size = size

    def __call__(self, url: str, output_file: Any, manager: Any) -> None:
        from requests import RequestException

        with PartialFile.of(self.path, url) as partial:
            in_vain = 0
            for _ in range(MOST + 1):
                had = partial.length()
                try:
                    self._go_on(url, partial)
                    partial.move(Path(output_file))
                    return
                except RequestException as error:
                    in_vain = 0 if partial.length() > had else in_vain + 1
                    broken = error
                    if in_vain > RETRIES:
                        break
                    time.sleep(in_vain)
            kept = "; the next attempt goes on from what has arrived" if partial.mark and partial.length() else ""
            raise InputError(f"the download of {url} broke too often ({type(broken).__name__}){kept}") from broken

    def _go_on(self, url: str, partial: PartialFile) -> None:
        """Ask for what is missing, and write it. Raises `RequestException` if the transfer breaks."""
        import requests
        from requests.exceptions import ConnectionError as Broken

        if partial.is_complete():
            return
        head = {"Accept-Encoding": "identity", **partial.conditions()}
        with requests.get(url, stream=True, timeout=(PATIENCE, STALLED), headers=head) as answer:
            if answer.status_code == 416:  # a range beyond the end: it was never a part of this file
                partial.drop()
                raise Broken("not a part of this file")
            _check(url, answer)
            if answer.status_code != 206:
                partial.begin(answer.headers)
            elif not partial.continues(answer.headers):
                partial.drop()
                raise Broken("another range than the one asked for")
            if partial.total is not None:
                self._check_size(url, partial, partial.total)
            _write(answer, partial, url.rsplit("/", 1)[-1])
        if partial.total is not None and partial.length() < partial.total:
            raise Broken("fewer bytes than announced")
        self._check_size(url, partial, partial.length())

    def _check_size(self, url: str, partial: PartialFile, found: int) -> None:
        if self.size not in (None, found):
            partial.drop()
            raise InputError(f"what {url} sends is not the known file: it has {found:,} bytes, not {self.size:,}")


def _write(answer: Any, partial: PartialFile, name: str) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_stderr(), transient=True) as progress, partial.file.open("ab") as file:
        bar = progress.add_task(name, total=partial.total, completed=partial.length())
        for chunk in answer.iter_content(1 << 16):
            file.write(chunk)
            progress.advance(bar, len(chunk))


def _check(url: str, answer: Any) -> None:
    if answer.status_code in LOST:
        raise InputError(f"there is no file at {url} any more (HTTP {answer.status_code})")
    if answer.status_code in REFUSED:
        raise InputError(f"{url} refuses the download (HTTP {answer.status_code})")
    answer.raise_for_status()
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise InputError(f"{url} shows a page instead of sending a file")


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def check_timm_model(name: str) -> None:
    """Raise `InputError` at once if weights that timm knows by a name cannot be had: not cached, and no network.

    timm itself knows where they are, but its import takes seconds. Most are in repositories of its own that have the
    model's name. Where the cache holds repositories of others or files of torch's hub, the weights may be among them,
    so that timm has to be asked.

    Args:
        name: "vit_small_patch16_224.dino"; the tag may be missing.
    """
    from huggingface_hub import constants

    folders = (path.name for path in Path(constants.HF_HUB_CACHE).glob("models--*"))
    if may_be_in(folders, name) or _torch_hub_has_files():
        return
    if (why := why_offline()) is not None:
        bare = name if "." in name else f"{name}.TAG"
        raise InputError(
            f"{why}, and timm:{name} is not in the hub's cache: give the weights as a file, under the model's name: "
            f"{bare}.safetensors"
        )


def may_be_in(folders: Iterable[str], name: str) -> bool:
    """True if one of the folders of the hub's cache may hold the weights of a model of timm.

    Args:
        folders: names of folders, "models--OWNER--NAME".
        name: name of the model; its tag may be missing.
    """
    # "quickgelu" models take their weights from those without.
    own = f"models--timm--{name.replace('_quickgelu', '')}"
    for folder in folders:
        fits = folder == own or ("." not in name and folder.startswith(f"{own}."))
        if fits or not folder.startswith("models--timm--"):
            return True
    return False


def _torch_hub_has_files() -> bool:
    """True if torch's hub has kept any weights."""
    home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")
    return any((home / "hub" / "checkpoints").expanduser().glob("*"))


def why_offline() -> str | None:
    """Why the hub cannot be asked; None if it can."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return None if answers(constants.ENDPOINT) else f"no answer from {constants.ENDPOINT}"


def check_repository(repository: str, file: str) -> None:
    """Raise `InputError` at once if a repository is not in the hub's cache and the hub cannot be asked.

    Args:
        repository: "OWNER/NAME".
        file: name under which the weights are recognized when they are given as a file; empty if any will do.
    """
    from huggingface_hub import constants

    if (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir():
        return
    if (why := why_offline()) is not None:
        under = f", under the model's name: {file}" if file else ""
        raise InputError(
            f"{why}, and {repository} is not in the hub's cache: give the weights of {constants.ENDPOINT}/{repository} "
            f"as a file{under}"
        )
