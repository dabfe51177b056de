"""Image towers of CLIP and SigLIP as files: those of the golden vectors, and small ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ltrp_bench.selectors.vlm.tower import TowerSelector


def save_tower(folder: Path, meta: dict[str, Any], fill: Any, model_type: str = "clip") -> Path:
    """A tower of the golden vectors as transformers saves a whole model, with its text tower and configuration."""
    state = {key: value.float() for key, value in fill.state_dict(meta["shapes"], meta["seed"]).items()}
    texts = {"text_model.encoder.layers.0.self_attn.q_proj.weight": torch.zeros(4, 4), "logit_scale": torch.zeros(())}
    torch.save({**state, **texts}, folder / "pytorch_model.bin")
    vision = {"hidden_size": meta["embed_dim"], "num_attention_heads": meta["heads"], "patch_size": meta["patch"]}
    content = {"model_type": model_type, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(content))
    return folder / "pytorch_model.bin"


def best(selector: TowerSelector, images: torch.Tensor, k: int) -> list[list[int]]:
    """Raster indices of the k patches of the highest score, falling; for images of any range of pixels."""
    with torch.inference_mode():
        return selector.patch_scores(images).argsort(dim=1, descending=True, stable=True)[:, :k].tolist()
