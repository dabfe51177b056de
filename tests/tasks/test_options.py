"""Options are frozen, keyword-only and documented."""

from __future__ import annotations

import ast
import dataclasses
import inspect

import pytest

from ltrp_bench.tasks import options
from ltrp_bench.tasks.catalog import CATALOG
from ltrp_bench.tasks.options import CoverageOptions, FolderData, ShapesData

CLASSES = [kind for kind in vars(options).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_field_is_documented(kind: type) -> None:
    (body,) = (n.body for n in ast.parse(inspect.getsource(kind)).body if isinstance(n, ast.ClassDef))
    for field, text in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant), ast.unparse(field)
            assert str(text.value.value).endswith("."), ast.unparse(field)


def test_options_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ShapesData().images = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        CoverageOptions("mine.csv")  # type: ignore[misc]
    with pytest.raises(TypeError, match="subset"):
        FolderData()  # type: ignore[call-arg]


def test_data_and_task_options_have_no_name_in_common() -> None:
    for spec in CATALOG.values():
        names = [{f.name for f in dataclasses.fields(kind)} for kind in (spec.data, spec.family.options)]
        assert names[0].isdisjoint(names[1]), spec.name
