"""Options of identities, and the shortest texts that tell variants apart."""

from __future__ import annotations

import json

import pytest

from ltrp_bench.results.leaderboard.variants import differences, model_in, options_text, shown_model

HASH = "ab" * 32


def test_options_hold_what_is_set_and_hashes_in_short() -> None:
    identity = {
        "name": "evit",
        "options": {"heads": None, "diversity": False, "mean": [0.5, 0.5, 0.5]},
        "version": 1,
        "weights": HASH,
        "detector": {"classes": ["a", "b"], "config": HASH},
        "text": "x" * 41,
    }
    found = json.loads(options_text(identity))
    assert found.pop("text").startswith("#") and found.pop("detector.classes").startswith("#")
    assert found == {
        **{"diversity": False, "mean": [0.5, 0.5, 0.5], "version": 1, "weights": "#abababab"},
        **{"detector.config": "#abababab"},
    }
    named = json.loads(options_text(identity, model="yolox", weights="tiny.pt"))
    assert (named["model"], named["weights"]) == ("yolox", "tiny.pt")


def texts(*variants: dict[str, object]) -> list[str]:
    return differences([json.dumps(one) for one in variants])


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        (({"bins": 9, "patch": 8}, {"bins": 23, "patch": 8}), ["bins=9", "bins=23"]),
        (({"diversity": True}, {"diversity": False}), ["diversity=true", "diversity=false"]),
        (({"heads": 4}, {}), ["heads=4", ""]),
        (({"images": 60}, {"images": 300}), ["limit 60", "limit 300"]),
        (({"version": 1}, {"version": 2}), ["v1", "v2"]),
        (({"grid": [12, 12]}, {"grid": [14, 14]}), ["grid=12x12", "grid=14x14"]),
        (({"weights": "a.pt"}, {"weights": "#abababab"}), ["", ""]),
        (({"weights": "a.pt"}, {"weights": "b.pt"}), ["a.pt", "b.pt"]),
        (({"model": "yolox", "d.config": "#1"}, {"model": "rtmdet", "d.config": "#2"}), ["yolox", "rtmdet"]),
        (({"label_set": "shapes-seen/0", "split": "#1"}, {"label_set": "x", "split": "#2"}), ["shapes-seen/0", "x"]),
        (({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 3}), ["a=1 b=1", "a=2 b=1", "a=2 b=3"]),
        (({"model": "m", "p.crop": 0.9}, {"model": "n", "p.crop": 1.0}), ["m", "n"]),  # parts of a model follow from it
        (({"model": "m", "p.crop": 0.9}, {"model": "m", "p.crop": 1.0}), ["crop=0.9", "crop=1.0"]),
    ],
)
def test_only_what_differs_is_shown(variants: tuple[dict[str, object], ...], expected: list[str]) -> None:
    assert texts(*variants) == expected


def test_variants_without_options_have_no_text() -> None:
    assert differences(["", ""]) == ["", ""] and differences(["{broken", '{"a": 1}']) == ["", "a=1"]


def test_names_of_models() -> None:
    assert shown_model("timm:vit_tiny") == "vit_tiny"
    assert shown_model("/configs/yolox_nano.py") == "yolox_nano"
    assert shown_model("vit_tiny_patch16_224.augreg_in21k") == "vit_tiny_patch16_224.augreg_in21k"
    assert model_in({"model": {"model": "vit_tiny"}}) == "vit_tiny"
    assert model_in({"detector": {"config": HASH}, "segmentor": {"model": "of the file"}}) == ""
