"""Weights by timm's names: from the hub where there is a network, from its cache on this disk where there is none."""

from __future__ import annotations

from pathlib import Path

import timm

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.vit_files import timm_name


def timm_file(name: str, selector: str) -> Path:
    """Download the pretrained weights of a timm model, or find them in the cache.

    Args:
        name: e.g. "timm:vit_small_patch16_224.augreg_in21k_ft_in1k".
        selector: name of the selector, for error messages.

    Returns:
        The file.

    Raises:
        UsageError: timm has no such model, or no weights for it.
        InputError: no network, and the file is not in the cache.
    """
    from huggingface_hub import hf_hub_download
    from timm.models._hub import download_cached_file

    bare = timm_name(name)
    known = timm.get_pretrained_cfg(bare)
    if known is None or not (known.hf_hub_id or known.url):
        raise UsageError(f"timm has no pretrained weights for {bare!r}")
    try:
        if known.hf_hub_id:
            return Path(hf_hub_download(known.hf_hub_id, known.hf_hub_filename or "model.safetensors"))
        return Path(download_cached_file(known.url, progress=False))
    except Exception as error:
        # The hub raises errors of many kinds; the remedy is the same for all.
        raise InputError(
            f"cannot fetch the weights of timm:{bare} ({type(error).__name__}); without a network give the file, under "
            f"the model's name: --weights {selector}={bare}.safetensors"
        ) from error
