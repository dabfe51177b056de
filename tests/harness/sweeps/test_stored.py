"""The sweep of a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ltrp_bench.harness.evaluation.recipes import SelectorRecipe, TaskRecipe
from ltrp_bench.harness.evaluation.request import build_selector, build_task
from ltrp_bench.harness.sweeps.document import read_document
from ltrp_bench.harness.sweeps.stored import store_labels, store_sweep
from ltrp_bench.results.store.labels import Labels, read_labels
from ltrp_bench.results.store.run_store import RunStore


def content(folder: Path) -> dict[str, int]:
    return {path.name: read_document(path).data["limit"] for path in sorted(folder.glob("*.yaml"))}


def test_the_last_sweep_and_earlier_ones_are_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    for limit, expected in (
        (1, {"sweep.yaml": 1}),
        (1, {"sweep.yaml": 1}),
        (2, {"sweep.1.yaml": 1, "sweep.yaml": 2}),
        (1, {"sweep.1.yaml": 1, "sweep.2.yaml": 2, "sweep.yaml": 1}),
    ):
        store_sweep(store, {"limit": limit})
        assert content(store.root) == expected
    # As if a process was killed after the copy.
    (store.root / "sweep.3.yaml").write_bytes((store.root / "sweep.yaml").read_bytes())
    store_sweep(store, {"limit": 4})
    assert content(store.root) == {"sweep.1.yaml": 1, "sweep.2.yaml": 2, "sweep.3.yaml": 1, "sweep.yaml": 4}
    assert list(store.tmp.iterdir()) == []


def test_a_chosen_backbone_is_a_label_until_the_user_gives_one(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    task = build_task(TaskRecipe(name="shapes-coverage", arguments={"limit": 1}))
    built = build_selector(SelectorRecipe(name="random"))
    store_labels(store, [(built, task)])
    assert read_labels(tmp_path) == Labels()
    chosen = SelectorRecipe(name="random", options={"model": "timm:vit_tiny_patch16_224"})
    mine = replace(chosen, label="mine")
    for recipe, label in ((chosen, "random (vit_tiny_patch16_224)"), (mine, "mine"), (chosen, "mine")):
        store_labels(store, [(replace(built, recipe=recipe), task)])
        assert read_labels(tmp_path) == Labels({built.info.identity.short: label})


def test_names_of_models_and_files_of_weights_are_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    task = build_task(TaskRecipe(name="shapes-coverage", arguments={"limit": 1}))
    built = build_selector(SelectorRecipe(name="random"))
    models = {"timm:vit_tiny": "vit_tiny", "configs/yolox_nano.py": "yolox_nano", None: "file.pth"}
    for model, name in models.items():
        arguments = {"model": model, "model_weights": "~/there/file.pth"}
        recipes = SelectorRecipe(name="random", weights="there/tiny.pt"), TaskRecipe(name="x", arguments=arguments)
        store_labels(store, [(replace(built, recipe=recipes[0]), replace(task, recipe=recipes[1]))])
        found = read_labels(tmp_path)
        store.root.joinpath("labels.json").unlink()
        assert found.weights == {built.info.identity.short: "tiny.pt"}
        assert found.models == {task.info.identity.short: name}
