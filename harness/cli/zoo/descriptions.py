"""One line for each selector and task that ships, for `ltrp-bench list`: importing them all would take seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Trained = Literal["none", "self", "captions", "labels"]
"""What a selector learned from: nothing, images alone, captions, or labels: those of its weights."""


@dataclass(frozen=True)
class SelectorLine:
    """A selector in the list.

    Attributes:
        trained: what its usual weights were trained with.
        family: family of the bundled weights it can take; empty if none ship for it.
        weights: True if it needs weights.
        text: what it ranks by.
    """

    trained: Trained
    family: str
    weights: bool
    text: str


SELECTORS: Final = {
    "adavit": SelectorLine("labels", "", True, "AdaViT's decisions in the last blocks"),
    "ats": SelectorLine("labels", "vit", True, "significance, Adaptive Token Sampling"),
    "attention-rollout": SelectorLine("labels", "vit", True, "attention multiplied over all blocks"),
    "center": SelectorLine("none", "", False, "control: nearness to the center"),
    "clip": SelectorLine("captions", "", True, "class attention, next to last block"),
    "cropr": SelectorLine("labels", "cropr", True, "scores of Cropr's modules"),
    "diffrate": SelectorLine("labels", "vit", True, "how long a patch stays a token"),
    "dino": SelectorLine("self", "dino", True, "class attention, last block"),
    "dinov2": SelectorLine("self", "", True, "class attention, last block"),
    "dinov3": SelectorLine("self", "", True, "class attention, last block"),
    "divprune": SelectorLine("captions", "", True, "greedy diversity of features"),
    "downsample": SelectorLine("none", "", False, "control: a smaller whole image"),
    "dpc-knn": SelectorLine("none", "", False, "density peaks of pixels or features"),
    "dynamicvit": SelectorLine("labels", "dynamicvit", True, "keep scores of DynamicViT"),
    "edge-energy": SelectorLine("none", "", False, "mean gradient of luminance"),
    "entropy": SelectorLine("none", "", False, "entropy of luminance"),
    "evit": SelectorLine("labels", "evit", True, "EViT: class attention, stage by stage"),
    "full": SelectorLine("none", "", False, "reference: all patches"),
    "gfnet": SelectorLine("labels", "gfnet", True, "glimpses of GFNet's policy"),
    "gradcam": SelectorLine("labels", "vit", True, "channels weighted by their gradient"),
    "iared2": SelectorLine("labels", "", True, "interpreters of IA-RED2"),
    "ltrp": SelectorLine("self", "ltrp", True, "LTRP's ranker"),
    "ltrp-cluster": SelectorLine("self", "ltrp", True, "LTRP's ranker with diversity"),
    "ltrp-teacher": SelectorLine("self", "mae", True, "change of a MAE as a patch is hidden"),
    "moco": SelectorLine("self", "", True, "class attention, last block"),
    "oracle": SelectorLine("none", "", False, "control: ground truth"),
    "patch-norm": SelectorLine("none", "", False, "L2 norm of pixels or features"),
    "pitome": SelectorLine("labels", "vit", True, "merging by energy"),
    "prumerge": SelectorLine("captions", "", True, "class attention of LLaVA-PruMerge"),
    "random": SelectorLine("none", "", False, "control: chance"),
    "siglip": SelectorLine("captions", "", True, "attention received, last but one"),
    "tokencut": SelectorLine("self", "dino", True, "normalized cut of the graph of keys"),
    "tome": SelectorLine("labels", "vit", True, "merging by similarity of keys"),
    "topk": SelectorLine("labels", "vit", True, "class attention, stage by stage"),
    "variance": SelectorLine("none", "", False, "control: local contrast"),
    "visionzip": SelectorLine("captions", "", True, "class attention, heads summed"),
}

DATA: Final = {
    "shapes": "built in",
    "coco": "COCO, or in its format",
    "stuff": "COCO-Stuff, panoptic",
    "cocostuff": "COCO-Stuff",
    "voc": "Pascal VOC 2007 or 2012",
    "context": "Pascal-Context",
    "ade20k": "ADE20K",
    "imagenet": "ImageNet, class folders",
    "nuswide": "NUS-WIDE",
}
"""First part of a task's name -> the data that it needs."""

FAMILIES: Final = {
    "coverage": ("none", "share of objects kept"),
    "cls": ("classifier", "top-1, top-5 accuracy"),
    "multilabel": ("classifier", "mAP of labels"),
    "det": ("detector", "AP of boxes"),
    "seg": ("segmentor", "mIoU"),
}
"""Last part of a task's name -> the model that it needs, and what it measures."""
