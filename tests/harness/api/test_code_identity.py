from __future__ import annotations

import linecache
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ltrp_bench.harness.api.code_identity import is_library, object_identity, source_digest
from ltrp_bench.selectors.controls import RandomControl
from ltrp_bench.selectors.errors import UsageError

CELL = """
THRESHOLD = 3
OTHER = 1

def helper(x):
    return x + THRESHOLD

class Mine:
    name = "mine"
    LEVEL = 2
    def __init__(self, power=1.0):
        self.power = power
    def scores(self, images):
        return helper(images) * self.power
"""


def cell(text: str, monkeypatch: pytest.MonkeyPatch, name: str = "<ipython-input-1>") -> dict[str, Any]:
    """Run a cell of a notebook, whose source is in linecache alone."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), space)
    monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
    return space


def identity(text: str, monkeypatch: pytest.MonkeyPatch, make: str = "Mine()") -> dict[str, Any]:
    return object_identity(eval(make, cell(text, monkeypatch)), "selector", "mine")


def test_the_same_cell_gives_the_same_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity(CELL, monkeypatch) == identity("# another comment above\n" + CELL, monkeypatch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(images) * self.power", "helper(images) - self.power"),
        ("THRESHOLD = 3", "THRESHOLD = 4"),
        ("x + THRESHOLD", "x - THRESHOLD"),
        ("LEVEL = 2", "LEVEL = OTHER"),
        ("power=1.0", "power=2.0"),
    ],
    ids=["method", "global", "function it calls", "class attribute", "state"],
)
def test_what_results_depend_on_changes_the_identity(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity(CELL.replace(old, new), monkeypatch) != identity(CELL, monkeypatch)


def test_what_the_class_does_not_use_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity(CELL.replace("OTHER = 1", "OTHER = 5"), monkeypatch) == identity(CELL, monkeypatch)


def test_a_value_of_a_closure_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def make(k):\n    class Mine:\n        def scores(self, x):\n            return x * k\n    return Mine()\n"
    assert identity(text, monkeypatch, "make(2)") == identity(text, monkeypatch, "make(2)")
    assert identity(text, monkeypatch, "make(2)") != identity(text, monkeypatch, "make(3)")


def test_a_base_class_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = CELL + "\nclass Child(Mine):\n    pass\n"
    assert identity(text, monkeypatch, "Child()") != identity(
        text.replace("* self.power", "/ self.power"), monkeypatch, "Child()"
    )


def test_without_source_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(CELL, "<string>", "exec"), space)
    with pytest.raises(UsageError) as caught:
        object_identity(space["Mine"](), "selector", "mine")
    assert str(caught.value) == (
        "selector 'mine': the source code of Mine cannot be found, so its results cannot be told from those of other "
        "code: write it into a file and import it from there"
    )


def test_tensors_arrays_and_models_count_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    space = cell(CELL, monkeypatch)

    def of(power: object) -> dict[str, Any]:
        return object_identity(space["Mine"](power), "selector", "mine")

    torch.manual_seed(0)
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    same = nn.Linear(2, 2)
    same.load_state_dict(one.state_dict())
    assert of(one) == of(same) != of(other)
    assert of(torch.ones(2)) == of(torch.ones(2)) != of(torch.ones(3))
    assert of(np.ones(2)) == of(np.ones(2)) != of(np.ones(2, np.float32))
    assert of({"a": 1, "b": {2}}) == of({"b": {2}, "a": 1}) != of({"a": 2, "b": {2}})


def test_an_attribute_without_a_digest_asks_for_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cell(CELL, monkeypatch)["Mine"](threading.Lock())
    with pytest.raises(UsageError, match="power is a lock, .* give the class a method identity"):
        object_identity(made, "selector", "mine")
    with_identity = CELL + "    def identity(self):\n        return [1, 'a']\n"
    made = cell(with_identity, monkeypatch)["Mine"](threading.Lock())
    assert object_identity(made, "selector", "mine")["state"] == [1, "a"]


def test_code_of_libraries_is_named_not_read() -> None:
    assert is_library(nn.Linear) and is_library(RandomControl) and is_library(Path)
    assert source_digest(RandomControl(), "selector", "random") is None


def test_a_class_of_a_module_counts_by_its_file(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); import own\n"
        "from ltrp_bench.harness.api.code_identity import source_digest\n"
        "print(source_digest(own.Mine(), 'selector', 'mine'))"
    )
    found = []
    for text in (CELL, CELL, CELL.replace("3", "4")):
        (tmp_path / "own.py").write_text(text)
        run = subprocess.run(
            [sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        found.append(run.stdout)
    assert found[0] == found[1] != found[2]
