"""What each part of timm's tags says about the labels of a training.

Sources are timm's model cards and configurations, and the papers and repositories that they name. Distillation counts:
a student has the label sets of its teacher. Images that were used without their labels do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LabelSets = tuple[str, ...]

IMAGENET1K: Final[LabelSets] = ("imagenet1k",)
IMAGENET12K: Final[LabelSets] = ("imagenet12k",)
IMAGENET21K: Final[LabelSets] = ("imagenet21k",)
CAPTIONS: Final[LabelSets] = ("captions",)
HASHTAGS: Final[LabelSets] = ("hashtags",)
MASKS: Final[LabelSets] = ("sa1b",)
NO_LABELS: Final[LabelSets] = ()


@dataclass(frozen=True)
class TagPart:
    """A part of a tag that tells something about labels: one word between "_", or several.

    Attributes:
        text: regular expression that the whole part matches.
        label_sets: in the order of training; empty for a training without labels; None if they are not published.
        why: explanation or source.
        architectures: patterns as of file names, separated by "|", of the architectures that the line is about.
    """

    text: str
    label_sets: LabelSets | None
    why: str
    architectures: str = "*"


PARTS: Final = (
    # Classes
    TagPart("in1k", IMAGENET1K, "ImageNet-1K"),
    TagPart("in12k", IMAGENET12K, "timm's 11,821 classes of ImageNet-21k"),
    TagPart("in21k|in22k|inw21k", IMAGENET21K, "ImageNet-21k, all releases and subsets (inw21k: winter 2021, 19,168)"),
    TagPart("bamboo", ("bamboo",), "115,217 categories, among them those of ImageNet-21k"),
    TagPart("mx", IMAGENET21K, "5,000 classes of ImageNet-21k first (files dpn*_extra)", "dpn68b|dpn92|dpn107"),
    # Texts
    TagPart("clip|openai|yfcc15m|cc12m", CAPTIONS, "CLIP and its reproductions"),
    TagPart("laion(2b|400m|a)", CAPTIONS, "texts of LAION (a: its aesthetic subset)"),
    TagPart("datacomp(1b|xl)|dfn[25]b|dfndr2b", CAPTIONS, "texts of DataComp"),
    TagPart("metaclip_(400m|2pt5b|altogether)|metaclip2_worldwide", CAPTIONS, "MetaCLIP"),
    TagPart("mclip2?", CAPTIONS, "MobileCLIP"),
    TagPart("tinyclip", CAPTIONS, "TinyCLIP, distilled from CLIP"),
    TagPart("(v2_)?webli(_i18n)?", CAPTIONS, "SigLIP, texts of WebLI"),
    TagPart("merged2b", CAPTIONS, "EVA-CLIP on LAION-2B and COYO"),
    TagPart(r"pali2_\d+b_(pt|docci)|pali_(mix|pt|ocrvqa|refcoco_seg)", CAPTIONS, "PaliGemma, from SigLIP"),
    TagPart("apple_pt(_dist)?", CAPTIONS, "AIMv2 predicts images and their captions", "aimv2_*"),
    TagPart("florence2", CAPTIONS, "texts of images and regions"),
    TagPart("ogvl_(2pt5|dist)", CAPTIONS, "InternViT, trained with a language model or distilled from it"),
    TagPart(r"gemma3n|gemma4_e?\d+b_it", CAPTIONS, "vision-language model"),
    TagPart(
        r"qwen3_(\d|vl)(_0)?_\d+b(_a\d+b)?|qwen3_8_flash_next|qwen_drive_1_0_4b", CAPTIONS, "vision-language model"
    ),
    TagPart("deepseek_v4(_1_flash|_flash_vision_exp)", CAPTIONS, "vision-language model"),
    TagPart("(indomain_)?pt|indomain", CAPTIONS, "BEiT-3 learns from images, texts and pairs of both", "beit3_*"),
    TagPart("in22k_ft", ("captions", "imagenet21k"), "BEiT-3, fine-tuned twice", "beit3_*"),
    TagPart("fb(_tiling)?", CAPTIONS, "Perception Encoder", "vit_pe_*"),
    TagPart("fb", ("captions", "sa1b"), "Perception Encoder, aligned with SAM 2", "vit_pe_spatial_*"),
    TagPart("eupe", CAPTIONS, "one of the teachers is the Perception Encoder"),
    TagPart("c_radio", ("captions", "sa1b"), "the teachers are CLIP or SigLIP, DINO and SAM"),
    # Targets from CLIP; images of ImageNet, but not its labels
    TagPart("(mim_)?in22k_ft|mim_in22k", CAPTIONS, "masked images, targets from CLIP", "eva*"),
    TagPart("mim_m38m|m30m", CAPTIONS, "masked images, targets from CLIP", "eva*"),
    TagPart("in1k_ft", CAPTIONS, "masked images, targets from a tokenizer distilled from CLIP", "beitv2_*"),
    # Hashtags
    TagPart("wsl_ig1b|swag(_lc)?", HASHTAGS, "hashtags of Instagram"),
    TagPart("swsl_ig1b", HASHTAGS, "the teacher learned from hashtags that match ImageNet-1K's classes"),
    TagPart("ssld|ssld_stage1_in22k|ssld_stage2", HASHTAGS, "teachers go back to a ResNeXt trained with hashtags"),
    TagPart("ssld_6m", None, "neither the 6 million images nor the teacher of Next-ViT are published"),
    # Masks
    TagPart("sa1b", MASKS, "Segment Anything"),
    TagPart(r"fb_r\d+(_2pt1)?", MASKS, "Segment Anything 2", "sam2_*"),
    # Pseudo labels: the teacher knew ImageNet-1K only
    TagPart("ns_jft", IMAGENET1K, "Noisy Student: JFT's images with ImageNet-1K's labels from a teacher"),
    TagPart("ssl_yfcc100m", IMAGENET1K, "YFCC's images with ImageNet-1K's labels from a teacher"),
    # Teachers with labels
    TagPart("fb_dist", IMAGENET1K, "from RegNetY-16GF", "cait_*|levit_*|xcit_*"),
    TagPart("fb_distilled", IMAGENET1K, "from RegNetY-16GF", "resmlp_*"),
    TagPart("distilled", IMAGENET1K, "from RegNetY-16GF", "deit_*|pit_*|iformer_*"),
    TagPart("(snap_|apple_)?dist", IMAGENET1K, "from RegNetY-16GF", "efficientformer*|fastvit_*|efficientvim_*"),
    TagPart("dist(_300e|_450e)?", IMAGENET1K, "from RegNetY-16GF", "repvit_*|swiftformer_*"),
    TagPart("dist_in22k", ("captions", "imagenet21k"), "from a CLIP ViT fine-tuned on ImageNet-21k", "tiny_vit_*"),
    TagPart("goog_distilled", IMAGENET21K, "from a BiT pretrained on ImageNet-21k", "resnetv2_*_bit"),
    TagPart("usi", IMAGENET21K, "from a TResNet pretrained on ImageNet-21k"),
    TagPart("in1k", None, "from a BEiT v2 whose labels are not published", "ghostnetv3_*"),
    # No labels
    TagPart("mae(_in1k)?|fcmae", NO_LABELS, "masked images"),
    TagPart("in22k_ft", NO_LABELS, "masked images, targets from a tokenizer of images", "beit_*"),
    TagPart("dino|dinov3|lvd142m|lvd1689m|sat493m", NO_LABELS, "DINO, DINOv2, DINOv3"),
    TagPart("in1k_ijepa|in22k_ijepa", NO_LABELS, "I-JEPA"),
    TagPart("seer", NO_LABELS, "SEER: images of Instagram, hashtags unused"),
    TagPart("robbyant", NO_LABELS, "masked boundaries", "vit_*_lingbot"),
    TagPart("fb", NO_LABELS, "Sapiens2: masked images and self-distillation", "vit_*_sapiens2"),
)

IN_ARCHITECTURES: Final = frozenset(("dist", "distilled", "ssld"))
"""Words that stand for a teacher in names of architectures as well: deit_tiny_distilled_patch16_224."""

_RECIPES = """
apple bd cvnets deit dm fb gluon goog idstcv miil ms msft mx nav naver nv orig paddle pycls rvgg sail timm tf tv tv2
a1 a1h a2 a2h a3 aa ad adv agc ah am ap aug augreg augreg2 b1k b2k bt c1 c2 c2ns c3 ch d d1 d1h d2 ens green ix lamb
lion nadamuon pd ra ra2 ra3 ra4 racm ram rewind rmsp rsb sam sbb sbb2 soup sw teacher
e32 ft lt ltt plus s39b
"""
RECIPES: Final = frozenset(_RECIPES.split())
"""Words of tags that say nothing about labels: authors, recipes and optimizers, stages."""

NUMBERS: Final = r"[ers]?\d+|\d+ep|patch\d+"
"""Words of tags with image sizes, patch sizes and epochs: "384", "r224", "e300", "300ep", "patch16"."""
