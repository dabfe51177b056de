"""The page of official checkpoints, docs/zoo.md, from the table."""

from __future__ import annotations

from importlib.metadata import entry_points
from itertools import groupby
from typing import Final

from ltrp_bench.selectors.zoo.table import Checkpoint, checkpoints

NOT_PUBLISHED: Final = {
    "cropr": "its authors publish code, no weights; some for `shapes` ship, and `ltrp-bench train cropr` makes others",
    "iared2": "its authors' page announces code and names no weights",
}
"""Selectors whose authors publish no weights, with what there is instead."""

HEAD: Final = """# Official checkpoints

Published weights of selectors and of the models of tasks. `--weights NAME` and `--model-weights NAME` take one by its
name; the part after the equals sign is enough:

```bash
ltrp-bench weights list evit                 # the checkpoints of a selector or task
ltrp-bench weights list dino=vit-s16         # all that is known of one
ltrp-bench weights fetch dino=vit-s16        # into the cache; a run does so by itself
ltrp-bench weights verify                    # hashes of what is in the cache
ltrp-bench run --selector dino --weights dino=vit-s16 --task coco-det --model-weights rtmdet-tiny --data /data/coco
```

The same names are understood in [sweep files](sweeps.md) (`weights:`, `model_weights:`) and by `create_selector` and
`create_task` in Python. A file on this disk of that name comes first.

**Cache.** `$LTRP_BENCH_CACHE`, or else the operating system's folder for caches (Linux: `~/.cache/ltrp-bench`). There a
checkpoint lies in `KIND/SHORT/FILE`. Without a network, put it there by hand; a run that misses one says within seconds
which file belongs where, and where it comes from. Its hash is compared with the known one, of which only the first
digits may be known. Where none is known, the SHA-256 is kept in `SHA256SUMS` at first use, and a file that changes
later is refused. Results depend on the content of a file alone, not on how it was named. What arrived of a broken
download stays as `FILE.part`, and the next attempt goes on from there if the server still has the same file.

**How to get them.** *automatic*: downloaded at first use. *Hugging Face*: from the Hugging Face Hub into the hub's own
cache; `HF_HUB_OFFLINE=1` keeps to that cache. *by hand*: the authors' page sends no file to a program, or no address is
known.

**Other weights.** A file of your own, `timm:MODEL` (any ViT that timm has), or `hf-hub:OWNER/NAME`. Detectors and
segmentors take `hf-hub:OWNER/NAME` too, if the repository has one file of weights, or else `hf-hub:OWNER/NAME/FILE`.

This page is the output of `ltrp-bench weights list --format markdown`. *Trained with* names
[label sets](label-sets.md); "self" is training without labels. Weights keep their authors' licenses, and none of these
ship with ltrp-bench.

**Sizes and hashes.** An empty cell means that no public source was found for the fact; most authors publish neither.
Sizes are in units of 10⁶ bytes. One that begins with "≈" is computed, as four bytes for each parameter of the model.
Hashes are SHA-256 unless "MD5" stands before them, and cut to twelve digits here; where eight or fewer are shown, no
more are known. File names of DeiT, torchvision and OpenMMLab end in the first eight digits of the SHA-256.
`ltrp-bench weights list NAME` shows all digits, and who states them: the authors, or other projects that pin the same
file.
"""


def zoo_page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for kind, group in groupby(checkpoints(), key=lambda one: one.kind):
        rows = list(group)
        owners = ", ".join(f"`{owner}`" for owner in rows[0].used_by)
        parts.append(f"## {kind}\n\nFor {owners}.\n\n{_table(rows)}")
    owners_of_any = {owner for one in checkpoints() for owner in one.used_by}
    without = [f"- `{name}`: {why}." for name, why in NOT_PUBLISHED.items()]
    selectors = sorted(
        point.name
        for point in entry_points(group="ltrp_bench.selectors")
        if point.value.startswith("ltrp_bench.") and point.name not in {*owners_of_any, *NOT_PUBLISHED}
    )
    names = ", ".join(f"`{name}`" for name in selectors)
    parts.append("## Without published weights\n\n" + "\n".join(without) + f"\n- Selectors that need none: {names}.\n")
    return "\n".join(parts)


def _table(rows: list[Checkpoint]) -> str:
    titles = ("name", "what it is", "trained with", "how to get", "MB", "license", "hash")
    lines = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for one in rows:
        source = f"[{way_to_get(one)}]({one.page})"
        convert = "; converted at first use" if one.convert else ""
        cells = (f"`{one.name}`", f"{one.title}{convert}", one.supervision, source, _size(one), one.license, _hash(one))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def way_to_get(one: Checkpoint) -> str:
    """How to get a checkpoint, in a word or two."""
    return "Hugging Face" if one.on_hub else "automatic" if one.direct else "by hand"


def _size(one: Checkpoint) -> str:
    """In units of 10⁶ bytes."""
    return "" if one.size is None else f"{'≈ ' if one.approximate else ''}{one.size / 1e6:.1f}"


def _hash(one: Checkpoint) -> str:
    digits = one.sha256 or one.md5
    return f"{'' if one.sha256 else 'MD5 '}`{digits[:12]}`…" if digits else ""
