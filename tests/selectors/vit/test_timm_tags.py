"""Label sets from timm's tags; every pretrained model of the installed timm is classified or refused."""

from __future__ import annotations

from collections import Counter

import pytest
import timm

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.supervision import CLASSIFIERS
from ltrp_bench.selectors.vit.timm_tags import label_sets_of

PRETRAINED = timm.list_pretrained()

KNOWN = {
    # Labels, in the order of training
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": "imagenet21k+imagenet1k",
    "deit_small_patch16_224.fb_in1k": "imagenet1k",
    "deit3_small_patch16_224.fb_in22k_ft_in1k": "imagenet21k+imagenet1k",
    "vit_medium_patch16_reg4_gap_256.sbb_in12k_ft_in1k": "imagenet12k+imagenet1k",
    "mobilenetv4_conv_medium.e180_ad_r384_in12k": "imagenet12k",
    "swin_base_patch4_window7_224.ms_in22k_ft_in1k": "imagenet21k+imagenet1k",
    "mvitv2_base_cls.fb_inw21k": "imagenet21k",
    "tresnet_m.miil_in21k_ft_in1k": "imagenet21k+imagenet1k",
    "vit_base_patch16_224.bamboo": "bamboo",
    "dpn92.mx_in1k": "imagenet21k+imagenet1k",
    "dpn98.mx_in1k": "imagenet1k",
    "vit_base_patch16_224.sam_in1k": "imagenet1k",
    # Texts
    "vit_base_patch16_clip_224.openai": "captions",
    "vit_base_patch16_clip_224.openai_ft_in12k_in1k": "captions+imagenet12k+imagenet1k",
    "vit_large_patch14_clip_224.laion2b_ft_in1k": "captions+imagenet1k",
    "vit_base_patch16_siglip_224.v2_webli": "captions",
    "vit_base_patch16_clip_224.metaclip_2pt5b": "captions",
    "vit_huge_patch14_clip_378.dfn5b": "captions",
    "convnext_base.clip_laiona_augreg_ft_in1k_384": "captions+imagenet1k",
    "fastvit_mci2.apple_mclip2_dfndr2b": "captions",
    "resnet50_clip.yfcc15m": "captions",
    "aimv2_large_patch14_224.apple_pt": "captions",
    "vit_intern300m_patch14_448.ogvl_dist": "captions",
    "beit3_base_patch16_224.indomain_in22k_ft_in1k": "captions+imagenet21k+imagenet1k",
    "vit_pe_core_base_patch16_224.fb": "captions",
    "vit_pe_spatial_base_patch16_512.fb": "captions+sa1b",
    "convnext_tiny.eupe_lvd1689m": "captions",
    # ImageNet's images with targets from CLIP
    "eva_large_patch14_196.in22k_ft_in1k": "captions+imagenet1k",
    "eva_large_patch14_196.in22k_ft_in22k_in1k": "captions+imagenet21k+imagenet1k",
    "eva02_tiny_patch14_224.mim_in22k": "captions",
    "eva_giant_patch14_336.m30m_ft_in22k_in1k": "captions+imagenet21k+imagenet1k",
    "beitv2_base_patch16_224.in1k_ft_in1k": "captions+imagenet1k",
    "beitv2_base_patch16_224.in1k_ft_in22k": "captions+imagenet21k",
    # Hashtags and masks
    "resnet50.fb_swsl_ig1b_ft_in1k": "hashtags+imagenet1k",
    "resnext101_32x8d.fb_wsl_ig1b_ft_in1k": "hashtags+imagenet1k",
    "regnety_160.swag_ft_in1k": "hashtags+imagenet1k",
    "hgnetv2_b0.ssld_stage1_in22k_in1k": "hashtags+imagenet1k",
    "hrnet_w18_ssld.paddle_in1k": "hashtags+imagenet1k",
    "hgnet_small.paddle_in1k": "imagenet1k",
    "samvit_base_patch16.sa1b": "sa1b",
    # Teachers and pseudo labels
    "tf_efficientnet_b0.ns_jft_in1k": "imagenet1k",
    "resnet50.fb_ssl_yfcc100m_ft_in1k": "imagenet1k",
    "deit_small_distilled_patch16_224.fb_in1k": "imagenet1k",
    "tiny_vit_5m_224.dist_in22k_ft_in1k": "captions+imagenet21k+imagenet1k",
    "resnetv2_50x1_bit.goog_distilled_in1k": "imagenet21k+imagenet1k",
    "flexivit_base.1200ep_in1k": "imagenet1k",
    # No labels
    "vit_small_patch16_224.dino": "self",
    "vit_base_patch14_reg4_dinov2.lvd142m": "self",
    "vit_base_patch16_dinov3.lvd1689m": "self",
    "vit_base_patch16_224.mae": "self",
    "hiera_tiny_224.mae_in1k_ft_in1k": "imagenet1k",
    "convnextv2_tiny.fcmae_ft_in22k_in1k": "imagenet21k+imagenet1k",
    "beit_base_patch16_224.in22k_ft_in22k_in1k": "imagenet21k+imagenet1k",
    "vit_huge_patch14_gap_224.in22k_ijepa": "self",
    "regnety_320.seer": "self",
    "regnety_320.seer_ft_in1k": "imagenet1k",
}


@pytest.mark.parametrize(("name", "label_sets"), KNOWN.items())
def test_known_trainings(name: str, label_sets: str) -> None:
    assert "+".join(label_sets_of(name)) == label_sets.removeprefix("self")


@pytest.mark.skipif(timm.__version__ != "1.0.31", reason="the counts are those of timm 1.0.31")
def test_all_pretrained_models_of_timm() -> None:
    assert set(KNOWN) <= set(PRETRAINED)
    found: Counter[str] = Counter()
    for name in PRETRAINED:
        try:
            found["+".join(label_sets_of(name)) or "self"] += 1
        except InputError as error:
            assert "label_set=NAME" in str(error) and "\n" not in str(error)
            found["refused"] += 1
    assert found == {
        "imagenet1k": 1041,
        "captions": 283,
        "imagenet21k+imagenet1k": 124,
        "imagenet21k": 73,
        "self": 65,
        "imagenet12k+imagenet1k": 48,
        "imagenet12k": 38,
        "hashtags+imagenet1k": 35,
        "captions+imagenet1k": 28,
        "captions+imagenet21k+imagenet1k": 18,
        "captions+imagenet12k+imagenet1k": 18,
        "captions+sa1b": 17,
        "sa1b": 11,
        "captions+imagenet12k": 10,
        "captions+imagenet21k": 8,
        "refused": 7,
        "bamboo": 2,
    }


def test_the_last_label_set_is_that_of_the_classifier() -> None:
    differing = set()
    for name in PRETRAINED:
        config = timm.get_pretrained_cfg(name)
        classifier = CLASSIFIERS.get(config.num_classes) if config else None
        try:
            label_sets = label_sets_of(name)
        except InputError:
            continue
        if classifier and label_sets[-1:] != (classifier,):
            differing.add(name)
    # These have the 1,000 outputs of their architecture.
    assert differing <= {"resmlp_12_224.fb_dino", "resmlp_24_224.fb_dino"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_224.flickr_ft_in1k", "the part 'flickr' of timm's tag"),
        ("vit_tiny_patch16_224.in1k_flickr", "the part 'flickr' of timm's tag"),
        ("vit_tiny_patch16_224.dist_in1k", "the part 'dist' of timm's tag"),  # the teacher may know more
        ("newnet_distilled_224.in1k", "the part 'distilled' of timm's tag"),
        ("vit_tiny_patch16_224.fb", "does not tell the labels"),
        ("vit_tiny_patch16_224", "does not tell the labels"),
        ("nextvit_small.bd_ssld_6m_in1k", "unknown .neither the 6 million images"),
        ("ghostnetv3_100.in1k", "unknown .from a BEiT v2"),
    ],
)
def test_what_is_not_known_is_asked_for(name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"{message}.*give label_set=NAME"):
        label_sets_of(name)
