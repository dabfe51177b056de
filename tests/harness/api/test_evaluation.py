from __future__ import annotations

from pathlib import Path

import pytest

import ltrp_bench as lb
from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.results.store.run_store import RunStore

LIMIT = 6


class Brightness(lb.Selector):
    name = "brightness"
    patch_size = 8

    def _scores(self, images, context=None):  # type: ignore[no-untyped-def]
        batch, _, height, width = images.shape
        return images.mean(1).reshape(batch, height // 8, 8, width // 8, 8).mean((2, 4))


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the command line wrote."""
    out = tmp_path_factory.mktemp("runs") / "cli"
    command = f"run --selector ltrp --selector variance --task shapes-coverage --limit {LIMIT} --keep-ratio 0.25"
    assert run_command([*command.split(), "--out", str(out), "--engine", "serial"]) == 0
    return out


def fingerprints(folder: Path) -> list[str]:
    return [record.fingerprint for record in RunStore(folder).read_cells()]


def evaluate(selectors: object, tasks: object, out: Path, **options: object) -> lb.Results:
    return lb.evaluate(selectors, tasks, 0.25, out=out, engine="serial", progress=False, **options)  # type: ignore[arg-type]


def test_names_have_the_fingerprints_of_the_command_line(by_command: Path, tmp_path: Path) -> None:
    evaluate(["ltrp", "variance"], "shapes-coverage", tmp_path, limit=LIMIT)
    assert fingerprints(tmp_path) == fingerprints(by_command)


def test_objects_have_the_fingerprints_of_the_command_line(by_command: Path, tmp_path: Path) -> None:
    # A name without weights of its own takes those of the task's domain, and the task's patches.
    selectors = [lb.create_selector("ltrp.shapes"), lb.create_selector("variance")]
    evaluate(selectors, lb.create_task("shapes-coverage", limit=LIMIT), tmp_path)
    assert fingerprints(tmp_path) == fingerprints(by_command)


def test_a_finished_cell_is_not_evaluated_again(
    by_command: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = fingerprints(by_command)

    def refuse(*given: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("ltrp_bench.harness.evaluation.scorer.Scorer.scores", refuse)
    task = lb.create_task("shapes-coverage", limit=LIMIT)
    results = evaluate(["ltrp", lb.create_selector("variance")], task, by_command)
    assert len(results) == 2 and fingerprints(by_command) == before


def test_a_class_of_ones_own_is_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(Brightness, "shapes-coverage", tmp_path, limit=LIMIT)
    assert set(first.leaderboard(intervals=False)["selector"]) == {"brightness"}
    monkeypatch.setattr(Brightness, "_scores", None)
    evaluate(Brightness(), "shapes-coverage", tmp_path, limit=LIMIT)
    assert len(fingerprints(tmp_path)) == 1


def test_other_processes_cannot_build_an_object_of_ones_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = {"out": tmp_path, "engine": "local", "jobs": 2, "limit": 2, "progress": False}
    lb.evaluate(Brightness, "shapes-coverage", 0.5, **options)  # type: ignore[arg-type]
    shown = capfd.readouterr().err
    assert "note: brightness can be built in this process only, so engine 'serial' is used instead of 'local'" in shown


def test_a_changed_selector_is_no_longer_what_its_name_says(by_command: Path, tmp_path: Path) -> None:
    selector = lb.create_selector("variance")
    selector.patch_size = 4
    evaluate(selector, lb.create_task("shapes-coverage", limit=LIMIT), tmp_path)
    assert len(fingerprints(tmp_path)) == 1 and not set(fingerprints(tmp_path)) & set(fingerprints(by_command))


@pytest.mark.parametrize(
    ("selectors", "tasks", "options", "message"),
    [
        ("ltrb", "shapes-coverage", {}, "no selector 'ltrb'; did you mean 'ltrp'?"),
        ("random", "shapes-coverag", {}, "no task 'shapes-coverag'; did you mean 'shapes-coverage'?"),
        ([], "shapes-coverage", {}, "give at least one selector, by name or as an object"),
        (object(), "shapes-coverage", {}, "object is no selector: it has no `name`"),
        ("random", Brightness(), {}, "'brightness' is no task: its class must derive from ltrp_bench.Task"),
        ("random", "shapes-coverage", {"limit": 0}, "limit 0: give the number of images"),
        ("random", "shapes-coverage", {"data": {"coco-det": "x"}}, "data is given for 'coco-det', which is no task"),
        ("random", "shapes-coverage", {"thread": 2}, "evaluate has no option 'thread'; did you mean 'threads'?"),
        ("random", "shapes-coverage", {"seeds": -1}, "seeds are integers from 0"),
        ("random", "shapes-coverage", {"device": "tpu9"}, 'device="tpu9" cannot be used here'),
    ],
)
def test_a_mistake_is_one_line(
    selectors: object, tasks: object, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(lb.UsageError) as caught:
        evaluate(selectors, tasks, tmp_path / "none", **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_limit_is_for_tasks_by_name(tmp_path: Path) -> None:
    task = lb.create_task("shapes-coverage", limit=2)
    with pytest.raises(lb.UsageError, match="limit are for tasks given by name|limit is for tasks given by name"):
        evaluate("random", task, tmp_path, limit=3)


def test_missing_data_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(lb.InputError) as caught:
        evaluate("random", "coco-coverage", tmp_path, data=tmp_path / "nowhere")
    assert "nowhere" in str(caught.value) and "\n" not in str(caught.value)
