"""Weights by their names on a hub: from there where there is a network, else from its cache on this disk.

With `HF_HUB_OFFLINE=1`, or where the hub does not answer at once, the cache alone is asked: the hub's own client would
try again for half a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import timm

from ltrp_bench.selectors.checkpoints import HUB, TIMM, resolve
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.file_kinds import SUFFIXES
from ltrp_bench.selectors.vit.vit_files import timm_name
from ltrp_bench.selectors.zoo.network import check_repository, why_offline

Found = TypeVar("Found")

FILES: Final = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
"""File names under which repositories keep weights, in this order."""


def hub_file(name: str, selector: str | None = None) -> Path:
    """Download weights, or find them in the cache.

    Args:
        name: "timm:vit_small_patch16_224.augreg_in21k_ft_in1k", for the weights that timm knows by this name, or
            "hf-hub:OWNER/NAME" for a repository, whose `config.json` says what the weights are, or
            "hf-hub:OWNER/NAME/FILE" for one of its files.
        selector: name of the selector that asks for them, for error messages.

    Returns:
        The file.

    Raises:
        UsageError: timm has no such model, or no weights for it; or no name of a repository.
        InputError: no network, and the file is not in the cache.
    """
    return _timm_file(name, selector) if name.startswith(TIMM) else _repository_file(name.removeprefix(HUB), selector)


def located(weights: str | Path) -> Path:
    """The file of weights given as a path, as the tag of bundled weights, or by their name on a hub.

    Raises:
        InputError, UsageError: an unknown tag, or as of `hub_file`.
    """
    if str(weights).startswith(HUB):
        repository, _ = _parts(str(weights).removeprefix(HUB))
        check_repository(repository, f"{repository.split('/')[1]}.safetensors")
    return hub_file(str(weights)) if str(weights).startswith((TIMM, HUB)) else resolve(weights)


def _timm_file(name: str, selector: str | None) -> Path:
    from timm.models._hub import download_cached_file

    bare = timm_name(name)
    known = timm.get_pretrained_cfg(bare)
    if known is None or not (known.hf_hub_id or known.url):
        raise UsageError(f"timm has no pretrained weights for {bare!r}")
    repository, url = known.hf_hub_id, known.url

    def fetch() -> str:
        if repository:
            return _download(repository, known.hf_hub_filename or FILES[0])
        return str(download_cached_file(url, progress=False))

    return Path(_fetched(fetch, f"{TIMM}{bare}", selector, f"{bare}.safetensors"))


def checkpoint_file(weights: str | Path) -> Path:
    """The file of weights of any model: a path, the tag of bundled weights, or a repository's file of weights.

    Args:
        weights: a path or tag; "hf-hub:OWNER/NAME" for a repository with one file of weights, or with the same ones
            under several of the usual names; or "hf-hub:OWNER/NAME/FILE".

    Raises:
        UsageError: the repository has several files of weights and none is named, or has none.
        InputError: no network, and the repository is not in the cache; or an unknown tag.
    """
    if not str(weights).startswith(HUB):
        return located(weights)
    repository, file = _parts(str(weights).removeprefix(HUB))
    check_repository(repository, "")
    if not file:
        listed = _fetched(lambda: _listed(repository), f"{HUB}{repository}", None, "weights.pth")
        file = _only_weights(repository, listed)
    return Path(_fetched(lambda: _download(repository, file), f"{HUB}{repository}", None, Path(file).name))


def _parts(name: str) -> tuple[str, str]:
    """ "OWNER/NAME" and the file of a name on the hub; the latter is empty if it names none."""
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise UsageError(f"{HUB}{name}: write a repository as {HUB}OWNER/NAME")
    return f"{owner}/{repository}", file


def _only_weights(repository: str, listed: Sequence[str]) -> str:
    found = [file for file in listed if file.endswith(SUFFIXES)]
    usual = [file for file in FILES if file in found]
    if usual and len(usual) == len(found):
        return usual[0]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{HUB}{repository} has no file of weights ({', '.join(SUFFIXES)})")
    some = ", ".join(sorted(found)[:5]) + (", …" if len(found) > 5 else "")
    raise UsageError(f"{HUB}{repository} has several files of weights ({some}): name one, as {HUB}{repository}/FILE")


def _listed(repository: str) -> list[str]:
    """Files of a repository: on the hub, or in the cache where the hub is not asked."""
    from huggingface_hub import HfApi, snapshot_download

    if why_offline() is None:
        return list(HfApi().list_repo_files(repository))
    folder = Path(snapshot_download(repository, local_files_only=True))
    return [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]


def _repository_file(name: str, selector: str | None) -> Path:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, named = _parts(name)

    def fetch() -> str:
        found, error = None, None
        for file in (named,) if named else FILES:
            try:
                found = _download(repository, file)
                break
            except (EntryNotFoundError, LocalEntryNotFoundError) as one:
                error = error or one
        if found is None:
            raise error or FileNotFoundError(repository)
        for file in ("config.json", "preprocessor_config.json", "open_clip_config.json"):
            try:  # they come to lie beside the weights
                _download(repository, file)
            except (EntryNotFoundError, LocalEntryNotFoundError):
                continue
        return found

    return Path(_fetched(fetch, f"{HUB}{name}", selector, f"{repository.split('/')[1]}.safetensors"))


def _download(repository: str, file: str) -> str:
    from huggingface_hub import hf_hub_download

    return hf_hub_download(repository, file, local_files_only=why_offline() is not None)


def _fetched(fetch: Callable[[], Found], what: str, selector: str | None, file: str) -> Found:
    try:
        return fetch()
    except Exception as error:
        # The hub raises errors of many kinds; the remedy is the same for all.
        remedy = file if selector is None else f"--weights {selector}={file}"
        raise InputError(
            f"cannot fetch the weights of {what} ({type(error).__name__}); without a network give the file, under "
            f"the model's name: {remedy}"
        ) from error
