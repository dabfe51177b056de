"""Configs of small detectors of four kinds, for the tests of loading and running detectors."""

from __future__ import annotations

from pathlib import Path

from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

# Dense with anchors, dense with padding to a square, two stages with masks, a set transformer.
KINDS = {
    "dense": "retinanet/retinanet_r18_fpn_1x_coco",
    "padded": "rtmdet/rtmdet_tiny_8xb32-300e_coco",
    "masks": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "transformer": "detr/detr_r50_8xb2-150e_coco",
}
# Scores of untrained detectors are low: keep all detections.
_NO_THRESHOLD = {
    "dense": "model = dict(test_cfg=dict(score_thr=0.0))",
    "padded": "model = dict(test_cfg=dict(nms_pre=300, score_thr=0.0, min_bbox_size=-1000))",
    "masks": "model = dict(test_cfg=dict(rpn=dict(max_per_img=40), rcnn=dict(score_thr=0.0)))",
}


def write_configs(folder: Path) -> None:
    """FOLDER/KIND.py of each kind, which resizes images to fit into 160 x 120 pixels."""
    openmmlab.setup()
    for kind, base in KINDS.items():
        square = ["dict(type='Pad', size=(160, 160), pad_val=dict(img=(114, 114, 114))),"] * (kind == "padded")
        (folder / f"{kind}.py").write_text(
            f"_base_ = {str(openmmlab.config_root() / base) + '.py'!r}\n"
            "pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 120), keep_ratio=True),"
            f"{''.join(square)} dict(type='PackDetInputs')]\n"
            "test_dataloader = dict(dataset=dict(pipeline=pipeline))\n" + _NO_THRESHOLD.get(kind, "")
        )
