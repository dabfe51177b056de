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
which file belongs where, and where it comes from. Its SHA-256 is compared with the published one, or with the first
digits of it that are part of a file's name. Where none is published, the hash is kept in `SHA256SUMS` at first use, and
a file that changes later is refused. Results depend on the content of a file alone, not on how it was named.

**How to get them.** *fetched*: downloaded at first use. *by hand*: the authors' page sends no file to a program, or no
address is known. *hub*: by its `timm:` name, from the hub's own cache; `HF_HUB_OFFLINE=1` keeps to that cache.

**Other weights.** A file of your own, `timm:MODEL` (any ViT that timm has), or `hf-hub:OWNER/NAME`.

This page is the output of `ltrp-bench weights list --format markdown`. Empty cells are not known. *Trained with* names
[label sets](label-sets.md); "self" is training without labels. Weights keep their authors' licenses, and none of these
ship with ltrp-bench.
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
    lines = ["| name | what it is | trained with | from | license | SHA-256 |", "| --- | --- | --- | --- | --- | --- |"]
    for one in rows:
        got = "hub" if one.on_hub else "fetched" if one.direct else "by hand"
        source = f"[{got}]({one.page})"
        digits = f"`{one.sha256}`{'…' if len(one.sha256) < 64 else ''}" if one.sha256 else ""
        convert = "; converted at first use" if one.convert else ""
        lines.append(
            f"| `{one.name}` | {one.title}{convert} | {one.supervision} | {source} | {one.license} | {digits} |"
        )
    return "\n".join(lines) + "\n"
