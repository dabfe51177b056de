"""Devices and provenance."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import pytest
import torch

from ltrp_bench.harness.evaluation.environment import device_name, provenance, usable_device
from ltrp_bench.selectors.errors import UsageError


def test_auto_is_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_device("cpu") == "cpu"
    for available, device in [(True, "cuda"), (False, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert usable_device("auto") == device


@pytest.mark.parametrize("name", ["meta", "vulkan"])
def test_other_kinds_of_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}: write auto, cpu, cuda, cuda:1 or mps"):
        usable_device(name)


def test_what_torch_says_comes_in_one_line() -> None:
    with pytest.raises(UsageError, match="--device tpu9 cannot be used here: ") as caught:
        usable_device("tpu9")
    assert "\n" not in str(caught.value)


def test_provenance_is_plain_json_with_versions() -> None:
    found = provenance("cpu")()
    assert json.loads(json.dumps(found)) == found
    assert sorted(found) == [
        *("command", "cpu", "cpus", "device", "finished", "machine", "python", "system", "threads", "versions")
    ]
    assert found["device"] == "cpu" and found["command"] == sys.argv
    assert found["versions"]["torch"] == version("torch")


def test_a_gpu_is_named_with_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_name("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"model of {device}")
    assert device_name("cuda:1") == "cuda:1 (model of cuda:1)"
