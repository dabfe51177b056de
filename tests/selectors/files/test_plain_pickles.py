"""Plain data beside the weights is read, whatever library it is of; code never."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import pathlib
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.checkpoints import load_content, load_state
from ltrp_bench.selectors.errors import InputError

STATE = {"w": torch.arange(4.0)}


def of_library(module: str, name: str, base: type = object) -> type:
    """A class that pickles as `module.name`, as one of a library that is not installed."""
    found = sys.modules.setdefault(module, types.ModuleType(module))
    made = type(name, (base,), {"__module__": module})
    setattr(found, name, made)
    return made


def filled(kind: type, **values: Any) -> Any:
    made = kind()
    made.__dict__.update(values)
    return made


@pytest.fixture
def extras(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    libraries = ("omegaconf", "omegaconf.dictconfig", "easydict", "yacs", "yacs.config", "hydra.conf")
    for module in (*libraries, "my_project", "my_project.options"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    config = of_library("omegaconf.dictconfig", "DictConfig")
    kind = enum.Enum("Kind", {"SMALL": 1}, module="my_project.options")
    monkeypatch.setattr(sys.modules["my_project.options"], "Kind", kind, raising=False)
    easy, node = of_library("easydict", "EasyDict", dict), of_library("yacs.config", "CfgNode", dict)
    return {
        "omegaconf": filled(config, _content={"lr": 0.1}, _parent=None),
        "easydict": easy({"lr": 1e-3}),
        "yacs": node({"model": node({"depth": 12})}),
        "args": argparse.Namespace(out=pathlib.PurePosixPath("/x/y"), lr=0.1),
        "here": pathlib.Path("/tmp/run"),
        "there": pathlib.PureWindowsPath("C:/run"),
        "simple": types.SimpleNamespace(a=1),
        "own": filled(of_library("my_project.options", "Options"), lr=0.1),
        "enumeration": kind.SMALL,
        "best": np.float64(0.83),
        "half": np.float16(0.5),
        "count": np.int64(3),
        "yes": np.bool_(True),
        "curve": np.arange(3, dtype=np.float32),
        "names": np.array(["a", "bc"]),
        "when": datetime.datetime(2024, 5, 1),
        "groups": collections.defaultdict(list, {"a": [1]}),
        "last": collections.deque([1, 2], maxlen=5),
        "set": {1, 2},
        "slice": slice(1, 2),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_data_beside_the_weights(extras: dict[str, Any], tmp_path: Path, zipped: bool) -> None:
    for name, value in extras.items():
        torch.save({"state_dict": STATE, name: value}, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
        assert torch.equal(load_state(tmp_path / "w.ckpt")["w"], STATE["w"]), name
    torch.save({"state_dict": STATE, **extras}, tmp_path / "w.ckpt")
    found = load_content(tmp_path / "w.ckpt")
    assert found["args"].lr == 0.1 and float(found["best"]) == 0.83 and found["yacs"]["model"]["depth"] == 12
    assert found["curve"].tolist() == [0, 1, 2] and found["easydict"] == {"lr": 1e-3} and found["groups"] == {"a": [1]}
    assert str(found["here"]) == "/tmp/run"


def test_mmengines_history_is_read_without_mmengine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmengine.logging import HistoryBuffer

    hub = {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}
    torch.save({"state_dict": STATE, "message_hub": {"log_scalars": hub}}, tmp_path / "iter_1.pth")
    assert torch.equal(load_state(tmp_path / "iter_1.pth")["w"], STATE["w"])


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (_Calls(exec, "raise SystemExit(7)"), "exec"),
        (_Calls(getattr, argparse.Namespace, "__init__"), "getattr"),
        (_Calls(pathlib.Path.touch, pathlib.PurePosixPath("evil")), "getattr|touch|Path"),
        (_Calls(__import__, "os"), "__import__"),
        (torch.nn.Linear(1, 1), "Linear"),
    ],
)
def test_code_is_refused_by_its_name_and_not_run(made: Any, named: str, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "extra": made}, tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=f"not a plain pickle of tensors, it needs .*({named}).*re-save its state dict"
    ):
        load_state(tmp_path / "w.pth")


def test_records_of_a_library_run_nothing(tmp_path: Path) -> None:
    """A name within a library that stands for plain data makes an empty record, whatever its arguments are."""
    text = b"\x80\x02}(X\x05\x00\x00\x00extracomegaconf\nrun\nX\x04\x00\x00\x00evil\x85RX\x01\x00\x00\x00wK\x01u."
    assert pickle.dumps({}) and text
    torch.save({"w": STATE["w"]}, tmp_path / "w.pth", _use_new_zipfile_serialization=True)
    import zipfile

    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "e.pth", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, text if name.endswith("data.pkl") else content)
    assert load_content(tmp_path / "e.pth") == {"extra": {}, "w": 1}
