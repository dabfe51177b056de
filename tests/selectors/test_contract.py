"""The contract itself: its test of foreign checkpoints is there where there are weights, and can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from contract import SelectorContract

from ltrp_bench.selectors.ltrp.selector import LTRPSelector, LTRPTeacher

NAME = "test_a_foreign_checkpoint_is_one_clear_line"


def _contract(build: Callable[[Path], object]) -> SelectorContract:
    class Some(SelectorContract):
        def foreign(self, tmp_path: Path) -> Callable[[Path], object]:
            return build

    return Some()


@pytest.mark.parametrize("kind", [LTRPSelector, LTRPTeacher])
def test_ltrp_refuses_a_resnet(kind: Callable[[Path], object], tmp_path: Path) -> None:
    getattr(_contract(kind), NAME)(tmp_path)


def test_who_loads_anything_fails(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        getattr(_contract(lambda file: file.stat()), NAME)(tmp_path)


def test_who_has_no_weights_has_no_such_test() -> None:
    class Plain(SelectorContract):
        pass

    assert not hasattr(Plain, NAME)
