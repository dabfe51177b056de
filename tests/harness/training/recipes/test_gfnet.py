"""GFNet's three stages train different parts; a killed training ends with the same weights."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from killed import run_until

from ltrp_bench.harness.training.options.selectors import GFNetOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.gfnet import STAGES, load_initial_vit, make_gfnet, train_gfnet
from ltrp_bench.harness.training.training_folder import trained_state
from ltrp_bench.selectors.base import Supervision
from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.gfnet.losses import PolicyOptions
from ltrp_bench.selectors.gfnet.model import GFNet
from ltrp_bench.selectors.gfnet.selector import GFNetSelector
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.layers import resample_positions
from ltrp_bench.tasks.data.shapes import world as shapes

OPTIONS = GFNetOptions(fold=1, stage_iterations=(2, 2, 2), hidden=16, num_images=6)
POLICY = PolicyOptions(epochs=2)


def training(out: Path) -> TrainingOptions:
    return TrainingOptions(out=out, iterations=1, batch_size=4, lr=1e-3, workers=0, save_every=1, device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("gfnet")
    return out, train_gfnet(OPTIONS, training(out), POLICY, eval_images=4)


def folder(out: Path, stage: int) -> Path:
    return out / f"{stage + 1}-{STAGES[stage]}"


def test_each_stage_trains_its_part_alone(made: tuple[Path, dict]) -> None:
    out, _ = made
    states = [trained_state(folder(out, stage)) for stage in range(3)]
    torch.manual_seed(0)
    states.insert(0, make_gfnet(load_initial_vit("mae.shapes", 1), OPTIONS).state_dict())
    for stage, (before, after) in enumerate(pairwise(states)):
        moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
        assert moved == ({"policy"} if stage == 1 else {"prime", "local", "fc"}), stage


def test_the_export_is_a_selector(made: tuple[Path, dict], tmp_path: Path) -> None:
    _, result = made
    weights = tmp_path / "gfnet.test.safetensors"
    save_safetensors(weights, result["state"], {"kind": "gfnet", "config": result["config"]})
    selector = GFNetSelector(weights)
    assert selector.supervision == Supervision.labels("shapes-seen/1")
    assert selector.mean == shapes.MEAN and selector.patch_size == 8 and selector.input_size == (96, 96)
    assert set(selector.net.config["classes"]) == shapes.seen_categories(1)
    assert selector.scores(torch.zeros(2, 3, 96, 96)).shape == (2, 12, 12)
    record = result["training"]
    assert record["what"] == "gfnet" and record["iterations"] == [2, 2, 2] and record["policy_epochs"] == 2
    assert len(record["accuracy"]) == 5 and "policy" not in record


def test_done_stages_are_not_done_again_and_others_refused(made: tuple[Path, dict]) -> None:
    out, result = made
    before = [(f, f.stat().st_mtime_ns) for stage in range(3) for f in folder(out, stage).glob("iter_*.pth")]
    again = train_gfnet(OPTIONS, training(out), POLICY, eval_images=0)
    assert [(f, f.stat().st_mtime_ns) for f, _ in before] == before and len(before) == 3
    assert all(torch.equal(again["state"][k], v) for k, v in result["state"].items())
    with pytest.raises(UsageError, match="another --out"):
        train_gfnet(replace(OPTIONS, encoder_loss=0.5), training(out), POLICY, eval_images=0)


def check_start(net: GFNet, state: dict[str, torch.Tensor]) -> None:
    """Both encoders are the ViT of `state`, but for their positions."""
    for encoder in (net.prime, net.local):
        for key, value in encoder.get_submodule("net").state_dict().items():
            if key != "pos_embed":
                assert torch.equal(value, state[key]), key
    shrunk, middle = (e.get_submodule("net").pos_embed for e in (net.prime, net.local))
    torch.testing.assert_close(shrunk.data, resample_positions(state["pos_embed"], (12, 12), (6, 6)))
    assert torch.equal(middle[0, 1 + 6 + 2], state["pos_embed"][0, 1 + 4 * 12 + 5])


def test_encoders_start_from_the_mae() -> None:
    start = load_initial_vit("mae.shapes", 0)
    check_start(make_gfnet(start, OPTIONS), load_mae("mae.shapes").state_dict())
    with pytest.raises(UsageError, match="crops of 50 pixels"):
        make_gfnet(start, replace(OPTIONS, crop=50))


@pytest.mark.parametrize("fc_norm", [False, True])
def test_encoders_may_start_from_a_vit_of_the_same_labels_alone(fc_norm: bool, tmp_path: Path) -> None:
    config = {"image_size": 96, "patch_size": 8, "embed_dim": 24, "depth": 2, "heads": 2, "classes": 8}
    config |= {"fc_norm": fc_norm, "label_set": "shapes-seen/1", "mean": [0.4] * 3, "std": [0.2] * 3}
    vit = build_vit(config)
    save_safetensors(tmp_path / "vit.safetensors", vit.state_dict(), {"kind": "vit", "config": config})
    net = make_gfnet(load_initial_vit(tmp_path / "vit.safetensors", 1), OPTIONS)
    assert net.mean == (0.4, 0.4, 0.4) and net.std == (0.2, 0.2, 0.2) and net.local.width == 24
    check_start(net, {k.replace("fc_norm", "norm"): v for k, v in vit.state_dict().items()})
    with pytest.raises(UsageError, match=r"was trained on shapes-seen/1, not shapes-seen/0"):
        load_initial_vit(tmp_path / "vit.safetensors", 0)


SCRIPT = """
import sys
from pathlib import Path
from ltrp_bench.harness.training.options.selectors import GFNetOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.gfnet import train_gfnet
from ltrp_bench.selectors.gfnet.losses import PolicyOptions
options = GFNetOptions(fold=1, stage_iterations=(6, 6, 6), hidden=16, num_images=6)
training = TrainingOptions(
    out=Path(sys.argv[1]), iterations=1, batch_size=4, lr=1e-3, workers=0, save_every=1, device="cpu"
)
train_gfnet(options, training, PolicyOptions(epochs=2), eval_images=0)
"""


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    longer = replace(OPTIONS, stage_iterations=(6, 6, 6))
    whole = train_gfnet(longer, training(tmp_path / "whole"), POLICY, eval_images=0)["state"]
    killed = tmp_path / "killed"
    for stage in range(3):
        run_until([sys.executable, "-c", SCRIPT, str(killed)], folder(killed, stage), 2)
    again = train_gfnet(longer, training(killed), POLICY, eval_images=0)["state"]
    for key, value in whole.items():
        assert torch.equal(value, again[key]), key
