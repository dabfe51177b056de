"""Builds `imagenet1k_coco80.csv`: which COCO categories ImageNet-1K's labels contain, and why.

The rule: a category is seen if one of the 1,000 synsets is the category's synset or one of its hyponyms in WordNet 3.0.
`coco80_by_hand.csv` holds each category's synset, chosen by hand to exclude homographs, and corrections where the rule
is misleading: a state or the wnids that count, with the reason.

    python tools/splits/build_coco80.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ltrp_bench.tasks.data.synsets import imagenet_wnids
from ltrp_bench.tasks.splits.split import SPLITS

WORDNET = Path("/usr/share/wordnet/data.noun")
HERE = Path(__file__).parent
BY_HAND = HERE / "coco80_by_hand.csv"
SPLIT = SPLITS / "imagenet1k_coco80.csv"
COLUMNS = ("category", "coco_id", "wnids", "state", "reason")
_NAMED = 4


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


def build() -> str:
    """Text of the split file."""
    lemmas, hypernyms = read_nouns()
    known = imagenet_wnids()
    lines = {wnid: ancestors(wnid, hypernyms) for wnid in known}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    with BY_HAND.open(newline="") as file:
        for row in csv.DictReader(file):
            own = row["synset"]
            under = [wnid for wnid in known if own in lines[wnid]]
            wnids = row["wnids"].split() or under
            unknown = set(wnids) - set(known)
            if unknown:
                raise ValueError(f"{row['category']}: {sorted(unknown)} are not among the 1,000 synsets")
            state = row["state"] or ("seen" if under else "unseen")
            reason = f"by hand: {row['reason']}" if row["reason"] else rule_reason((own,), under, lemmas)
            writer.writerow([row["category"], row["coco_id"], " ".join(wnids), state, reason])
    return out.getvalue()


def rule_reason(own: Sequence[str], under: Sequence[str], lemmas: Mapping[str, str]) -> str:
    """Explains the rule's decision for a category.

    Args:
        own: synsets of the category.
        under: those of the 1,000 synsets that are one of `own` or lie under it.
        lemmas: wnid -> first lemma.
    """
    name = ", ".join(f"{lemmas[synset]} ({synset})" for synset in own)
    if not under:
        return f"rule: none of the 1,000 synsets is or lies under {name}"
    if list(under) == list(own):
        return f"rule: {lemmas[own[0]]} is one of the 1,000 synsets"
    names = ", ".join(lemmas[wnid] for wnid in under[:_NAMED])
    others = f" and {len(under) - _NAMED} more" if len(under) > _NAMED else ""
    return f"rule: under {name}: {names}{others}"


def write_files(texts: Mapping[Path, str]) -> None:
    """Writes each text to its path, replacing the file at once."""
    for path, text in texts.items():
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)


if __name__ == "__main__":
    write_files({SPLIT: build()})
