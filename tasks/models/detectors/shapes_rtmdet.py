"""mmdet config of the small detector of `shapes-det`: RTMDet's head on a narrow ResNet-18 of three stages.

Strides 4, 8 and 16 suit objects of 11 to 45 pixels in images of 96. 0.86 M parameters. `ltrp-bench train
detector` trains it; `tasks/weights/detector.shapes.md` lists its accuracy.
"""

# Literals, because mmengine turns imports of a config into lazy objects. A test compares them with `shapes`' own.
_MEAN = [112.2, 112.2, 112.2]
_STD = [58.65, 58.65, 58.65]
_CLASSES = (
    "plain disc",
    "halves square",
    "rim triangle",
    "quarters star",
    "spots cross",
    "gradient ring",
    "bands crescent",
    "core bar",
    "halves disc",
    "rim square",
    "quarters triangle",
    "spots star",
    "gradient cross",
    "bands ring",
    "core crescent",
    "plain bar",
)
_WIDTH = 32
_FEATURES = 48
_NORM = {"type": "BN", "requires_grad": True}
_ACT = {"type": "ReLU", "inplace": True}

default_scope = "mmdet"
model = {
    "type": "RTMDet",
    "data_preprocessor": {
        "type": "DetDataPreprocessor",
        "mean": _MEAN,
        "std": _STD,
        "bgr_to_rgb": True,
        "pad_size_divisor": 16,
    },
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": _WIDTH,
        "stem_channels": _WIDTH,
        "deep_stem": True,
        "num_stages": 3,
        "strides": (1, 2, 2),
        "dilations": (1, 1, 1),
        "out_indices": (0, 1, 2),
        "norm_cfg": _NORM,
        "norm_eval": False,
        "style": "pytorch",
    },
    "neck": {
        "type": "FPN",
        "in_channels": [_WIDTH, 2 * _WIDTH, 4 * _WIDTH],
        "out_channels": _FEATURES,
        "num_outs": 3,
        "norm_cfg": _NORM,
    },
    "bbox_head": {
        "type": "RTMDetSepBNHead",
        "num_classes": len(_CLASSES),
        "in_channels": _FEATURES,
        "feat_channels": _FEATURES,
        "stacked_convs": 2,
        "share_conv": True,
        "pred_kernel_size": 1,
        "with_objectness": False,
        "exp_on_reg": False,
        "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [4, 8, 16]},
        "bbox_coder": {"type": "DistancePointBBoxCoder"},
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "norm_cfg": _NORM,
        "act_cfg": _ACT,
    },
    "train_cfg": {
        "assigner": {"type": "DynamicSoftLabelAssigner", "topk": 13},
        "allowed_border": -1,
        "pos_weight": -1,
        "debug": False,
    },
    "test_cfg": {
        "nms_pre": 1000,
        "min_bbox_size": 0,
        "score_thr": 0.01,
        "nms": {"type": "nms", "iou_threshold": 0.65},
        "max_per_img": 100,
    },
}
test_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (96, 96), "keep_ratio": True},
    {"type": "PackDetInputs"},
]
test_dataloader = {"dataset": {"metainfo": {"classes": _CLASSES}, "pipeline": test_pipeline}}
