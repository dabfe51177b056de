"""Tasks by name: options of third-party tasks, splits, and errors of constructors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks import registry
from ltrp_bench.tasks.registry import create_task, default_split, option_defaults, option_names, task_names


@pytest.fixture
def third_party(tmp_path: Path) -> Iterator[None]:
    """Installed third-party tasks: folds of a cross-validation, a split of its own, neither, annotations, a class."""
    (tmp_path / "third_party_tasks.py").write_text(
        "from typing import Literal\n"
        "def folds(fold=3, split=None): ...\n"
        "def own(split='/data/mine.csv', fold=0): ...\n"
        "def bare(limit=None): return list(limit)\n"
        "def typed(size: int = 1, data: str = '', rule: Literal['a', 'b'] = 'a'): return 1 / size\n"
        "class Kind:\n    def __init__(self, data=None, size=1): self.data, self.size = data, size\n"
    )
    info = tmp_path / "third_party_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-tasks\nVersion: 1.0\n")
    lines = "".join(f"{name} = third_party_tasks:{name}\n" for name in ("folds", "own", "bare", "typed", "Kind"))
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{lines}")
    sys.path.insert(0, str(tmp_path))
    registry._installed.cache_clear()
    yield
    sys.path.remove(str(tmp_path))
    sys.modules.pop("third_party_tasks", None)
    registry._installed.cache_clear()


@pytest.mark.usefixtures("third_party")
def test_options_of_third_party_tasks_are_their_signatures() -> None:
    assert {"folds", "own", "bare", "Kind"} <= set(task_names())
    assert option_names("Kind") == ["data", "size"]
    assert option_defaults("folds") == {"fold": 3, "split": None}
    made: object = create_task("Kind", "/data", size=2)
    assert vars(made) == {"data": Path("/data"), "size": 2}


@pytest.mark.usefixtures("third_party")
def test_no_split_is_made_up_for_third_party_tasks() -> None:
    assert default_split("own") == ("/data/mine.csv", "")
    for task in ("folds", "bare"):
        assert default_split(task) == (None, "no bundled split for its categories")


@pytest.mark.usefixtures("third_party")
def test_options_that_a_third_party_task_cannot_take_are_one_line() -> None:
    with pytest.raises(UsageError, match="^task 'bare' has no option 'size'; its options: limit$"):
        create_task("bare", size=1)
    with pytest.raises(UsageError, match="^task 'typed': size must be a whole number, got 'big'$"):
        create_task("typed", size="big")
    with pytest.raises(UsageError, match="^task 'typed': rule must be one of a, b, got 'c'$"):
        create_task("typed", "/data", rule="c")
    assert create_task("typed", Path("/data"), size=2) == 0.5  # type: ignore[comparison-overlap]


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(
    ("name", "options", "error"),
    [("bare", {}, TypeError), ("bare", {"limit": 3}, TypeError), ("typed", {"size": 0}, ZeroDivisionError)],
)
def test_an_error_inside_a_third_party_task_is_not_blamed_on_the_user(
    name: str, options: dict[str, int], error: type[Exception]
) -> None:
    with pytest.raises(error, match="not iterable|division by zero"):
        create_task(name, **options)


def test_an_unknown_task_is_one_line() -> None:
    for ask in (default_split, option_names, create_task):
        with pytest.raises(UsageError, match="did you mean 'coco-det'"):
            ask("coco-dett")


def test_a_bug_in_a_constructor_is_not_blamed_on_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    from ltrp_bench.tasks.coverage import CoverageTask

    def broken(*_: object, **__: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(CoverageTask, "__init__", broken)
    with pytest.raises(TypeError, match="a bug"):
        create_task("shapes-coverage", images=3)
