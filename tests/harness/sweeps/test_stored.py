"""The sweep of a run folder."""

from __future__ import annotations

from pathlib import Path

from ltrp_bench.harness.sweeps.document import read_document
from ltrp_bench.harness.sweeps.stored import store_sweep
from ltrp_bench.results.store.run_store import RunStore


def content(folder: Path) -> dict[str, int]:
    return {path.name: read_document(path).data["limit"] for path in sorted(folder.glob("*.yaml"))}


def test_the_last_sweep_and_earlier_ones_are_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    for limit, expected in (
        (1, {"sweep.yaml": 1}),
        (1, {"sweep.yaml": 1}),
        (2, {"sweep.1.yaml": 1, "sweep.yaml": 2}),
        (1, {"sweep.1.yaml": 1, "sweep.2.yaml": 2, "sweep.yaml": 1}),
    ):
        store_sweep(store, {"limit": limit})
        assert content(store.root) == expected
    # As if a process was killed after the copy.
    (store.root / "sweep.3.yaml").write_bytes((store.root / "sweep.yaml").read_bytes())
    store_sweep(store, {"limit": 4})
    assert content(store.root) == {"sweep.1.yaml": 1, "sweep.2.yaml": 2, "sweep.3.yaml": 1, "sweep.yaml": 4}
    assert list(store.tmp.iterdir()) == []
