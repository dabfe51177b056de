"""Downloads with few retries, and a quick answer where there is no network."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.files import digests

PATIENCE: Final = 4.0
"""Seconds to wait for the first answer of a host, in which its name is looked up as well."""

STALLED: Final = 30.0
"""Seconds without any data after which a transfer counts as broken."""

RETRIES: Final = 2
"""How often a broken transfer is begun anew."""

LOST: Final = (404, 410)
REFUSED: Final = (401, 403)


_ANSWERED: Final[set[str]] = set()


def answers(url: str) -> bool:
    """True if the host of an address answers within `PATIENCE` seconds, whatever its answer is."""
    host = "/".join(url.split("/", 3)[:3])
    if host not in _ANSWERED:
        # A thread, since a look-up of a name has no limit of its own.
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(_asked(host)), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not any(found):
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


def download(url: str, path: Path, sha256: str = "") -> None:
    """Download a file. It appears under its name only when it is complete and has its hash.

    Args:
        url: its address.
        path: file to write; its folder is made.
        sha256: known hash, or the first digits of it; empty if unknown.

    Raises:
        InputError: no network, no such file there, a page instead of a file, a transfer that broke `RETRIES` times, or
            another hash than the known one.
    """
    import pooch
    from requests import RequestException

    if not answers(url):
        raise InputError(f"no network, or no answer from {url}")
    pooch.get_logger().setLevel("ERROR")
    known = f"sha256:{sha256}" if len(sha256) == 64 else None
    try:
        manager = pooch.create(
            path.parent, base_url="", registry={path.name: known}, urls={path.name: url}, retry_if_failed=RETRIES
        )
        manager.fetch(path.name, downloader=_Transfer())
        if not digests.sha256_of(path).startswith(sha256):
            path.unlink()
            raise ValueError(path)
    except RequestException as error:
        raise InputError(f"the download of {url} broke {RETRIES + 1} times ({type(error).__name__})") from error
    except ValueError as error:  # pooch's, after its retries
        raise InputError(f"what {url} sends is not the known file: its SHA-256 is not {sha256}") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


class _Transfer:
    """Pooch's download by HTTP, with a bar in a terminal; answers that no retry can change are errors at once."""

    def __call__(self, url: str, output_file: Any, manager: Any) -> None:
        import requests
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        with requests.get(
            url, stream=True, timeout=(PATIENCE, STALLED), headers={"Accept-Encoding": "identity"}
        ) as answer:
            _check(url, answer)
            total = answer.headers.get("Content-Length")
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            with Progress(*columns, console=_stderr(), transient=True) as progress, open(output_file, "wb") as file:  # noqa: PTH123
                bar = progress.add_task(url.rsplit("/", 1)[-1], total=None if total is None else int(total))
                for chunk in answer.iter_content(1 << 18):
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
    if (why := _offline()) is not None:
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


def _offline() -> str | None:
    """Why the hub cannot be asked; None if it can."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return None if answers(constants.ENDPOINT) else f"no answer from {constants.ENDPOINT}"


def check_repository(repository: str, file: str) -> None:
    """Raise `InputError` at once if a repository is not in the hub's cache and the hub cannot be asked.

    Args:
        repository: "OWNER/NAME".
        file: name under which the weights are recognized when they are given as a file.
    """
    from huggingface_hub import constants

    if (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir():
        return
    if (why := _offline()) is not None:
        raise InputError(
            f"{why}, and {repository} is not in the hub's cache: give the weights of {constants.ENDPOINT}/{repository} "
            f"as a file, under the model's name: {file}"
        )
