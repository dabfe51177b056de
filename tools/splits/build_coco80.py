"""Make `imagenet1k_coco80.csv`: which COCO categories ImageNet-1K's labels contain, and why.

The rule: a category is seen if one of the 1,000 synsets is, or lies under, the category's own synset in
WordNet 3.0. `coco80_by_hand.csv` holds each category's own synset, picked by hand (no homographs), and the
corrections where the rule misleads: a state or the wnids that count, with the reason.

    python tools/splits/build_coco80.py        # needs Debian's wordnet-base
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
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
    """WordNet's nouns: first word of each wnid, and its hypernyms (instance hypernyms too).

    The format is that of wndb(5WN); a wnid is "n" and the byte offset of the synset's line in WordNet 3.0.
    """
    words: dict[str, str] = {}
    above: dict[str, list[str]] = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue  # the licence
        fields = line.partition("|")[0].split()
        wnid, count = "n" + fields[0], int(fields[3], 16)
        pointers = fields[5 + 2 * count :]
        words[wnid] = fields[4].replace("_", " ")
        above[wnid] = ["n" + pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
    return words, above


def ancestors(wnid: str, above: dict[str, list[str]]) -> set[str]:
    """The synset itself and everything above it."""
    found: set[str] = set()
    todo = [wnid]
    while todo:
        here = todo.pop()
        if here not in found:
            found.add(here)
            todo.extend(above[here])
    return found


def build() -> str:
    """The text of the split file."""
    words, above = read_nouns()
    known = imagenet_wnids()
    lines = {wnid: ancestors(wnid, above) for wnid in known}
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
            reason = f"by hand: {row['reason']}" if row["reason"] else rule_reason((own,), under, words)
            writer.writerow([row["category"], row["coco_id"], " ".join(wnids), state, reason])
    return out.getvalue()


def rule_reason(own: Sequence[str], under: Sequence[str], words: Mapping[str, str]) -> str:
    """Why the rule decides as it does for a category of the synsets `own`; `under` are those of the 1,000 it finds."""
    name = ", ".join(f"{words[synset]} ({synset})" for synset in own)
    if not under:
        return f"rule: none of the 1,000 synsets is or lies under {name}"
    if list(under) == list(own):
        return f"rule: {words[own[0]]} is one of the 1,000 synsets"
    names = ", ".join(words[wnid] for wnid in under[:_NAMED])
    more = f" and {len(under) - _NAMED} more" if len(under) > _NAMED else ""
    return f"rule: under {name}: {names}{more}"


def main() -> None:
    """Write the split file."""
    fresh = SPLIT.with_suffix(".new")
    fresh.write_text(build())
    fresh.replace(SPLIT)


if __name__ == "__main__":
    main()
