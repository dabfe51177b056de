"""Outputs of a model and classes of a data set: names, order, and what is assumed without names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.checkpoints import read_weights
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.class_order import match_outputs, order_assumed, read_class_names
from ltrp_bench.tasks.models.openmmlab import models


@pytest.mark.parametrize("text", ["cat\n\nhot dog\n", '["cat", "hot dog"]', "\ufeffcat\r\nhot dog"])
def test_names_from_a_file_or_a_list(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(text.encode())
    assert read_class_names(tmp_path / "names.txt") == read_class_names(["cat", "hot dog"]) == ("cat", "hot dog")
    assert read_class_names('["cat", "hot dog"]') == ("cat", "hot dog") and read_class_names(None) is None


@pytest.mark.parametrize(
    ("given", "said"), [("nowhere.txt", "cannot read the file"), ([], "give the names"), ([1], "give the")]
)
def test_names_that_cannot_be_read(given: Any, said: str) -> None:
    with pytest.raises((InputError, UsageError), match=said):
        read_class_names(given)


def test_outputs_in_another_order_are_matched_by_name() -> None:
    assert match_outputs("t", ["Dog, domestic", "hot-dog", "cat"], ["cat", "hot dog", "dog"]).tolist() == [2, 1, 0]
    assert match_outputs("t", ["a", "b"], ["a", "b"]).tolist() == [0, 1]
    with pytest.raises(
        InputError, match=r"the model's 2 classes \(a, …\) are not the data set's 2: b in one alone.*classes=FILE"
    ):
        match_outputs("t", ["a", "c"], ["a", "b"])
    assert "its 4 outputs; assumed to be the data set's classes in their order (a, b, c, …)" in order_assumed("abcd")


def checkpoint(path: Path, meta: Any) -> Path:
    torch.save({"meta": meta, "state_dict": {"a": torch.zeros(1)}}, path)
    return path


@pytest.mark.parametrize(
    "meta",
    [{"dataset_meta": {"classes": ("a", "b")}}, {"CLASSES": ["a", "b"]}, {"dataset_meta": {"CLASSES": ("a", "b")}}],
)
def test_a_checkpoint_names_its_classes(meta: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = read_weights(checkpoint(tmp_path / "epoch_1.pth", meta))
    assert models.checkpoint_classes(path) == ("a", "b")
    configured: tuple[str, ...] = ("A", "b ")
    monkeypatch.setattr(models, "class_names", lambda *_: configured)
    assert models.agreed_classes({}, "c.py", path) == ("A", "b ")
    configured = ("b", "a")
    with pytest.raises(
        InputError,
        match=r"epoch_1.pth was trained on 2 classes, config c.py has 2; from number 0 on they differ: a, b, …",
    ):
        models.agreed_classes({}, "c.py", path)
    configured = ("a", "b", "c")
    with pytest.raises(InputError, match="config c.py has 3; from number 2 on they differ: no more, … instead of c"):
        models.agreed_classes({}, "c.py", path)
    assert models.agreed_classes({}, "c.py", path, ("x", "y")) == ("x", "y")


def test_a_checkpoint_without_names_leaves_them_to_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = read_weights(checkpoint(tmp_path / "w.pth", {"epoch": 1}))
    monkeypatch.setattr(models, "class_names", lambda *_: ("a",))
    assert models.checkpoint_classes(path) is None and models.agreed_classes({}, "c.py", path) == ("a",)
    assert models.agreed_classes({}, "c.py", None) == ("a",)

    def unnamed(*_: Any) -> Any:
        raise InputError("does not say")

    monkeypatch.setattr(models, "class_names", unnamed)
    assert models.agreed_classes({}, "c.py", read_weights(checkpoint(path.path, {"CLASSES": ("z",)}))) == ("z",)
    with pytest.raises(InputError, match="does not say"):
        models.agreed_classes({}, "c.py", None)


def test_a_permuted_classifier_gives_equal_rows() -> None:
    from dataclasses import replace

    from ltrp_bench.tasks.base import Keep
    from ltrp_bench.tasks.classification import ClassificationTask
    from ltrp_bench.tasks.data.shapes.single_label import ShapesSingleLabelDataset
    from ltrp_bench.tasks.models.vit.loading import load_timm
    from ltrp_bench.tasks.splits.split import shapes_split

    data, made = ShapesSingleLabelDataset(2), load_timm(None, "test_vit", random_weights=0, classes=16)
    plain = ClassificationTask("t", data, shapes_split(0), made)
    assert "its 16 outputs" in plain.assumptions[0]
    named = ClassificationTask("t", data, shapes_split(0), replace(made, class_names=data.categories))
    assert named.assumptions == () and named.identity() == plain.identity()
    sample = plain.load(0)
    keep = [Keep(np.ones(plain.grid(sample), bool))]
    expected = plain.predict([sample], keep)
    order = list(range(16))[::-1]
    net: Any = made.net
    net.head.weight.data, net.head.bias.data = net.head.weight.data[order], net.head.bias.data[order]
    turned = ClassificationTask("t", data, shapes_split(0), replace(made, class_names=data.categories[::-1]))
    assert turned.predict([sample], keep) == expected and turned.identity() != plain.identity()
