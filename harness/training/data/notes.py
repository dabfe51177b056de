"""What a training assumed about its images and which of them it left out, kept in files of its folder.

Data loader processes and resumed runs add to the same file. What it holds at the end depends on the images alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SKIPPED = "skipped_images.jsonl"
ASSUMED = "assumed.json"


class TrainingNotes:
    """Notes of the training in `folder`, which exists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def assume(self, lines: Sequence[str]) -> None:
        """Keep what was assumed; nothing is written if there is nothing."""
        if lines:
            (self.folder / ASSUMED).write_text(json.dumps(list(lines), indent=1))

    def skip(self, image: str, reason: str) -> None:
        """Keep the name of an image that was left out; repeated calls count once."""
        # One short line appended at once: other processes write to the same file.
        with (self.folder / SKIPPED).open("a") as file:
            file.write(json.dumps({"image": image, "reason": reason}) + "\n")

    def skipped(self) -> dict[str, str]:
        """Name -> reason of the images that were left out, sorted by name."""
        found: dict[str, str] = {}
        for path in sorted(self.folder.rglob(SKIPPED)):  # a training in several stages has a folder for each
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                found.setdefault(entry["image"], entry["reason"])
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, Any]:
        """Entries for the record of exported weights; empty if there is nothing to say."""
        assumed = [line for path in sorted(self.folder.rglob(ASSUMED)) for line in json.loads(path.read_text())]
        entries = {"assumed": list(dict.fromkeys(assumed)), "skipped_images": list(self.skipped())}
        return {key: value for key, value in entries.items() if value}

    @property
    def skipped_line(self) -> str | None:
        """One line with number and names of the images that were left out; None if there are none."""
        skipped = self.skipped()
        if not skipped:
            return None
        names = ", ".join(list(skipped)[:10]) + (f" and {len(skipped) - 10} more" if len(skipped) > 10 else "")
        what = "1 unreadable image" if len(skipped) == 1 else f"{len(skipped)} unreadable images"
        return f"{what} left out, with others drawn instead: {names} ({next(iter(skipped.values()))})"
