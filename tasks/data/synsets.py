"""The 1,000 synsets of ImageNet-1K and their readable names, in the order of timm's classes."""

from __future__ import annotations

from importlib import resources


def imagenet_wnids() -> list[str]:
    """The 1,000 wnids in the order of timm's classes."""
    return resources.files("timm.data._info").joinpath("imagenet_synsets.txt").read_text().split()


def imagenet_classes() -> dict[str, str]:
    """wnid -> unique readable name of the 1,000 classes, in timm's order.

    The name is WordNet's first lemma. Where two classes share it (crane: bird and machine; maillot: two kinds of
    swimsuit), the wnid is appended in parentheses.
    """
    text = resources.files("timm.data._info").joinpath("imagenet_synset_to_lemma.txt").read_text(encoding="utf-8")
    lemmas = dict(line.split("\t", 1) for line in text.splitlines())
    names = {wnid: lemmas[wnid].partition(",")[0].strip() for wnid in imagenet_wnids()}
    found = list(names.values())
    return {wnid: name if found.count(name) == 1 else f"{name} ({wnid})" for wnid, name in names.items()}
