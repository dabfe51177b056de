"""Archives of several labs, checked and gathered in one run folder.

An archive is used as a whole or not at all. It fails if it is damaged or was altered, if a cell has a split that this
version does not have, another revision of the data than the site's, or a newer version of ltrp-bench, or if its numbers
contradict those of an archive before it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.store.archive import import_archive
from ltrp_bench.results.store.run_store import RunStore

Notice = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the cells of an archive must meet.

    Attributes:
        splits: fingerprints of the splits that are known.
        version: the newest version of ltrp-bench that is read.
        data: name of a task -> beginning of the hex digest of the only revision of its data that is shown.
    """

    splits: Collection[str]
    version: str
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """One archive.

    Attributes:
        name: name of its file, without suffix: the lab's name in the pages.
        cells: fingerprints of its cells; empty if it was left out.
        replicates: fingerprints of cells that an archive before it has with numbers that differ by rounding.
        reason: why it was left out; "" if it was not.
    """

    name: str
    cells: tuple[str, ...] = ()
    replicates: tuple[str, ...] = ()
    reason: str = ""


def gather(archives: Sequence[Path], root: Path, rules: Rules) -> list[Submission]:
    """Check archives in their order, and import those that pass into the run folder `root`."""
    return [_submission(path, name, root, rules) for path, name in zip(archives, _names(archives), strict=True)]


def _submission(path: Path, name: str, root: Path, rules: Rules) -> Submission:
    try:
        with tempfile.TemporaryDirectory() as alone:
            import_archive(path, Path(alone))
            store = RunStore(Path(alone))
            records = store.read_cells()
            for record in records:
                _check(record, store, rules)
        done = import_archive(path, root)
    except ResultsError as error:
        text = str(error).replace(f"{path} is refused, nothing was imported: ", "").replace(str(path), path.name)
        return Submission(name, reason=text.replace(f" one in {root}", " one of an archive before it"))
    return Submission(name, tuple(record.fingerprint for record in records), done.replicates)


def _check(record: CellRecord, store: RunStore, rules: Rules) -> None:
    """Raise ResultsError if a cell breaks a rule."""
    about = f"cell {record.short_fingerprint} ({record.selector.name} on {record.task.name})"
    identity = record.task.identity.value
    split = identity.get("split")
    if split not in rules.splits:
        raise ResultsError(f"split: that of {about} is none of this version; `ltrp-bench list label-sets` lists them")
    wanted = rules.data.get(record.task.name)
    if wanted is not None and not str(identity.get("data", "")).startswith(wanted):
        found = str(identity.get("data", "unknown"))[:12]
        raise ResultsError(f"data: {about} has revision {found} of the data, this site shows {wanted[:12]}")
    versions = store.read_provenance(record.fingerprint).get("versions")
    made = versions.get("ltrp-bench") if isinstance(versions, Mapping) else None
    if not isinstance(made, str):
        raise ResultsError(f"version: {about} does not say which ltrp-bench made it; export it with a newer version")
    if _version(made) > _version(rules.version):
        raise ResultsError(f"version: {about} was made by ltrp-bench {made}, this site reads up to {rules.version}")


def _version(text: str) -> tuple[int, ...]:
    """Numbers of a version like "0.2.1.dev3"."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _names(archives: Sequence[Path]) -> Iterable[str]:
    """Names of archives; equal ones with their folder's."""
    stems = [path.stem for path in archives]
    for path, stem in zip(archives, stems, strict=True):
        yield stem if stems.count(stem) == 1 else f"{path.resolve().parent.name}/{stem}"
