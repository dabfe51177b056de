"""The plain ViT detector of `shapes-det`, as an mmdet config: RTMDet's head on a simple feature pyramid (ViTDet).

The ViT is that of the segmentor of `shapes`, where its training starts: patches of 8, width 128, four blocks, a stem of
convolutions. `ltrp-bench train detector --architecture vit` trains it. Head and classes are the small RTMDet's.
"""

_base_ = ["./shapes_rtmdet.py"]
_PATCH = 8
_WIDTH = 128

model = {
    "data_preprocessor": {"type": "KeptPatchPreprocessor", "patch": _PATCH},
    "backbone": {
        "_delete_": True,
        "type": "PlainViTBackbone",
        "vit": {
            "image_size": 96,
            "patch_size": _PATCH,
            "embed_dim": _WIDTH,
            "depth": 4,
            "heads": 4,
            "stem": "conv",
        },
        "missing": "token",
    },
    "neck": {
        "_delete_": True,
        "type": "SimpleFeaturePyramid",
        "in_channels": _WIDTH,
        "out_channels": 48,
        "scales": (2.0, 1.0, 0.5),
    },
}
