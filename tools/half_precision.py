"""Store weights in half precision, in place: half of the bytes, for weights that ship.

    python tools/half_precision.py FILE.safetensors [FILE...]

The model card beside a file gets the new checksum and size, and the flag that makes `ltrp-bench train` write the same
file. Metadata is kept. Files that are in half precision are left alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from ltrp_bench.selectors.checkpoints import load_metadata, save_safetensors, sha256_of

NOTE = (
    "Stored in half precision; all computing is in single precision. Checksums of other weights in the table above "
    "belong to their\nsingle-precision files, which this training started from."
)


def halve(path: Path) -> bool:
    """Rewrite a file; False if no number changes its type."""
    state = load_file(path)
    if not any(value.dtype == torch.float32 for value in state.values()):
        return False
    save_safetensors(path, state, load_metadata(path), dtype=torch.float16)
    return True


def mend_card(card: Path, weights: Path) -> None:
    """Write checksum, size and flag of the converted file into its card."""
    text = card.read_text()
    size = f"{weights.stat().st_size:,} bytes"
    text = re.sub(r"sha256 `[0-9a-f]{64}`, [\d,]+ bytes", f"sha256 `{sha256_of(weights)}`, {size}", text)
    # A training in several stages has a command for each; the last writes the file.
    lines = text.rstrip("\n").split("\n")
    last = max(i for i, line in enumerate(lines) if line.startswith("    ltrp-bench train ") and "--export " in line)
    lines[last] = re.sub(r"(--export \S+)", r"\1 --export-dtype float16", lines[last])
    card.write_text("\n".join([*lines, "", NOTE, ""]))


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        if halve(path):
            mend_card(path.with_suffix(".md"), path)
            print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
