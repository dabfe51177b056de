"""Synsets of ImageNet-1K, 12k and 21k, and readable names of ImageNet-1K's classes, from the lists that timm ships."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

_FILES: Final = {
    "imagenet1k": ("imagenet_synsets.txt",),
    "imagenet12k": ("imagenet12k_synsets.txt",),
    # The lists of 21k and 22k differ by a few synsets. None has all of the others, and the file of a model does not
    # always say which one it was trained with.
    "imagenet21k": (
        "imagenet21k_goog_synsets.txt",
        "imagenet22k_synsets.txt",
        "imagenet22k_ms_synsets.txt",
        "imagenet21k_miil_synsets.txt",
        "imagenet21k_miil_w21_synsets.txt",
    ),
}


def imagenet_wnids(label_set: str = "imagenet1k") -> list[str]:
    """The wnids of "imagenet1k", "imagenet12k" or "imagenet21k" (a union of lists), in the order of timm's classes."""
    texts = (_read(name) for name in _FILES[label_set])
    return list(dict.fromkeys(wnid for text in texts for wnid in text.split()))


def imagenet_classes() -> dict[str, str]:
    """wnid -> unique readable name of the 1,000 classes, in timm's order.

    The name is WordNet's first lemma. Where two classes share it (crane: bird and machine; maillot: two kinds of
    swimsuit), the wnid is appended in parentheses.
    """
    names = {wnid: lemmas[0] for wnid, lemmas in imagenet_lemmas().items()}
    found = list(names.values())
    return {wnid: name if found.count(name) == 1 else f"{name} ({wnid})" for wnid, name in names.items()}


def imagenet_lemmas() -> dict[str, tuple[str, ...]]:
    """wnid -> all of WordNet's lemmas of the 1,000 classes, in timm's order."""
    lemmas = dict(line.split("\t", 1) for line in _read("imagenet_synset_to_lemma.txt").splitlines())
    return {wnid: tuple(name.strip() for name in lemmas[wnid].split(",")) for wnid in imagenet_wnids()}


def _read(name: str) -> str:
    """Text of one of timm's lists. timm is not imported: that would load torch, which tables of results do not need."""
    spec = find_spec("timm")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise ModuleNotFoundError("No module named 'timm'", name="timm")
    return (Path(folders[0]) / "data" / "_info" / name).read_text(encoding="utf-8")
