"""`train mae --decoder cross`: its model, its determinism, and its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.data.unlabelled import ShapesStream
from ltrp_bench.harness.training.options.pretraining import MaeOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.mae import build_mae, train_mae
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_autoencoder
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import save_mae


def training(out: Path, **options: Any) -> TrainingOptions:
    return TrainingOptions(out=out, iterations=6, batch_size=4, workers=0, device="cpu", **options)


OPTIONS = MaeOptions(decoder="cross", num_images=12)


def test_an_interrupted_training_ends_like_a_whole_one(tmp_path: Path) -> None:
    whole = train_mae(OPTIONS, training(tmp_path / "whole"))

    class Stop(Exception):
        pass

    held = ShapesStream.__getitem__

    def fail_late(self: ShapesStream, position: int) -> torch.Tensor:
        if position >= 16:
            raise Stop
        return held(self, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShapesStream, "__getitem__", fail_late)
        with pytest.raises(Stop):
            train_mae(OPTIONS, training(tmp_path / "cut", save_every=3))
    assert (tmp_path / "cut" / "last_checkpoint").read_text() == "iter_3.pth"
    resumed = train_mae(OPTIONS, training(tmp_path / "cut", save_every=3))
    assert whole["state"].keys() == resumed["state"].keys()
    for key, value in whole["state"].items():
        assert torch.equal(value, resumed["state"][key]), key


def test_every_weight_is_trained_but_the_positions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = build_mae(OPTIONS).state_dict()
    end = train_mae(OPTIONS, training(tmp_path))["state"]
    kept = {key for key, value in start.items() if torch.equal(value, end[key])}
    assert kept == {"pos_embed", "decoder_pos_embed"}


def test_sizes_follow_the_options() -> None:
    tiny, base = (build_mae(MaeOptions(decoder="cross", preset=preset)) for preset in ("tiny", "small"))
    assert isinstance(tiny, CrossMAE) and isinstance(base, CrossMAE)
    assert tiny.config["decoder_depth"] == 3 and base.config["decoder_depth"] == 12
    assert tiny.predict_ratio == 0.25
    shallow = build_mae(MaeOptions(decoder="cross", decoder_depth=2, predict_ratio=0.5))
    assert isinstance(shallow, CrossMAE) and len(shallow.decoder_blocks) == 2 and shallow.predict_ratio == 0.5
    plain = build_mae(MaeOptions(decoder_depth=1))
    assert isinstance(plain, MAE) and len(plain.decoder_blocks) == 1


def test_export_loads_and_has_a_card(tmp_path: Path) -> None:
    weights = tmp_path / "cross.test.safetensors"
    options = "--decoder cross --iterations 2 --batch-size 4 --workers 0 --pictures 8 --no-norm-pix"
    arguments = ["train", "mae", *options.split(), "--out", str(tmp_path / "run"), "--export", str(weights)]
    assert run_command(arguments) == 0
    mae = load_autoencoder(weights)
    assert isinstance(mae, CrossMAE) and mae.image_size == (96, 96) and not mae.norm_pix_loss
    card = weights.with_suffix(".md").read_text()
    assert "| decoder | cross |" in card and "| predict_ratio | 0.25 |" in card and "--decoder cross" in card
    again = [*arguments[:-1], str(tmp_path / "again.safetensors"), "--init", str(weights), "--lr", "0"]
    again[again.index("--out") + 1] = str(tmp_path / "more")
    assert run_command(again) == 0
    for key, value in load_autoencoder(tmp_path / "again.safetensors").state_dict().items():
        assert torch.equal(value, mae.state_dict()[key]), "started from these weights, and a rate of 0 keeps them"


@pytest.mark.parametrize(("first", "second"), [("self", "cross"), ("cross", "self")])
def test_the_encoder_is_taken_from_a_file_with_the_other_decoder(first: str, second: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    given = build_mae(MaeOptions(decoder=first, decoder_depth=1))  # type: ignore[arg-type]
    save_mae(tmp_path / "given.safetensors", given)
    torch.manual_seed(2)
    options = MaeOptions(decoder=second, decoder_depth=1, init=str(tmp_path / "given.safetensors"), num_images=2)  # type: ignore[arg-type]
    made = train_mae(options, TrainingOptions(out=tmp_path / "run", iterations=1, batch_size=2, lr=0, workers=0))
    torch.manual_seed(0)
    fresh = build_mae(options).state_dict()
    taken = {key for key, value in given.state_dict().items() if torch.equal(value, made["state"].get(key, value[:0]))}
    assert {"cls_token", "patch_embed.proj.weight", "blocks.3.mlp.fc2.weight"} <= taken
    assert torch.equal(made["state"]["decoder_pred.weight"], fresh["decoder_pred.weight"])
    notes = json.loads((tmp_path / "run" / "assumed.json").read_text())
    assert "--init: the decoder is of the other kind: only the encoder is taken" in notes


def test_the_record_of_a_plain_one_is_that_of_earlier_trainings(tmp_path: Path) -> None:
    """A folder of an earlier training is resumed only if its training.json is the same."""
    made = train_mae(MaeOptions(num_images=4), TrainingOptions(out=tmp_path, iterations=1, batch_size=2, workers=0))
    recipe = {"iterations", "batch_size", "lr", "weight_decay", "betas", "warmup", "clip", "accumulate", "amp", "seed"}
    assert made["training"].keys() == {"what", "data", "pictures", "revision", "mask_ratio", "init_sha256", *recipe}
    sizes = {"image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio", "layer_norm_eps"}
    decoder = {"decoder_dim", "decoder_depth", "decoder_heads", "norm_pix_loss", "mean", "std"}
    assert made["config"].keys() == sizes | decoder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predict-ratio", "0.25"], "--predict-ratio is for --decoder cross"),
        (["--decoder", "cross", "--predict-ratio", "1.5"], "predicted patches must lie in (0, 1], not 1.5"),
        (["--decoder", "cross", "--mask-ratio", "0.2"], "is more than the 29 masked by --mask-ratio 0.2"),
        (["--decoder", "both"], "--decoder"),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["train", "mae", "--out", str(tmp_path), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
