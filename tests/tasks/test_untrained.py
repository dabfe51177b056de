"""Configurations of untrained models are plain JSON and name the classes of `shapes`."""

from __future__ import annotations

import json

from ltrp_bench.tasks.data.shapes.world import CATEGORIES
from ltrp_bench.tasks.untrained import PHOTO_SEGMENTOR, SHAPES_CLASSIFIER, SHAPES_MULTILABEL, SHAPES_SEGMENTOR


def test_configurations_are_plain_json() -> None:
    for config in (SHAPES_CLASSIFIER, SHAPES_MULTILABEL, SHAPES_SEGMENTOR, PHOTO_SEGMENTOR):
        assert json.loads(json.dumps(config)) == config
        assert config["image_size"] % config["patch_size"] == 0 and config["embed_dim"] % config["heads"] == 0


def test_classes_are_the_worlds() -> None:
    assert SHAPES_CLASSIFIER["classes"] == SHAPES_MULTILABEL["classes"] == list(CATEGORIES)
    assert SHAPES_SEGMENTOR["classes"] == ["background", *CATEGORIES] and "classes" not in PHOTO_SEGMENTOR
