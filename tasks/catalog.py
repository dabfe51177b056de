"""Catalog of the built-in tasks. Each variable is the target of an entry point of the group `ltrp_bench.tasks`.

It imports no model, so that options and data of a run can be checked before torch is imported, which takes seconds.
"""

from __future__ import annotations

from typing import Final

from ltrp_bench.tasks.data.shapes.world import PATCH, SIZE
from ltrp_bench.tasks.options import (
    AnnotatedData,
    ClassificationOptions,
    CoverageOptions,
    DetectionOptions,
    FolderData,
    ImageNetData,
    MaskData,
    MultiLabelOptions,
    NumberedData,
    SegmentationOptions,
    ShapesData,
    VocData,
    VocDetectionOptions,
)
from ltrp_bench.tasks.task_spec import Family, TaskSpec

_BUILDERS: Final = "ltrp_bench.tasks.builders"

COVERAGE: Final = Family(name="coverage", options=CoverageOptions, builder=f"{_BUILDERS}:build_coverage")
CLASSIFICATION: Final = Family(
    name="classification", options=ClassificationOptions, builder=f"{_BUILDERS}:build_classification"
)
MULTILABEL: Final = Family(name="multilabel", options=MultiLabelOptions, builder=f"{_BUILDERS}:build_multilabel")
SEGMENTATION: Final = Family(
    name="segmentation", options=SegmentationOptions, builder=f"{_BUILDERS}:build_segmentation"
)
_DETECTION: Final = "ltrp_bench.tasks.detection_builder:build_detection"
DETECTION: Final = Family(name="detection", options=DetectionOptions, builder=_DETECTION)
VOC_DETECTION: Final = Family(name="detection", options=VocDetectionOptions, builder=_DETECTION)

_STUFF_NOTE: Final = "this split is for COCO's panoptic classes; COCO-Stuff 164k uses imagenet1k_cocostuff171"

shapes_coverage = TaskSpec(
    name="shapes-coverage",
    summary="Coverage of the objects of `shapes`, on a grid of 12 x 12 patches of 8 pixels.",
    family=COVERAGE,
    dataset="shapes",
    data=ShapesData,
    fixed={"grid": SIZE // PATCH},
)
coco_coverage = TaskSpec(
    name="coco-coverage",
    summary="Coverage of the objects of a data set in COCO's format.",
    family=COVERAGE,
    dataset="coco",
    data=AnnotatedData,
    split="imagenet1k_coco80",
    defaults={"subset": "val2017"},
)
stuff_coverage = TaskSpec(
    name="stuff-coverage",
    summary="Coverage of the segments, things and stuff, of COCO or COCO-Stuff.",
    family=COVERAGE,
    dataset="stuff",
    data=MaskData,
    split="imagenet1k_cocostuff",
    split_note=_STUFF_NOTE,
    defaults={"subset": "val2017"},
)
voc_coverage = TaskSpec(
    name="voc-coverage",
    summary="Coverage of the segments of VOC's 20 categories.",
    family=COVERAGE,
    dataset="voc",
    data=MaskData,
    split="imagenet1k_voc20",
    defaults={"subset": "val"},
)
context_coverage = TaskSpec(
    name="context-coverage",
    summary="Coverage of the segments of Pascal-Context's 59 categories.",
    family=COVERAGE,
    dataset="context",
    data=NumberedData,
    split="imagenet1k_context59",
    defaults={"subset": "val"},
)
ade20k_coverage = TaskSpec(
    name="ade20k-coverage",
    summary="Coverage of the segments of ADE20K's 150 categories.",
    family=COVERAGE,
    dataset="ade20k",
    data=NumberedData,
    split="imagenet1k_ade20k",
    defaults={"subset": "validation"},
)

shapes_cls = TaskSpec(
    name="shapes-cls",
    summary="Classification of images of `shapes` with one object each, 16 categories.",
    family=CLASSIFICATION,
    dataset="shapes",
    data=ShapesData,
    defaults={"crop_pct": 1.0},
)
imagenet_cls = TaskSpec(
    name="imagenet-cls",
    summary="Classification of ImageNet-1K, or of a folder of class folders, by any timm classifier.",
    family=CLASSIFICATION,
    dataset="imagenet",
    data=ImageNetData,
    split="imagenet1k",
    split_note="this split is for ImageNet-1K's classes; your own classes need --split FILE",
    defaults={"subset": "val"},
)

shapes_multilabel = TaskSpec(
    name="shapes-multilabel",
    summary="Multi-label classification of `shapes`, 16 categories.",
    family=MULTILABEL,
    dataset="shapes",
    data=ShapesData,
)
coco_multilabel = TaskSpec(
    name="coco-multilabel",
    summary="Multi-label classification of a data set in COCO's format.",
    family=MULTILABEL,
    dataset="coco",
    data=AnnotatedData,
    split="imagenet1k_coco80",
    defaults={"subset": "val2017"},
)
voc_multilabel = TaskSpec(
    name="voc-multilabel",
    summary="Multi-label classification of VOC's 20 categories; a category with only difficult objects is ignored.",
    family=MULTILABEL,
    dataset="voc",
    data=VocData,
    split="imagenet1k_voc20",
    defaults={"subset": "val"},
)
nuswide_multilabel = TaskSpec(
    name="nuswide-multilabel",
    summary="Multi-label classification of NUS-WIDE's 81 concepts, which are not localized: no sizes, no oracle.",
    family=MULTILABEL,
    dataset="nuswide",
    data=FolderData,
    defaults={"subset": "test"},
)

shapes_det = TaskSpec(
    name="shapes-det",
    summary="Detection on `shapes` with patches of 8 pixels, by the small detectors that are included.",
    family=DETECTION,
    dataset="shapes",
    data=ShapesData,
    fixed={"patch": PATCH},
)
coco_det = TaskSpec(
    name="coco-det",
    summary="Detection on a data set in COCO's format by any mmdet detector.",
    family=DETECTION,
    dataset="coco",
    data=AnnotatedData,
    split="imagenet1k_coco80",
    defaults={"subset": "val2017"},
)
voc_det = TaskSpec(
    name="voc-det",
    summary="Detection on VOC2007 or VOC2012 by any mmdet detector of VOC's or COCO's categories.",
    family=VOC_DETECTION,
    dataset="voc",
    data=VocData,
    split="imagenet1k_voc20",
    defaults={"subset": "val"},
)

shapes_seg = TaskSpec(
    name="shapes-seg",
    summary="Segmentation of `shapes` into background and 16 categories, by a small plain ViT.",
    family=SEGMENTATION,
    dataset="shapes",
    data=ShapesData,
    defaults={"reduction": "drop"},
    fixed={"model": None, "patch": None},
)
voc_seg = TaskSpec(
    name="voc-seg",
    summary="Segmentation of VOC into background and 20 categories.",
    family=SEGMENTATION,
    dataset="voc",
    data=MaskData,
    split="imagenet1k_voc20",
    defaults={"subset": "val"},
)
context_seg = TaskSpec(
    name="context-seg",
    summary="Segmentation of Pascal-Context's 59 categories, without background.",
    family=SEGMENTATION,
    dataset="context",
    data=NumberedData,
    split="imagenet1k_context59",
    defaults={"subset": "val"},
)
ade20k_seg = TaskSpec(
    name="ade20k-seg",
    summary="Segmentation of ADE20K's 150 categories.",
    family=SEGMENTATION,
    dataset="ade20k",
    data=NumberedData,
    split="imagenet1k_ade20k",
    defaults={"subset": "validation"},
)
cocostuff_seg = TaskSpec(
    name="cocostuff-seg",
    summary="Segmentation of COCO's things and stuff.",
    family=SEGMENTATION,
    dataset="stuff",
    data=MaskData,
    split="imagenet1k_cocostuff",
    split_note=_STUFF_NOTE,
    defaults={"subset": "val2017"},
)

CATALOG: Final = {
    spec.name: spec
    for spec in (
        shapes_coverage,
        coco_coverage,
        stuff_coverage,
        voc_coverage,
        context_coverage,
        ade20k_coverage,
        shapes_cls,
        imagenet_cls,
        shapes_multilabel,
        coco_multilabel,
        voc_multilabel,
        nuswide_multilabel,
        shapes_det,
        coco_det,
        voc_det,
        shapes_seg,
        voc_seg,
        context_seg,
        ade20k_seg,
        cocostuff_seg,
    )
}
"""Name -> spec of every built-in task."""
