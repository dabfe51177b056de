"""The table of official checkpoints: its form, and what it says of supervision against what the code says."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from urllib.parse import urlsplit

import pytest
import timm
import torch

from ltrp_bench.selectors.vit.supervision import supervision_of
from ltrp_bench.selectors.zoo.table import Checkpoint, checkpoints, checkpoints_of, find, find_all, ways
from ltrp_bench.tasks.models.openmmlab.models import load_model_config
from ltrp_bench.tasks.splits.label_sets import find_label_set

ALL = checkpoints()
SELECTORS = {point.name: point for point in entry_points(group="ltrp_bench.selectors")}
TASKS = {point.name for point in entry_points(group="ltrp_bench.tasks")}
OFFICIAL_CLASSIFIERS = ("evit", "dynamicvit", "gfnet", "adavit", "vit", "cnn", "mae-finetuned")


def of(name: str) -> Checkpoint:
    (found,) = (one for one in ALL if one.name == name)
    return found


def test_names_are_unique_and_short_names_are_so_for_every_owner() -> None:
    names = [one.name for one in ALL]
    assert len(set(names)) == len(names) > 90
    assert all(re.fullmatch(r"[a-z0-9-]+=[a-z0-9.-]+", name) for name in names)
    for owner in {owner for one in ALL for owner in one.used_by}:
        short = [one.short for one in checkpoints_of(owner)]
        assert sorted(set(short)) == sorted(short), owner


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_cells_are_well_formed(one: Checkpoint) -> None:
    assert one.used_by and set(one.used_by) <= {*SELECTORS, *TASKS}
    assert one.title and urlsplit(one.page).scheme == "https"
    assert one.on_hub or one.file
    assert not one.on_hub or not one.file
    assert not one.url or one.on_hub or urlsplit(one.url).scheme == "https"
    assert re.fullmatch(r"|[0-9a-f]{8,64}", one.sha256)
    # Digits of the hash in a name of torch.hub's form are those of the table.
    digits = re.search(r"-([0-9a-f]{8})\.pth$", one.file)
    assert digits is None or one.sha256.startswith(digits[1])
    assert re.fullmatch(r"|[0-9a-f]{6,32}", one.md5) and not (one.sha256 and one.md5)
    stated = bool(one.sha256 or one.md5 or (one.size is not None and not one.approximate))
    assert bool(one.source) == stated and (one.size is not None or not one.approximate)
    assert one.convert in ("", "yolox") and "/" not in one.file
    assert all(urlsplit(url).scheme == "https" for url in one.beside)
    for name in () if one.supervision in ("", "self") else one.supervision.split("+"):
        assert find_label_set(name).name == name


@pytest.mark.parametrize("one", [one for one in ALL if one.on_hub], ids=lambda one: one.name)
def test_supervision_of_names_on_a_hub_is_that_of_their_tags(one: Checkpoint) -> None:
    tagged = one.url.removeprefix("timm:")
    known = timm.get_pretrained_cfg(tagged)
    assert known is not None and known.hf_hub_id == one.repository
    assert str(supervision_of(tagged, {}, known.num_classes, None)) == one.supervision


@pytest.mark.parametrize("one", [one for one in ALL if not one.on_hub], ids=lambda one: one.name)
def test_supervision_of_files_is_what_their_selectors_report(one: Checkpoint) -> None:
    selectors = [name for name in one.used_by if name in SELECTORS]
    if one.kind in OFFICIAL_CLASSIFIERS:
        assert one.supervision == str(supervision_of(None, {}, 1000, None)) == "imagenet1k"
    elif selectors:
        assert {str(SELECTORS[name].load().supervision) for name in selectors} == {one.supervision} == {"self"}
    else:
        assert set(one.used_by) <= TASKS and one.supervision != "self"


@pytest.mark.parametrize("one", [one for one in ALL if one.kind in ("mmdet", "yolox")], ids=lambda one: one.name)
def test_models_of_detectors_are_configs_of_mmdet(one: Checkpoint) -> None:
    assert load_model_config(str(one.options["model"]), "mmdet").model


@pytest.mark.parametrize("one", [one for one in ALL if one.approximate], ids=lambda one: one.name)
def test_approximate_sizes_are_four_bytes_a_parameter(one: Checkpoint) -> None:
    models = {
        "dino=vit-s16": "vit_small_patch16_224.dino",
        "dino=vit-s8": "vit_small_patch8_224.dino",
        "vit=deit-s": "deit_small_patch16_224.fb_in1k",
        "vit=deit-b": "deit_base_patch16_224.fb_in1k",
    }
    with torch.device("meta"):
        model = timm.create_model(models.get(one.name, one.url.removeprefix("timm:")))
    assert one.size == 4 * sum(tensor.numel() for tensor in model.state_dict().values())


@pytest.mark.parametrize("one", [one for one in ALL if one.on_hub and not one.approximate], ids=lambda one: one.name)
def test_stated_sizes_of_names_on_a_hub_leave_room_for_the_head_of_a_safetensors_file(one: Checkpoint) -> None:
    with torch.device("meta"):
        model = timm.create_model(one.url.removeprefix("timm:"))
    assert one.size is not None
    assert 0 < one.size - 4 * sum(tensor.numel() for tensor in model.state_dict().values()) < 100_000


def test_they_are_found_by_their_whole_or_short_name_where_they_fit() -> None:
    assert find("evit", "deit-s-0.7") is find("evit", "evit=deit-s-0.7") is of("evit=deit-s-0.7")
    assert find("topk", "deit-s") is find("evit", "vit=deit-s") is of("vit=deit-s")
    assert find("dino", "deit-s-0.7") is None and find("evit", "deit-s-0.75") is None
    assert find_all("dino=vit-s16") == (of("dino=vit-s16"),)
    assert {one.kind for one in find_all("coco-det")} == {"mmdet", "yolox"}
    assert {one.kind for one in find_all("ltrp-teacher")} == {"mae", "crossmae"}


def test_options_and_ways() -> None:
    assert of("yolox=nano").options == {"model": "yolox_nano_8xb8-300e_coco"} and of("yolox=nano").convert == "yolox"
    assert of("ml-decoder=tresnet-l-448").options == {"model": "tresnet_v2_l", "image_size": 448}
    assert not of("evit=deit-s-0.7").direct and of("dino=vit-s16").direct and not of("clip=openai-b16").direct
    text = ways("evit", "deit-s-.7")
    assert text.startswith("did you mean deit-s-0.7? give a file of your own, timm:MODEL or hf-hub:OWNER/NAME, or a ")
    assert text.endswith("`ltrp-bench weights list evit`")
    assert ways("evit", "x").endswith("`ltrp-bench weights list evit` (deit-s-0.9, deit-s-0.8, deit-s-0.7, …)")
    assert ways("random") == "give a file of your own, or timm:MODEL or hf-hub:OWNER/NAME where it is a ViT"
