from __future__ import annotations

import subprocess
import sys

import pytest

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    openmmlab.setup("mmdet")


def test_set_up_is_silent_and_leaves_the_root_logger_alone() -> None:
    code = (
        "import logging; before = logging.getLogger().level\n"
        "from ltrp_bench.tasks.models.openmmlab import setup as openmmlab; openmmlab.setup(); openmmlab.setup()\n"
        "assert logging.getLogger().level == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "" and done.stderr == ""


def test_unknown_config_names_similar_ones() -> None:
    with pytest.raises(InputError, match=r"similar names: .*retinanet_r50_fpn_1x_coco"):
        openmmlab.load_config("retinanet_r50_fpn_1x_cocoo")


def test_strip_downloads_leaves_other_initialisers() -> None:
    config = {
        "a": {"init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet50"}, "pretrained": "x"},
        "b": [{"init_cfg": {"type": "Normal", "layer": "Conv2d"}}],
    }
    openmmlab.strip_downloads(config)
    assert config["a"] == {"init_cfg": None, "pretrained": None}
    assert config["b"][0]["init_cfg"]["type"] == "Normal"
