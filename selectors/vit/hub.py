"""Weights by their names on a hub: from there where there is a network, else from its cache on this disk.

With `HF_HUB_OFFLINE=1`, or where the hub does not answer at once, the cache alone is asked: the hub's own client would
try again for half a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import timm

from ltrp_bench.selectors.checkpoints import HUB, TIMM, resolve
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.vit_files import timm_name
from ltrp_bench.selectors.zoo.network import answers

FILES: Final = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
"""File names under which repositories keep weights, in this order."""


def hub_file(name: str, selector: str | None = None) -> Path:
    """Download weights, or find them in the cache.

    Args:
        name: "timm:vit_small_patch16_224.augreg_in21k_ft_in1k", for the weights that timm knows by this name, or
            "hf-hub:OWNER/NAME" for a repository, whose `config.json` says what the weights are.
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

    return _fetched(fetch, f"{TIMM}{bare}", selector, f"{bare}.safetensors")


def _repository_file(repository: str, selector: str | None) -> Path:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"{HUB}{repository}: write a repository as {HUB}OWNER/NAME")

    def fetch() -> str:
        found, error = None, None
        for file in FILES:
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

    return _fetched(fetch, f"{HUB}{repository}", selector, f"{repository.split('/')[1]}.safetensors")


def _download(repository: str, file: str) -> str:
    from huggingface_hub import constants, hf_hub_download

    offline = constants.HF_HUB_OFFLINE or not answers(constants.ENDPOINT)
    return hf_hub_download(repository, file, local_files_only=offline)


def _fetched(fetch: Callable[[], str], what: str, selector: str | None, file: str) -> Path:
    try:
        return Path(fetch())
    except Exception as error:
        # The hub raises errors of many kinds; the remedy is the same for all.
        remedy = file if selector is None else f"--weights {selector}={file}"
        raise InputError(
            f"cannot fetch the weights of {what} ({type(error).__name__}); without a network give the file, under "
            f"the model's name: {remedy}"
        ) from error
