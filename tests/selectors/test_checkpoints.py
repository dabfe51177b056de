from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ltrp_bench.selectors import checkpoints
from ltrp_bench.selectors.checkpoints import (
    WEIGHTS,
    load_into,
    load_metadata,
    load_state,
    looks_like,
    resolve,
    save_safetensors,
    sha256_of,
    shipped,
    strip_prefix,
)
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.gfnet.checkpoints import load_gfnet
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.ltrp.ranker import load_ranker
from ltrp_bench.selectors.vit.backbones import load_backbone

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil",)


def one_line(error: pytest.ExceptionInfo[InputError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text and len(text) < 600
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE, "optimizer": {"lr": 1}, "args": argparse.Namespace(lr=1), "epoch": 3},
        {"state_dict": STATE, "meta": {"epoch": 1}},
        {"teacher": STATE, "student": {}},
        {"model": {"module." + k: v for k, v in STATE.items()}},
    ],
)
def test_official_wrappings(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    state = load_state(tmp_path / "w.pth")
    assert state.keys() == STATE.keys() and all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_safetensors_round_trip_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "w.safetensors"
    save_safetensors(path, STATE, {"kind": "test", "config": {"b": [1, 2]}, "a": "x", "z": "y"})
    assert load_metadata(path) == {"kind": "test", "config": '{"b": [1, 2]}', "a": "x", "z": "y"}
    assert all(torch.equal(v, STATE[k]) for k, v in load_state(path).items())
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_weights_are_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    script = (
        "import sys, torch; from ltrp_bench.selectors.checkpoints import save_safetensors;"
        "save_safetensors(sys.argv[1], {'b': torch.ones(2), 'a': torch.zeros(3)}, {c: c for c in 'qwertyuiop'})"
    )
    for name in "12":
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_half_precision_rounds_floating_point_numbers_alone(tmp_path: Path) -> None:
    state = {"w": torch.tensor([1.0, 1 / 3]), "steps": torch.tensor(70000)}
    save_safetensors(tmp_path / "a.safetensors", state, dtype=torch.float16)
    found = load_state(tmp_path / "a.safetensors")
    assert found["w"].dtype == torch.float16 and found["w"].tolist() == [1.0, 0.333251953125]
    assert int(found["steps"]) == 70000
    with pytest.raises(InputError, match="cannot store w as float16: its largest number does not fit"):
        save_safetensors(tmp_path / "a.safetensors", {"w": torch.tensor([70000.0])}, dtype=torch.float16)


def test_shipped_weights_are_in_half_precision_as_their_cards_say() -> None:
    folders = (WEIGHTS, WEIGHTS.parents[1] / "tasks" / "weights")
    files = sorted(file for folder in folders for file in folder.glob("*.safetensors"))
    assert len(files) == 24
    for file in files:
        types = {value.dtype for value in load_file(file).values() if value.is_floating_point()}
        assert types == {torch.float16}, file
        assert f"`{sha256_of(file)}`, {file.stat().st_size:,} bytes" in file.with_suffix(".md").read_text()


def test_a_text_file_is_no_bare_number(tmp_path: Path) -> None:
    for text in ("hello\n", "# weights\n", "version https://git-lfs.github.com/spec/v1\n", "<!DOCTYPE html>\n"):
        (tmp_path / "w.pth").write_text(text)
        with pytest.raises(InputError) as error:
            load_state(tmp_path / "w.pth")
        one_line(error, "cannot read weights")
        assert not re.search(r"\('?\w{1,3}'?\)$", str(error.value)), error.value


def test_missing(tmp_path: Path) -> None:
    for name in ("none.pth", "none.safetensors"):
        with pytest.raises(InputError) as error:
            load_state(tmp_path / name)
        one_line(error, "weights not found", name)
    with pytest.raises(InputError, match="are a folder: give a file of weights"):
        load_state(tmp_path)
    with pytest.raises(InputError, match="cannot read weights"):
        sha256_of(tmp_path / "none")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", bytes(range(256)) * 20])
def test_corrupt(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        load_state(tmp_path / name)
    one_line(error, "cannot read weights", name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_cut_short(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save({"model": STATE}, path)
    else:
        save_safetensors(path, STATE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError) as error:
        load_state(path)
    one_line(error, "cannot read weights")


def test_a_pickle_that_is_not_plain_weights_is_named_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": STATE, "extra": Evil()}, "w.pth")
    with pytest.raises(InputError) as error:
        load_state("w.pth")
    one_line(error, "not a plain pickle of tensors", "system")
    assert not Path("evil").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"model": {}}, 7])
def test_no_state_dict_inside(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="no state dict inside"):
        load_state(tmp_path / "w.pth")


def test_foreign_weights_are_told_by_key_and_shape() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    state = {"0.weight": torch.zeros(4, 3), "0.bias": torch.zeros(2), "mask_token": torch.zeros(1)}
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(InputError) as error:
        load_into(model, state, "the toy of toy.pth")
    one_line(
        error,
        "the toy of toy.pth",
        "2 keys missing: 1.weight, 1.bias",
        "1 unexpected: mask_token",
        "0.weight 4x3 instead of 2x3",
        "looks like a MAE pretraining checkpoint",
    )
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_fitting_weights_load_even_in_half_precision() -> None:
    model = nn.Linear(3, 2)
    load_into(model, {"weight": STATE["a.weight"].half(), "bias": STATE["a.bias"].half()})
    assert model.weight.dtype == torch.float32 and torch.equal(model.weight.data, STATE["a.weight"])


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("mae_forward", "MAE pretraining"),
        ("evit", "plain vision transformer"),
        ("dynamicvit", "DynamicViT"),
        ("cropr", "a Cropr"),
        ("dino", "plain vision transformer"),
    ],
)
def test_guesses_at_published_models(golden: Callable, name: str, guess: str) -> None:
    meta, _, _ = golden(name)
    assert guess in looks_like(dict.fromkeys(meta["shapes"], torch.zeros(1)))


def test_guesses() -> None:
    zero = torch.zeros(1)
    assert "LTRP ranker" in looks_like({"score_net.cls_token": zero, "mim.mask_token": zero})
    assert "detector" in looks_like({"backbone.conv1.weight": zero, "bbox_head.fc.weight": zero})
    assert "ResNet" in looks_like({"layer4.1.conv1.weight": zero})
    assert "DINO" in looks_like({"backbone.cls_token": zero})
    assert "unknown (foo, …)" in looks_like({"foo": zero})
    assert looks_like({}) == "an empty checkpoint"


def test_shipped_and_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "WEIGHTS", tmp_path)
    save_safetensors(tmp_path / "ltrp.toy.safetensors", STATE)
    assert shipped("ltrp.toy") == resolve("ltrp.toy") == tmp_path / "ltrp.toy.safetensors"
    assert resolve(tmp_path / "x.pth") == tmp_path / "x.pth"
    assert resolve("x.pth") == Path("x.pth")
    with pytest.raises(InputError, match=r"no bundled weights named 'ltrp.moon' \(bundled: ltrp.toy\)"):
        resolve("ltrp.moon")


def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(path, STATE)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(InputError) as error:
        save_safetensors(path, {"b": torch.zeros(4)})
    one_line(error, "No space left on device")
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_strip_prefix() -> None:
    assert list(strip_prefix({"a.x": torch.zeros(1), "b.x": torch.zeros(1)}, "a.")) == ["x"]


HUGE = 10**7
"""A width or a patch size at which a model would take more memory than any machine has."""


@pytest.mark.parametrize(
    ("tag", "size", "load"),
    [
        ("vit.shapes0", "embed_dim", load_backbone),
        ("vit.shapes0", "depth", load_backbone),
        ("mae.shapes", "embed_dim", load_mae),
        ("ltrp.shapes", "embed_dim", load_ranker),
        ("ltrp.shapes", "depth", load_ranker),
        ("mae.shapes", "decoder_depth", load_mae),
        ("gfnet.shapes0", "fc_hidden", load_gfnet),
    ],
)
def test_a_configuration_that_does_not_fit_its_tensors_takes_no_memory(
    tmp_path: Path, tag: str, size: str, load: Callable[[Path], object]
) -> None:
    path = tmp_path / "damaged.safetensors"
    metadata = load_metadata(shipped(tag))
    config = json.loads(metadata["config"])
    assert size in config
    config[size] = HUGE
    save_safetensors(path, load_state(shipped(tag)), {**metadata, "config": config})
    with pytest.raises(InputError, match=f"damaged.safetensors|{HUGE}") as caught:
        load(path)
    assert "\n" not in str(caught.value)
