"""`ltrp-bench weights`, and checkpoints by name in other commands."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from pathlib import Path

import huggingface_hub.constants
import pytest
from command_lines import Run

from ltrp_bench.selectors.zoo.cache import SUMS
from ltrp_bench.selectors.zoo.table import TABLE

HOW = ("how", "to", "get")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setenv("LTRP_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ltrp_bench.selectors.zoo.network.answers", lambda url: False)
    return tmp_path / "cache"


def put(cache: Path, name: str, file: str, content: bytes = b"weights") -> Path:
    path = cache / name.replace("=", "/") / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_selectors_checkpoints_as_a_table(run: Run, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "dino=vit-s16", "dino_deitsmall16_pretrain.pth")
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        code, out, _ = run("weights", "list", "dino")
        lines = out.splitlines()
        assert code == 0 and max(map(len, lines[:5])) <= width
        assert lines[0].split() == ["name", "what", "it", "is", "trained", "with", "license", *HOW]
        assert lines[1].split()[:5] == ["dino=vit-s16", "DINO,", "ViT-S/16", "self", "Apache-2.0"]
        assert lines[1].rstrip().endswith("automatic (in cache)") and lines[2].split()[-1] == "automatic"
    assert run("weights", "list", "evit")[1].splitlines()[1].rstrip().endswith("by hand")
    assert run("weights", "list", "clip")[1].splitlines()[1].rstrip().endswith("Hugging Face")


def test_the_table_names_the_option_that_takes_its_checkpoints(run: Run) -> None:
    for name, says in (
        ("dino", "--weights NAME takes one; cache:"),
        ("yolox", "--model-weights NAME takes one; cache:"),
        ("vit", "selectors take a NAME by --weights, models of tasks by --model-weights; cache:"),
    ):
        assert says in " ".join(run("weights", "list", name)[1].split())
    code, _, err = run("run", "--selector", "random", "--task", "shapes-det", "--weights", "yolox=nano")
    assert code == 2 and "yolox=nano is a model of a task: --model-weights yolox=nano" in err


def test_the_beginning_of_a_name_lists_all_that_begin_so(run: Run) -> None:
    names = [line.split()[0] for line in run("weights", "list", "yolo")[1].splitlines() if "YOLOX" in line]
    assert {"yolox=nano", "mmdet=yolox-tiny"} <= set(names) and len(names) == len(set(names))
    code, _, err = run("weights", "fetch", "yolo")
    assert code == 2 and "no checkpoint, selector or task 'yolo'" in err


def test_the_whole_table_as_csv(run: Run) -> None:
    assert run("weights", "list", "--format", "csv")[1] == TABLE.read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(run("weights", "list", "moco", "--format", "csv")[1])))
    assert [row["name"] for row in rows] == ["moco=vit-s16", "moco=vit-b16"]


def test_all_that_is_known_of_one(run: Run, cache: Path) -> None:
    out = run("weights", "list", "yolox=nano")[1]
    assert "options       model=yolox_nano_8xb8-300e_coco\n" in out and "size          7,694,953 bytes\n" in out
    assert re.search(r"^SHA-256       cd28f55f\w{56}\nstated by     other projects", out, re.M)
    assert f"(Apache-2.0) into {cache / 'yolox' / 'nano'}\n" in out
    out = run("weights", "list", "mmdet=rtmdet-l")[1]
    assert "SHA-256       5a0be7c4…\nstated by     digits in the file's name\n" in out and "size" not in out
    out = run("weights", "list", "dino=vit-s16")[1]
    assert "size          about 86,662,656 bytes\n" in out and "SHA-256" not in out and "stated by" not in out
    assert (
        "MD5           1b25e9…\nstated by     the authors' page\n" in run("weights", "list", "mae-finetuned=vit-b16")[1]
    )


def test_fetching_what_cannot_be_fetched(run: Run) -> None:
    code, out, err = run("weights", "fetch", "dino=vit-s16", "evit=deit-s-0.7")
    assert code == 1 and out == "" and len(err.splitlines()) == 2
    assert "no network, or no answer from https://dl.fbaipublicfiles.com/dino/" in err
    assert "sends no file to a program: put evit-0.7-fuse-img224-deit-s.pth from https://drive.google.com/" in err
    code, _, err = run("weights", "fetch", "dino=vit-s-16")
    assert code == 2 and "no checkpoint, selector or task 'dino=vit-s-16'; did you mean 'dino=vit-s16'?" in err


def test_a_name_on_a_hub_without_a_network(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    code, _, err = run("run", "--selector", "clip", "--weights", "openai-b16", "--task", "shapes-coverage")
    assert code == 1 and "timm/vit_base_patch16_clip_224.openai is not in the hub's cache: give the weights of" in err


def test_verifying(run: Run, cache: Path) -> None:
    assert run("weights", "verify") == (0, f"no checkpoints in {cache}\n", "")
    path = put(cache, "dino=vit-s16", "dino_deitsmall16_pretrain.pth")
    assert run("weights", "verify")[:2] == (0, "dino=vit-s16  ok\n")
    assert (path.parent / SUMS).read_text().startswith(hashlib.sha256(b"weights").hexdigest())
    path.write_bytes(b"other")
    put(cache, "vit=deit-s", "deit_small_patch16_224-cd65a155.pth")
    code, out, _ = run("weights", "verify")
    assert code == 1 and "dino=vit-s16  changed: " in out and "vit=deit-s  wrong: " in out
    assert run("weights", "verify", "moco=vit-s16")[:2] == (1, "moco=vit-s16  not in the cache\n")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--selector", "dino", "--weights", "dino=vit-s16"), "put dino_deitsmall16_pretrain.pth from https://dl.fb"),
        (
            ("--selector", "dino", "--weights", "vit-s-16"),
            "no file vit-s-16; did you mean vit-s16? give a file of your",
        ),
        (
            ("--selector", "random", "--model-weights", "rtmdet-tny"),
            "--model-weights rtmdet-tny: no such file; did you",
        ),
        (
            ("--selector", "random", "--model-weights", "rtmdet-tiny"),
            "put rtmdet_tiny_8xb32-300e_coco_20220902_112414-",
        ),
    ],
)
def test_a_run_says_what_is_missing(run: Run, given: tuple[str, ...], says: str) -> None:
    code, _, err = run("run", *given, "--task", "coco-det", "--data", "none")
    assert code == 1 and says in err and err.count("\n") == 1


def test_a_sweep_file_may_name_checkpoints(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("selectors:\n  - name: dino\n    weights: vit-s16\ntasks: [shapes-coverage]\n")
    code, _, err = run("run", "--config", "s.yaml")
    assert code == 1 and "s.yaml:3: weights dino=vit-s16: no network" in err
