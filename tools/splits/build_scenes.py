"""Make the splits of data sets of whole scenes: ADE20K's 150 categories and Pascal-Context's 59.

Their lists are OpenMMLab's (mmseg's METAINFO), which has them in the order of the masks' values. `ade20k_by_hand.csv`
and `context59_by_hand.csv` give for each category either its own synsets or, in the column `like`, the category of
COCO, COCO-Stuff or ADE20K that means the same and whose line is taken over; and corrections, as in `build_coco80`.

The rule is that of `build_coco80`, with one addition. These lists nest: chair has armchair beside it, cushion has
pillow. A synset counts for the narrowest category alone; if nothing else is left for the wider one, that is narrow.

    python tools/splits/build_scenes.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build_coco80 import BY_HAND as THINGS_BY_HAND
from build_coco80 import HERE, ancestors, read_nouns, rule_reason
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
"""`value` is the category's pixel value in the data set's own masks."""


@dataclass(frozen=True)
class _WordNet:
    """What the rule asks of WordNet and the 1,000 synsets."""

    words: Mapping[str, str]
    above: Mapping[str, set[str]]
    known: Sequence[str]

    @classmethod
    def read(cls, own: Collection[str]) -> _WordNet:
        """With the ancestors of the 1,000 and of the synsets `own`."""
        words, above = read_nouns()
        known = imagenet_wnids()
        return cls(words, {wnid: ancestors(wnid, above) for wnid in {*known, *own}}, known)

    def under(self, own: Collection[str]) -> list[str]:
        """Those of the 1,000 that are, or lie under, one of `own`."""
        return [wnid for wnid in self.known if not self.above[wnid].isdisjoint(own)]

    def below(self, narrower: Collection[str], wider: Collection[str]) -> bool:
        """Whether all of `narrower` lie under `wider`, and are others."""
        return (
            bool(narrower)
            and not set(narrower) & set(wider)
            and all(not self.above[wnid].isdisjoint(wider) for wnid in narrower)
        )


def build() -> dict[Path, str]:
    """The text of each split file."""
    lines = {line["category"]: line for line in read_lines(COCO_STUFF)}
    synsets = {row["category"]: row["synset"].split() for row in read_lines(STUFF_BY_HAND) + read_lines(THINGS_BY_HAND)}
    made: dict[Path, str] = {}
    for path, by_hand, name in ((ADE20K, ADE20K_BY_HAND, "ADE20K"), (CONTEXT, CONTEXT_BY_HAND, "Context-59")):
        rows = _official(name, by_hand)
        own = {row["category"]: row["synset"].split() or list(synsets.get(row["like"], ())) for row in rows}
        new = _lines(rows, own, lines)
        made[path] = write_lines(new, COLUMNS)
        # Context may take a line over from ADE20K; where both have the name, COCO's stands.
        lines = {**{line["category"]: {**line, "of": name} for line in new}, **lines}
        synsets = {**own, **synsets}
    return made


def _lines(rows: Sequence[Line], own: Mapping[str, list[str]], others: Mapping[str, Line]) -> list[Line]:
    """The split's lines, in the order of `rows`; `own` are each category's synsets, `others` the lines to take over."""
    net = _WordNet.read({wnid for synsets in own.values() for wnid in synsets})
    given = {r["category"]: others[r["like"]]["wnids"].split() if r["like"] else r["wnids"].split() for r in rows}
    kept = {n: {w for w in net.under(own[n]) if w in given[n] or not given[n]} for n in own}
    out = []
    for value, row in enumerate(rows, start=1):
        name = row["category"]
        if row["like"]:
            line = _taken_over(name, others[row["like"]])
        else:
            narrower = {n: kept[n] for n in own if n != name and net.below(own[n], own[name])}
            line = _decided(row, own[name], narrower, net)
        out.append({**line, "value": str(value)})
    return out


def _official(dataset: str, by_hand: Path) -> list[Line]:
    """The lines by hand in the official order; ValueError unless they are of just the official categories."""
    rows = {row["category"]: row for row in read_lines(by_hand)}
    names = class_list(dataset).names
    if set(rows) != set(names):
        raise ValueError(f"{by_hand.name} and mmseg's {dataset} differ: {sorted(set(rows) ^ set(names))}")
    return [rows[name] for name in names]


def _taken_over(name: str, line: Line) -> Line:
    """Another list's line under this list's name."""
    source = f"{line.get('of', 'COCO')}'s {line['category']}"
    return {
        "category": name,
        "wnids": line["wnids"],
        "state": line["state"],
        "reason": f"as {source}: {line['reason']}",
    }


def _decided(row: Line, own: Sequence[str], narrower: Mapping[str, Collection[str]], net: _WordNet) -> Line:
    """A line by the rule, or as corrected by hand; `narrower` are the wnids that count for narrower categories."""
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
        reason = f"{rule_reason(own, found, net.words)}; all of them in narrower categories ({names})"
    else:
        reason = rule_reason(own, left, net.words)
    return {"category": row["category"], "wnids": " ".join(wnids), "state": state, "reason": reason}


def main() -> None:
    """Write the split files."""
    for path, text in build().items():
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)


if __name__ == "__main__":
    main()
