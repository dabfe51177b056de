"""Latencies of a run folder, measured by `ltrp-bench latency`: one file for each device and way of measuring.

    latency/<16 hex digits>.json     {"format": 1, "setting": {...}, "measured": date, "entries": [...]}

The name is a hash of the setting, so two settings never share a file. Latencies are no part of any result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ltrp_bench.results.schema.atomic_io import exclusive
from ltrp_bench.results.schema.damage import damaged
from ltrp_bench.results.schema.record import CellRecord, ResultsError, canonical_json
from ltrp_bench.results.store.run_store import RunStore

FOLDER: Final = "latency"
FORMAT: Final = 1

BATCHES: Final = (1, 8, 32, 256)
"""Batch sizes that are measured; fixed, so that tables of several laboratories have the same columns."""

PARTS: Final = ("whole", "selector", "model", "both")
"""What is timed: the model on the whole image, the selector, the model on what is kept, and both one after another."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of one batch.

    Attributes:
        median: median over turns.
        p90: 90th percentile over turns.
    """

    median: float
    p90: float


@dataclass(frozen=True, kw_only=True)
class LatencySetting:
    """Device and way of measuring. Only latencies of one setting can be compared.

    Attributes:
        device: "cpu", "cuda (NVIDIA H100)".
        cpu: model of the processor and its widest instructions that torch uses.
        threads: CPU threads of one operation.
        clock: "wall", or "cpu" for processor time.
        versions: package -> version.
    """

    device: str
    cpu: str
    threads: int
    clock: str
    versions: Mapping[str, str]

    @property
    def file(self) -> str:
        """Name of the file."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()[:16] + ".json"

    @property
    def text(self) -> str:
        """Description for readers, such as "cpu, EPYC 7B13 (AVX2), 1 thread, processor time"."""
        threads = f"{self.threads} thread" + ("s" if self.threads != 1 else "")
        place = self.device if self.device.startswith("cuda") else f"{self.device}, {self.cpu}, {threads}"
        return place if self.clock == "wall" else f"{place}, processor time"


@dataclass(frozen=True, kw_only=True)
class LatencyEntry:
    """Times of one selector, task and keep ratio at one batch size.

    Attributes:
        task_id, selector_id: first digits of their identities, as in the leaderboard.
        keep_ratio: share of kept patches.
        batch: images per batch.
        turns: number of measurements behind each median.
        whole, selector, model, both: see `PARTS`; None for parts that there are not, such as the model of a task
            without one.
    """

    task_id: str
    selector_id: str
    keep_ratio: float
    batch: int
    turns: int
    whole: Times | None = None
    selector: Times | None = None
    model: Times | None = None
    both: Times | None = None

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What a file holds once."""
        return self.task_id, self.selector_id, self.keep_ratio, self.batch

    def times(self, part: str) -> Times | None:
        """Times of one of `PARTS`."""
        return {"whole": self.whole, "selector": self.selector, "model": self.model, "both": self.both}[part]


@dataclass(frozen=True)
class Latencies:
    """Latencies of one setting.

    Attributes:
        setting: device and way of measuring.
        measured: when the last of them was measured: UTC, ISO 8601.
        entries: the latencies; one of each key.
    """

    setting: LatencySetting
    measured: str
    entries: tuple[LatencyEntry, ...]

    def of(self, records: Iterable[CellRecord]) -> Latencies:
        """The entries of the selectors and tasks of some cells."""
        pairs = {(record.task.identity.short, record.selector.identity.short) for record in records}
        return replace(self, entries=tuple(one for one in self.entries if (one.task_id, one.selector_id) in pairs))

    def updated(self, newer: Latencies) -> Latencies:
        """These entries and newer ones of the same setting, which win."""
        entries = {one.key: one for one in (*self.entries, *newer.entries)}
        return Latencies(
            self.setting, max(self.measured, newer.measured), tuple(entries[key] for key in sorted(entries))
        )

    def to_json(self) -> bytes:
        """Content of the file."""
        entries = [{name: _plain(value) for name, value in vars(one).items()} for one in self.entries]
        content = {
            "format": FORMAT,
            "setting": asdict(self.setting),
            "measured": self.measured,
            "entries": [{name: value for name, value in one.items() if value is not None} for one in entries],
        }
        return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: str, where: str) -> Latencies:
        """Read the content of a file. Raises ResultsError, which names `where`, if it is damaged."""
        with damaged(lambda error: ResultsError(f"{where} is damaged ({type(error).__name__}); delete it")):
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ResultsError(f"{where} has format {content['format']}; this release reads {FORMAT}")
            setting = LatencySetting(**content["setting"])
            return cls(setting, str(content["measured"]), tuple(_entry(one) for one in content["entries"]))


def read_latencies(root: Path) -> list[Latencies]:
    """All latencies of a run folder, those measured last first. Raises ResultsError if a file is damaged."""
    found = []
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ResultsError(f"{path} cannot be read; delete it") from error
        found.append(Latencies.from_json(text, str(path)))
    return sorted(found, key=lambda one: (one.measured, one.setting.file), reverse=True)


def add_latencies(store: RunStore, new: Iterable[Latencies], *, keep: bool = False) -> None:
    """Add latencies to a run folder.

    Args:
        store: the folder.
        new: the latencies.
        keep: True to keep other latencies of the same setting and key that are there.

    Raises:
        ResultsError: the folder cannot be written, or a file in it is damaged.
    """
    store.prepare()
    with exclusive(store.root / "partial" / "latency.lock", wait=True):
        for latencies in new:
            path = store.root / FOLDER / latencies.setting.file
            merged = latencies
            if path.exists():
                here = Latencies.from_json(path.read_text(encoding="utf-8"), str(path))
                merged = latencies.updated(here) if keep else here.updated(latencies)
            store.write(path, merged.to_json())


def _plain(value: Any) -> Any:
    return [round(value.median, 6), round(value.p90, 6)] if isinstance(value, Times) else value


def _entry(table: Mapping[str, Any]) -> LatencyEntry:
    times = {part: Times(*map(float, table[part])) for part in PARTS if part in table}
    return LatencyEntry(
        task_id=str(table["task_id"]),
        selector_id=str(table["selector_id"]),
        keep_ratio=float(table["keep_ratio"]),
        batch=int(table["batch"]),
        turns=int(table["turns"]),
        **times,
    )
