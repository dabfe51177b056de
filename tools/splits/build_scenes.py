"""Builds the splits of data sets of whole scenes: ADE20K's 150 categories and Pascal-Context's 59.

The categories are those of mmseg's METAINFO, in the order of the mask values. `ade20k_by_hand.csv` and
`context59_by_hand.csv` hold for each category either its synsets or, in the column `like`, a category of COCO,
COCO-Stuff or ADE20K with the same meaning, whose line is copied; and corrections, as in `build_coco80`.

The rule is that of `build_coco80` with one addition, since categories overlap: chair and armchair, cushion and pillow.
A synset counts for the narrowest category alone. If none is left for the wider category, its state is narrow.

    python tools/splits/build_scenes.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build_coco80 import BY_HAND as THINGS_BY_HAND
from build_coco80 import HERE, ancestors, read_nouns, rule_reason, write_files
from build_masks import BY_HAND as STUFF_BY_HAND
from build_masks import COCO_STUFF, Line, read_lines, write_lines

from ltrp_bench.tasks.data.class_lists import class_list
from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import SPLITS

ADE20K_BY_HAND = HERE / "ade20k_by_hand.csv"
ADE20K = SPLITS / "imagenet1k_ade20k.csv"
CONTEXT_BY_HAND = HERE / "context59_by_hand.csv"
CONTEXT = SPLITS / "imagenet1k_context59.csv"
COLUMNS = ("category", "value", "wnids", "state", "reason")
"""Columns of the split files; `value` is the category's value in the masks."""


@dataclass(frozen=True)
class _WordNet:
    """WordNet and the 1,000 synsets.

    Attributes:
        lemmas: wnid -> first lemma.
        above: wnid -> the synset and its ancestors.
        known: the 1,000 wnids.
    """

    lemmas: Mapping[str, str]
    above: Mapping[str, set[str]]
    known: Sequence[str]

    @classmethod
    def read(cls, own: Collection[str]) -> _WordNet:
        """Reads WordNet with the ancestors of the 1,000 synsets and of `own`."""
        lemmas, hypernyms = read_nouns()
        known = imagenet_wnids()
        return cls(lemmas, {wnid: ancestors(wnid, hypernyms) for wnid in {*known, *own}}, known)

    def under(self, own: Collection[str]) -> list[str]:
        """Those of the 1,000 synsets that are one of `own` or lie under it."""
        return [wnid for wnid in self.known if not self.above[wnid].isdisjoint(own)]

    def below(self, narrower: Collection[str], wider: Collection[str]) -> bool:
        """True if all synsets of `narrower` lie under `wider` and none is in both."""
        return (
            bool(narrower)
            and not set(narrower) & set(wider)
            and all(not self.above[wnid].isdisjoint(wider) for wnid in narrower)
        )


def build() -> dict[Path, str]:
    """Text of each split file."""
    lines = {line["category"]: line for line in read_lines(COCO_STUFF)}
    synsets = {row["category"]: row["synset"].split() for row in read_lines(STUFF_BY_HAND) + read_lines(THINGS_BY_HAND)}
    made: dict[Path, str] = {}
    for path, by_hand, name in ((ADE20K, ADE20K_BY_HAND, "ADE20K"), (CONTEXT, CONTEXT_BY_HAND, "Context-59")):
        rows = _official(name, by_hand)
        own = {row["category"]: row["synset"].split() or list(synsets.get(row["like"], ())) for row in rows}
        new = _lines(rows, own, lines)
        made[path] = write_lines(new, COLUMNS)
        # Context may copy a line of ADE20K; a line of COCO with the same name takes precedence.
        lines = {**{line["category"]: {**line, "of": name} for line in new}, **lines}
        synsets = {**own, **synsets}
    return made


def _lines(rows: Sequence[Line], own: Mapping[str, list[str]], others: Mapping[str, Line]) -> list[Line]:
    """Lines of a split in the order of `rows`.

    Args:
        rows: categories and corrections by hand.
        own: category -> its synsets.
        others: category -> line of other splits, which may be copied.
    """
    net = _WordNet.read({wnid for synsets in own.values() for wnid in synsets})
    given = {r["category"]: others[r["like"]]["wnids"].split() if r["like"] else r["wnids"].split() for r in rows}
    kept = {n: {w for w in net.under(own[n]) if w in given[n] or not given[n]} for n in own}
    out = []
    for value, row in enumerate(rows, start=1):
        name = row["category"]
        if row["like"]:
            line = _copied(name, others[row["like"]])
        else:
            narrower = {n: kept[n] for n in own if n != name and net.below(own[n], own[name])}
            line = _decided(row, own[name], narrower, net)
        out.append({**line, "value": str(value)})
    return out


def _official(dataset: str, by_hand: Path) -> list[Line]:
    """Lines by hand in the official order; ValueError unless they have exactly the official categories."""
    rows = {row["category"]: row for row in read_lines(by_hand)}
    names = class_list(dataset).names
    if set(rows) != set(names):
        raise ValueError(f"{by_hand.name} and mmseg's {dataset} differ: {sorted(set(rows) ^ set(names))}")
    return [rows[name] for name in names]


def _copied(name: str, line: Line) -> Line:
    """Line of another split under the name of a category of this one."""
    origin = f"{line.get('of', 'COCO')}'s {line['category']}"
    return {
        "category": name,
        "wnids": line["wnids"],
        "state": line["state"],
        "reason": f"as {origin}: {line['reason']}",
    }


def _decided(row: Line, own: Sequence[str], narrower: Mapping[str, Collection[str]], net: _WordNet) -> Line:
    """Line by the rule, or as corrected by hand.

    Args:
        row: category and corrections by hand.
        own: its synsets.
        narrower: narrower category -> wnids that count for it.
        net: WordNet.
    """
    found = net.under(own)
    left = [wnid for wnid in found if not any(wnid in theirs for theirs in narrower.values())]
    state = row["state"] or ("seen" if left else "narrow" if found else "unseen")
    wnids = row["wnids"].split() or ((left or found) if state != "unseen" else [])
    if not set(wnids) <= set(net.known):
        raise ValueError(f"{row['category']}: {sorted(set(wnids) - set(net.known))} are not among the 1,000 synsets")
    if row["reason"]:
        reason = f"by hand: {row['reason']}"
    elif found and not left:
        names = ", ".join(n for n, theirs in narrower.items() if theirs)
        reason = f"{rule_reason(own, found, net.lemmas)}; all of them in narrower categories ({names})"
    else:
        reason = rule_reason(own, left, net.lemmas)
    return {"category": row["category"], "wnids": " ".join(wnids), "state": state, "reason": reason}


if __name__ == "__main__":
    write_files(build())
