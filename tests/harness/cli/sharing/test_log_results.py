"""`ltrp-bench results log`: values, the table and its files in TensorBoard, W&B and MLflow, and nothing private."""

from __future__ import annotations

import getpass
import importlib.util
import platform
import socket
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest
from command_lines import Run
from shared_bytes import leaks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ltrp_bench.harness.cli.sharing.result_trackers import unique_names

USER, HOST = "lovelacea", "difference-engine"


@pytest.fixture
def private(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run in the home folder of a user of telling name, on a machine of a telling name."""
    home = tmp_path / USER
    home.mkdir()
    for name, value in (("HOME", str(home)), ("USER", USER), ("LOGNAME", USER), ("HOSTNAME", HOST)):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    return Path(runs).rename(home / "runs")


def values(private: Path, run: Run) -> dict[tuple[str, int, str], float]:
    """(selector, step, column) -> value, of the table that `leaderboard` writes."""
    assert run("leaderboard", private, "--no-intervals", "--csv", "board.csv")[0] == 0
    rows = pd.read_csv("board.csv").to_dict("records")
    return {
        (row["selector"], round(1000 * row["keep_ratio"]), column): row[column]
        for row in rows
        for column in ("all", "seen", "unseen", "gap")
        if pd.notna(row["keep_ratio"])
    }


def test_tensorboard_has_every_value_and_the_table(private: Path, run: Run) -> None:
    for _ in range(2):  # the second call takes the place of the first
        code, out, err = run("results", "log", private, "--no-intervals", "--out", "logs")
        assert (code, out) == (0, "") and "tensorboard: tensorboard --logdir logs\n" in err
    (events,) = Path("logs").iterdir()
    assert events.name == "events.out.tfevents.0.ltrp-bench"
    log = EventAccumulator("logs")
    log.Reload()
    found = {
        (name.split("/")[2], one.step, name.split("/")[3]): one.value
        for name in log.Tags()["scalars"]
        for one in log.Scalars(name)
    }
    assert {name.split("/")[0] for name in log.Tags()["scalars"]} == {"shapes-coverage"}
    assert found == pytest.approx(values(private, run), abs=1e-6) and len(found) == 4 * 2 * 4
    (text,) = log.Tensors("leaderboard/text_summary")
    assert b"| selector" in text.tensor_proto.string_val[0]
    assert leaks([events], (USER, HOST)) == [] and str(private.parent).encode() not in events.read_bytes()


def test_logs_lie_in_the_folder_of_the_run_unless_told_otherwise(private: Path, run: Run) -> None:
    assert run("results", "log", private, "--no-intervals")[0] == 0
    assert len(list((private / "logs").glob("events.*"))) == 1
    other = private.parent / "other"
    private.rename(other)
    (other / "logs").rename(private.parent / "moved")
    assert run("leaderboard", other, "--no-intervals")[0] == 0
    assert run("results", "log", other, other, "--no-intervals", "--out", "both")[0] == 0
    assert [path.name for path in Path("both").iterdir()] == ["events.out.tfevents.0.ltrp-bench"]  # one run
    copytree(other, "copy")
    assert run("results", "log", other, "copy", "--no-intervals", "--out", "two")[0] == 0
    assert sorted(path.name for path in Path("two").iterdir()) == ["copy", "other"]
    code, _, err = run("results", "log", other, Path("copy").rename("other"), "--out", "three")
    assert code == 2 and "several directories are named 'other'" in err and not Path("three").exists()


def test_mistakes_are_one_line(private: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("results", "log", "none")
    assert code == 1 and err.count("\n") == 1 and "none" in err
    assert run("results", "log", private, "--to", "comet")[0] == 2
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mlflow" else found(name, *rest)
    )
    code, _, err = run("results", "log", private, "--to", "tensorboard,mlflow", "--out", "logs")
    assert (code, err) == (
        2,
        "ltrp-bench: --to mlflow: the package mlflow is not installed; pip install 'ltrp-bench[mlflow]'\n",
    )
    assert not Path("logs").exists()


def test_names_in_the_letters_that_trackers_take_stay_apart() -> None:
    given = ["ltrp (limit 60)", "ltrp [limit 60]", "ltrp (limit 60)", "dino"]
    assert unique_names(given) == ["ltrp -limit 60-", "ltrp -limit 60- 2", "ltrp -limit 60-", "dino"]


def test_mlflow_has_every_value_and_the_files(private: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `mlflow`")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run("results", "log", private, "--to", "mlflow", "--no-intervals", "--out", "logs")[0] == 0
    found = {}
    for file in Path("logs").rglob("metrics/**/*"):
        if file.is_file():
            for line in file.read_text().splitlines():
                _, value, step = line.split()
                found[file.parent.name, int(step), file.name] = float(value)
    assert found == pytest.approx(values(private, run), abs=1e-6) and len(found) == 4 * 2 * 4
    assert {file.name for file in Path("logs").rglob("artifacts/*")} == {"leaderboard.csv", "leaderboard.md"}
    # The store itself notes where it lies, in files that are not sent to a server.
    logged = [file for file in Path("logs").rglob("*") if file.is_file() and file.name != "meta.yaml"]
    assert len(logged) > 20 and leaks(logged, (USER, HOST)) == []


def test_wandb_keeps_an_offline_run(private: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra `wandb`")
    monkeypatch.setenv("WANDB_MODE", "offline")
    # The record says from where files are to be sent; that place itself is not sent.
    monkeypatch.setenv("WANDB_DATA_DIR", str(private.parents[1] / "staging"))
    code, _, err = run("results", "log", private, "--to", "wandb", "--no-intervals", "--out", "logs")
    assert code == 0 and "wandb: wandb sync logs/wandb/offline-run-" in err
    (record,) = Path("logs/wandb").glob("offline-run-*/run-*.wandb")
    assert b"shapes-coverage" in record.read_bytes()
    sent = [record, *(file for file in record.parent.glob("files/**/*") if file.is_file())]
    assert leaks(sent, (USER, HOST)) == []
