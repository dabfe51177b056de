"""Export and import: an exact round trip, and all or nothing for altered archives."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.archive import export, import_archive
from ltrp_bench.results.store.gallery import Thumbnail, read_gallery, write_images, write_ranks
from ltrp_bench.results.store.labels import Labels, add_labels, read_labels
from ltrp_bench.results.store.run_store import RunStore

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def filled(world: Any) -> Any:
    for ratio in (0.25, 0.5):
        record = world.cell("ltrp.shapes", ratio, 0.6)
        world.cell("random", ratio, 0.3)
        world.cell("old", ratio, 0.4, summary=False, task="other-task")
    ids = record.task.identity.short, record.selector.identity.short
    write_images(world.store, ids[0], [Thumbnail("a", 2, 2, b"webp")])
    write_ranks(world.store, *ids, 0, {"a": np.zeros((1, 1), np.int32)})
    world.store.write(world.store.root / "scores" / "x.safetensors", b"a cache")
    return world


def _files(root: Path) -> dict[str, bytes]:
    folders = ("cells", "records", "evidence", "provenance", "gallery")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_round_trip(filled: Any, tmp_path: Path) -> None:
    root, out = filled.store.root, tmp_path / "mine.zip"
    assert export(root, out) == 6
    export(root, tmp_path / "again.zip")
    assert out.read_bytes() == (tmp_path / "again.zip").read_bytes()
    done = import_archive(out, tmp_path / "theirs")
    assert len(done.new) == 6 and not done.known
    shared = _files(tmp_path / "theirs")
    redacted = {name: data.replace(b'"here"', b'""') for name, data in _files(root).items()}
    assert shared == redacted != _files(root)  # no name of a machine in the provenance, all else as it is
    assert not (tmp_path / "theirs" / "scores").exists() and not list((tmp_path / "theirs" / "tmp").iterdir())
    mine, theirs = load_leaderboard(root).frame, load_leaderboard(tmp_path / "theirs").frame
    assert mine.equals(theirs)
    task_ids = sorted(set(mine["task_id"]))
    galleries = [[one.image_id for one in read_gallery(RunStore(tmp_path / "theirs"), one).images] for one in task_ids]
    assert galleries == [[one.image_id for one in read_gallery(RunStore(root), one).images] for one in task_ids]
    assert sorted(galleries) == [[], ["a"]]
    # A second import changes nothing.
    again = import_archive(out, tmp_path / "theirs")
    assert not again.new and len(again.known) == 6 and _files(tmp_path / "theirs") == shared
    # What was imported is shared as it came, and with its names where that is asked for.
    export(tmp_path / "theirs", tmp_path / "again.zip")
    assert out.read_bytes() == (tmp_path / "again.zip").read_bytes()
    export(root, out, with_paths=True)
    import_archive(out, tmp_path / "whole")
    assert _files(tmp_path / "whole") == _files(root)


def test_paths_in_fingerprints_are_refused(filled: Any, make_record: Any, tmp_path: Path) -> None:
    """They cannot be left out: the fingerprint would not match."""
    filled.cell("evit", 0.25, 0.5, task="own-task", config="/data/own.py")
    with pytest.raises(ResultsError, match="config of the task own-task is a path of this machine, and part of"):
        export(filled.store.root, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    assert export(filled.store.root, tmp_path / "a.zip", with_paths=True) == 7
    assert len(import_archive(tmp_path / "a.zip", tmp_path / "new").new) == 7


def test_labels_are_shared_without_folders(filled: Any, tmp_path: Path) -> None:
    record = filled.store.read_cells()[0]
    selector, task = record.selector.identity.short, record.task.identity.short
    own = ({selector: "mine of /data/x/a.pth"}, {task: "task"}, {task: "/models/own.py"}, {selector: "w.pth"})
    add_labels(filled.store, Labels(*own))
    export(filled.store.root, tmp_path / "a.zip")
    import_archive(tmp_path / "a.zip", tmp_path / "new")
    shared = Labels({selector: "mine of a.pth"}, {task: "task"}, {task: "own.py"}, {selector: "w.pth"})
    assert read_labels(tmp_path / "new") == shared and read_labels(filled.store.root) == Labels(*own)


def test_own_results_that_come_back_are_no_difference(filled: Any, tmp_path: Path) -> None:
    notices: list[str] = []
    export(filled.store.root, tmp_path / "a.zip")
    assert len(import_archive(tmp_path / "a.zip", filled.store.root, notices.append).known) == 6 and notices == []


def test_two_labs_merge(filled: Any, other_world: Any, tmp_path: Path) -> None:
    theirs = other_world.cell("evit", 0.25, 0.5)
    export(filled.store.root, tmp_path / "a.zip", tasks=["shapes-coverage"], selectors=["ltrp"], with_gallery=False)
    done = import_archive(tmp_path / "a.zip", other_world.store.root)
    assert len(done.new) == 2
    found = {(r.selector.name, r.keep_ratio) for r in other_world.store.read_cells()}
    assert found == {("evit", 0.25), ("ltrp.shapes", 0.25), ("ltrp.shapes", 0.5)}
    assert other_world.store.read_cell(theirs.fingerprint) == theirs
    assert not (other_world.store.root / "gallery").exists()
    with pytest.raises(ResultsError, match="holds no finished cell of these tasks and selectors"):
        export(filled.store.root, tmp_path / "b.zip", tasks=["nonsense"])


def _rewritten(path: Path, change: Change, honest: bool) -> None:
    """Change the content of an archive; `honest` updates the checksums of the manifest."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if honest:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {n: hashlib.sha256(d).hexdigest() for n, d in files.items() if n != "manifest.json"}
        files["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def _better(files: dict[str, bytes]) -> None:
    name = next(n for n in files if n.startswith("cells/"))
    files[name] = files[name].replace(b'"value": 0.', b'"value": 1.', 1)


def _resigned(files: dict[str, bytes]) -> None:
    """A record with another value and a valid checksum: only its resampling summary shows it."""
    from ltrp_bench.results.schema.record import digest

    prints = [n[9:-4] for n in files if n.startswith("evidence/")]
    name = f"cells/{prints[0]}.json"
    envelope = json.loads(files[name])
    envelope["record"]["metrics"][0]["value"] = 0.99
    files[name] = json.dumps({"record": envelope["record"], "sha256": digest(envelope["record"])}).encode()


def _rows(files: dict[str, bytes]) -> None:
    one, *others = [n for n in files if n.startswith("records/")]
    files[one] = next(files[other] for other in others if files[other] != files[one])


def _escape(files: dict[str, bytes]) -> None:
    files["../outside.json"] = b"{}"


def _extra(files: dict[str, bytes]) -> None:
    files["scores/x"] = b"x"


def _orphan(files: dict[str, bytes]) -> None:
    del files[next(n for n in files if n.startswith("cells/"))]


def _lost(files: dict[str, bytes]) -> None:
    del files[next(n for n in files if n.startswith("records/"))]


@pytest.mark.parametrize(
    ("change", "honest", "message"),
    [
        (_better, False, "was altered: it does not match the manifest's checksum"),
        (_better, True, "was altered: its content does not match its checksum"),
        (_resigned, True, "but 0.99 in its record"),
        (_rows, True, "does not belong to the record of its cell"),
        (_escape, True, "unexpected file '../outside.json'"),
        (_extra, False, "unexpected file 'scores/x'"),
        (_lost, True, "is missing"),
        (_orphan, True, "belongs to no cell of the archive"),
        (_lost, False, "unexpected file"),
    ],
)
def test_altered_archives_are_rejected(filled: Any, tmp_path: Path, change: Change, honest: bool, message: str) -> None:
    out, root = tmp_path / "mine.zip", tmp_path / "theirs"
    export(filled.store.root, out)
    _rewritten(out, change, honest)
    with pytest.raises(ResultsError, match="nothing was imported") as caught:
        import_archive(out, root)
    assert message in str(caught.value) and "\n" not in str(caught.value) and str(root) not in str(caught.value)
    assert _files(root) == {} and not (tmp_path / "outside.json").exists()


def test_other_values_with_the_same_fingerprint_are_rejected(filled: Any, other_world: Any, tmp_path: Path) -> None:
    mine = other_world.cell("ltrp.shapes", 0.25, 0.7)
    export(filled.store.root, tmp_path / "a.zip")
    before = _files(other_world.store.root)
    with pytest.raises(
        ResultsError,
        match=rf"its cell {mine.fingerprint[:16]} \(ltrp.shapes on shapes-coverage\) has the same fingerprint as one",
    ):
        import_archive(tmp_path / "a.zip", other_world.store.root)
    assert _files(other_world.store.root) == before


def _rounded_otherwise(world: Any, selector: str, skill: float, weight: str = "w1") -> Any:
    """A cell of `world` as another machine has it."""
    record = world.cell(selector, 0.25, skill, weights=weight)
    path = world.store.provenance_path(record.fingerprint)
    path.write_text(path.read_text().replace('"here"', '"there"'))
    return record


def test_cells_that_differ_by_rounding_are_replicates(filled: Any, other_world: Any, tmp_path: Path) -> None:
    """Values of 0.25 * 0.6 = 0.15 and 0.25 * 0.601 beside the same images: 0.00025 apart."""
    mine = _rounded_otherwise(other_world, "ltrp.shapes", 0.601)
    export(filled.store.root, tmp_path / "theirs.zip", with_paths=True)
    before = _files(other_world.store.root)
    done = import_archive(tmp_path / "theirs.zip", other_world.store.root)
    theirs = filled.store.read_cell(mine.fingerprint)
    assert done.replicates == (mine.fingerprint,) and len(done.new) == 5 and not done.known
    assert done.spread == pytest.approx(0.00025)
    # What was here is as it was; the replicate has its own rows, summary and provenance.
    assert {name: _files(other_world.store.root)[name] for name in before} == before
    (replicate,) = other_world.store.replicates(mine.fingerprint)
    assert replicate.root.parent == other_world.store.root / "replicates" / mine.fingerprint
    assert replicate.read_cell(mine.fingerprint) == theirs != mine
    assert replicate.read_images(mine.fingerprint) == filled.store.read_images(mine.fingerprint)
    assert replicate.read_summary(theirs).measured("coverage", "all") == pytest.approx(theirs.value("coverage", "all"))
    machines = [one.read_provenance(mine.fingerprint)["machine"] for one in (other_world.store, replicate)]
    assert machines == ["there", "here"]
    # Cells are listed once.
    assert len(other_world.store.read_cells()) == 6
    # The same archive again changes nothing; nor does one's own, which a colleague has merged with theirs.
    everything = sorted(path for path in other_world.store.root.rglob("*"))
    again = import_archive(tmp_path / "theirs.zip", other_world.store.root)
    assert len(again.known) == 6 and not again.new and not again.replicates
    assert sorted(path for path in other_world.store.root.rglob("*")) == everything


def test_replicates_travel_with_their_cell(filled: Any, other_world: Any, tmp_path: Path) -> None:
    mine = _rounded_otherwise(other_world, "ltrp.shapes", 0.601)
    export(filled.store.root, tmp_path / "theirs.zip")
    import_archive(tmp_path / "theirs.zip", other_world.store.root)
    assert export(other_world.store.root, tmp_path / "both.zip") == 6
    done = import_archive(tmp_path / "both.zip", tmp_path / "third")
    assert len(done.new) == 6 and done.replicates == (mine.fingerprint,)
    (replicate,) = RunStore(tmp_path / "third").replicates(mine.fingerprint)
    assert replicate.read_cell(mine.fingerprint) == filled.store.read_cell(mine.fingerprint)
    # There, what is our replicate is the cell itself, and the other way round.
    back = import_archive(tmp_path / "both.zip", filled.store.root)
    assert back.replicates == (mine.fingerprint,) and len(back.known) == 6 and not back.new
    assert filled.store.replicates(mine.fingerprint)[0].read_cell(mine.fingerprint) == mine
    # A damaged replicate is no less refused than a damaged cell.
    for change, message in (
        (_replicate_lost, "belongs to no cell"),
        (_replicate_rows, "does not belong to the record"),
    ):
        export(other_world.store.root, tmp_path / "both.zip")
        _rewritten(tmp_path / "both.zip", change, True)
        with pytest.raises(ResultsError, match=message):
            import_archive(tmp_path / "both.zip", tmp_path / "fourth")
        assert not list((tmp_path / "fourth").glob("*/*"))


def _replicate_lost(files: dict[str, bytes]) -> None:
    del files[next(n for n in files if n.startswith("replicates/") and "/cells/" in n)]


def _replicate_rows(files: dict[str, bytes]) -> None:
    name = next(n for n in files if n.startswith("replicates/") and "/records/" in n)
    files[name] = files[name.split("/", 3)[3]]


def test_the_tolerance_decides_what_is_rounding(filled: Any, other_world: Any, tmp_path: Path) -> None:
    """0.25 * (0.63 - 0.6) = 0.0075 is more than 0.005; the message names metric and values."""
    mine = other_world.cell("ltrp.shapes", 0.25, 0.63)
    theirs = filled.store.read_cell(mine.fingerprint)
    export(filled.store.root, tmp_path / "a.zip")
    values = f"coverage of all is {theirs.value('coverage', 'all'):.4f}, not {mine.value('coverage', 'all'):.4f}"
    with pytest.raises(
        ResultsError, match=f"other values: {values}, at keep ratio 0.25, seed 0; .* change it by 0.005"
    ):
        import_archive(tmp_path / "a.zip", other_world.store.root)
    assert len(other_world.store.read_cells()) == 1
    code = run_command(
        ["results", "import", str(tmp_path / "a.zip"), str(other_world.store.root), "--tolerance", "0.01"]
    )
    assert code == 0 and len(other_world.store.replicates(mine.fingerprint)) == 1


def test_links_and_truncated_and_foreign_files_are_rejected(filled: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.zip"
    export(filled.store.root, out)
    whole = out.read_bytes()
    for data in (whole[: len(whole) // 2], b"no zip", b""):
        out.write_bytes(data)
        with pytest.raises(ResultsError, match="truncated or not an archive"):
            import_archive(out, tmp_path / "x")
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ResultsError, match="truncated or not an archive"):
        import_archive(out, tmp_path / "x")
    link = zipfile.ZipInfo(f"cells/{'0' * 64}.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    target = os.fsencode("/etc/passwd")
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, target)
        files = {link.filename: hashlib.sha256(target).hexdigest()}
        archive.writestr("manifest.json", json.dumps({"format": 1, "files": files}))
    with pytest.raises(ResultsError, match="unexpected file 'cells/0000"):
        import_archive(out, tmp_path / "x")
    with pytest.raises(ResultsError, match="does not exist"):
        import_archive(tmp_path / "none.zip", tmp_path / "x")


def test_commands(filled: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, root = str(tmp_path / "a.zip"), str(filled.store.root)
    assert run_command(["results", "export", out, root, "--task", "shapes-coverage"]) == 0
    assert "4 cells in" in capsys.readouterr().err
    assert run_command(["results", "import", out, str(tmp_path / "new")]) == 0
    assert "4 new cells in" in capsys.readouterr().err
    _rewritten(Path(out), _better, True)
    assert run_command(["results", "import", out, str(tmp_path / "other")]) == 1
    err = capsys.readouterr().err
    assert "is refused, nothing was imported" in err and err.count("\n") == 1
