"""WordNet's nouns and the synsets of a label set: which of them lie under a category, and how the reason reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ltrp_bench.tasks.data.synsets import imagenet_wnids

WORDNET = Path("/usr/share/wordnet/data.noun")
_NAMED = 4


@cache
def read_nouns(path: Path = WORDNET) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Reads WordNet's nouns: wnid -> first lemma, and wnid -> hypernyms (instance hypernyms, too).

    The format is that of wndb(5WN); a wnid is "n" and the byte offset of the synset's line in WordNet 3.0.
    """
    lemmas: dict[str, str] = {}
    hypernyms: dict[str, list[str]] = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue  # the licence
        fields = line.partition("|")[0].split()
        wnid, count = "n" + fields[0], int(fields[3], 16)
        pointers = fields[5 + 2 * count :]
        lemmas[wnid] = fields[4].replace("_", " ")
        hypernyms[wnid] = ["n" + pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
    return lemmas, hypernyms


def ancestors(wnid: str, hypernyms: Mapping[str, Iterable[str]]) -> set[str]:
    """The synset itself and all its direct and indirect hypernyms."""
    found: set[str] = set()
    todo = [wnid]
    while todo:
        current = todo.pop()
        if current not in found:
            found.add(current)
            todo.extend(hypernyms[current])
    return found


@dataclass(frozen=True)
class LabelNet:
    """WordNet and the synsets of a label set.

    Attributes:
        known: the label set's wnids.
        lemmas: wnid -> first lemma.
        hypernyms: wnid -> hypernyms.
    """

    known: Sequence[str]
    lemmas: Mapping[str, str]
    hypernyms: Mapping[str, Sequence[str]]
    _above: dict[str, set[str]] = field(default_factory=dict, repr=False)
    _under: dict[str, list[int]] = field(default_factory=dict, repr=False)

    def above(self, wnid: str) -> set[str]:
        """The synset and its ancestors."""
        if wnid not in self._above:
            self._above[wnid] = ancestors(wnid, self.hypernyms)
        return self._above[wnid]

    def under(self, own: Collection[str]) -> list[str]:
        """Those of the known synsets that are one of `own` or lie under it."""
        if not self._under:
            for position, wnid in enumerate(self.known):
                for ancestor in self.above(wnid):
                    self._under.setdefault(ancestor, []).append(position)
        return [self.known[i] for i in sorted({i for synset in own for i in self._under.get(synset, ())})]

    def below(self, narrower: Collection[str], wider: Collection[str]) -> bool:
        """True if all synsets of `narrower` lie under `wider` and none is in both."""
        return (
            bool(narrower)
            and not set(narrower) & set(wider)
            and all(not self.above(wnid).isdisjoint(wider) for wnid in narrower)
        )

    def topmost(self, wnids: Collection[str]) -> list[str]:
        """Those of `wnids` that lie under no other of them."""
        return [wnid for wnid in wnids if len(self.above(wnid).intersection(wnids)) == 1]

    def check(self, category: str, wnids: Iterable[str]) -> None:
        """Raises ValueError if one of `wnids`, which are given by hand, is not in the label set."""
        unknown = sorted(set(wnids) - set(self.known))
        if unknown:
            raise ValueError(f"{category}: {unknown} are not among the {len(self.known):,} synsets")

    def rule_reason(self, own: Sequence[str], under: Sequence[str]) -> str:
        """Explains the rule's decision for a category.

        Args:
            own: synsets of the category.
            under: those of the known synsets that are one of `own` or lie under it.
        """
        name = ", ".join(f"{self.lemmas[synset]} ({synset})" for synset in own)
        if not under:
            return f"rule: none of the {len(self.known):,} synsets is or lies under {name}"
        if list(under) == list(own):
            return f"rule: {self.lemmas[own[0]]} is one of the {len(self.known):,} synsets"
        names = ", ".join(self.lemmas[wnid] for wnid in under[:_NAMED])
        others = f" and {len(under) - _NAMED} more" if len(under) > _NAMED else ""
        return f"rule: under {name}: {names}{others}"


@cache
def label_net(label_set: str) -> LabelNet:
    """WordNet with the synsets of "imagenet1k", "imagenet12k" or "imagenet21k"."""
    return LabelNet(imagenet_wnids(label_set), *read_nouns())
