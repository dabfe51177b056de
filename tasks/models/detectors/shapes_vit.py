"""mmdet config of the plain ViT detector of `shapes-det`: RTMDet's head on a simple pyramid of strides 4, 8 and 16.

The ViT is that of `mae.shapes` (four blocks, 128 wide, patches of 8) with a stem of convolutions. The head has group
norms, since batch statistics change with the share of kept patches.
"""

_base_ = "./shapes_rtmdet.py"
_FEATURES = 48

model = {
    "data_preprocessor": {"type": "KeptPatchesPreprocessor", "patch": 8},
    "backbone": {
        "_delete_": True,
        "type": "PlainViTBackbone",
        "vit": {"image_size": 96, "patch_size": 8, "embed_dim": 128, "depth": 4, "heads": 4, "stem": "conv"},
        "missing": "token",
    },
    "neck": {
        "_delete_": True,
        "type": "SimplePyramid",
        "in_channels": 128,
        "out_channels": _FEATURES,
        "scales": (2.0, 1.0, 0.5),
    },
    "bbox_head": {"norm_cfg": {"_delete_": True, "type": "GN", "num_groups": 8}},
}
