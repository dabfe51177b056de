from __future__ import annotations

import numpy as np
import pytest
import torch

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.detectors.kept_channel import KeptPatchesPreprocessor


def test_padding_is_never_kept() -> None:
    from mmdet.structures import DetDataSample

    preprocessor = KeptPatchesPreprocessor(8, mean=[0.0] * 3, std=[1.0] * 3, pad_size_divisor=16)
    kept = np.zeros((3, 3), bool)
    kept[2, 1] = True
    samples = [
        DetDataSample(metainfo={"img_shape": (20, 24), "kept_patches": kept}),
        DetDataSample(metainfo={"img_shape": (20, 24)}),
    ]
    planes = preprocessor({"inputs": [torch.ones(3, 20, 24)] * 2, "data_samples": samples})["inputs"]
    assert planes.shape == (2, 4, 32, 32)
    assert planes[0, 3].sum() == 64 and planes[0, 3, 16:24, 8:16].all()
    assert planes[1, 3, :24, :24].all() and planes[1, 3].sum() == 24 * 24
    samples[0].set_metainfo({"kept_patches": np.ones((5, 4), bool)})
    with pytest.raises(InputError, match="do not fit"):
        preprocessor({"inputs": [torch.ones(3, 20, 24)] * 2, "data_samples": samples})
    with pytest.raises(UsageError, match="must be a multiple"):
        KeptPatchesPreprocessor(8, pad_size_divisor=12)
