from __future__ import annotations

from pathlib import Path

import pytest

import ltrp_bench as lb
from ltrp_bench.harness.api.objects import selector_entries, selector_sources, task_sources
from ltrp_bench.harness.evaluation.plan import SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe


def test_a_made_selector_is_its_name_and_options() -> None:
    made = lb.create_selector("variance", patch_size=4)
    assert selector_sources([made]) == [SelectorRecipe(name="variance", options={"patch_size": 4})]


def test_a_domain_that_was_asked_for_stays() -> None:
    made = lb.create_selector("ltrp", domain="shapes")
    assert selector_sources([made]) == [SelectorRecipe(name="ltrp.shapes")]


def test_a_name_takes_the_weights_of_the_domain() -> None:
    assert [entry.name for entry in selector_entries(["ltrp"], ("shapes",))] == ["ltrp.shapes"]


def test_equal_selectors_count_once() -> None:
    assert len(selector_sources(["random", lb.create_selector("random"), "random"])) == 1


def test_a_made_task_is_used_as_it_is() -> None:
    task = lb.create_task("shapes-coverage", limit=3)
    (entry,) = task_sources([task], "cpu", 1)
    assert isinstance(entry, TaskEntry) and entry.task is task
    assert entry.recipe == TaskRecipe(name="shapes-coverage", arguments={"limit": 3})


def test_a_task_for_another_device_is_built_again() -> None:
    task = lb.create_task("shapes-cls", limit=3, device="cpu")
    (source,) = task_sources([task], "meta", 4)
    assert isinstance(source, TaskRecipe)
    assert source.arguments == {"limit": 3, "device": "meta"}


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(lb.UsageError, match="'patch'"):
        lb.create_selector("variance", patch=4)
    with pytest.raises(lb.UsageError, match="limt"):
        lb.create_task("shapes-coverage", limt=4)


def test_missing_weights_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(lb.InputError, match="no file"):
        lb.create_selector("evit", weights=tmp_path / "none.pth")


def test_a_class_that_needs_arguments_is_to_be_given_as_an_object() -> None:
    class Needy:
        name = "needy"

        def __init__(self, power: float) -> None:
            self.power = power

    with pytest.raises(lb.UsageError, match="selector Needy: .*'power'; give an object of this class instead"):
        selector_sources([Needy])


def test_an_object_that_only_looks_like_a_selector_is_one() -> None:
    class Plain:
        name, supervision, mean, std = "plain", lb.Supervision.none(), (0.5,) * 3, (0.5,) * 3

        def scores(self, images):  # type: ignore[no-untyped-def]
            return images.mean(1)[:, ::8, ::8]

    (entry,) = selector_sources([Plain()])
    assert isinstance(entry, SelectorEntry) and entry.name == "plain" and entry.recipe is None
