"""ML-Decoder: against torch's own decoder layer, its published keys, dropped tokens, and checkpoints that hold it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_decoders import SMALL, noise, shaken
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.vit.ml_decoder import MLDecoder, attach, decoder_config, decoder_prefix
from ltrp_bench.tasks.models.vit.token_dropping import features_kept, forward_kept


@torch.no_grad()
def by_torchs_layer(head: MLDecoder, tokens: Tensor) -> Tensor:
    """Each query alone through torch's decoder layer, whose self-attention of one query is made the identity."""
    ours: Any = head.decoder.layers[0]
    dim, heads = ours.linear1.in_features, ours.multihead_attn.num_heads
    layer = nn.TransformerDecoderLayer(dim, heads, ours.linear1.out_features, batch_first=True).eval()
    state = {key: value for key, value in layer.state_dict().items() if key.startswith("self_attn.")}
    eye, nothing = torch.eye(dim), torch.zeros(dim, dim)
    state["self_attn.in_proj_weight"] = torch.cat([nothing, nothing, eye])
    state["self_attn.out_proj.weight"] = eye
    state |= {key: torch.zeros_like(value) for key, value in state.items() if key.endswith("bias")}
    layer.load_state_dict({**ours.state_dict(), **state})
    seen = torch.relu(head.decoder.embed_standart(tokens))
    out = []
    for query, weights in zip(head.decoder.query_embed.weight, head.decoder.duplicate_pooling, strict=True):
        found = layer(query.expand(len(tokens), 1, dim), seen)[:, 0]
        out += [found @ column for column in weights.T]
    return torch.stack(out[: head.classes], dim=1) + head.decoder.duplicate_pooling_bias


@pytest.mark.parametrize(("classes", "groups", "each"), [(5, 100, 1), (7, 3, 3), (10, 4, 3), (12, 4, 3), (250, 100, 3)])
@torch.no_grad()
def test_equals_torchs_decoder_layer_query_by_query(classes: int, groups: int, each: int) -> None:
    head = shaken(MLDecoder(24, classes, groups=groups, **SMALL))
    assert head.decoder.duplicate_pooling.shape == (min(groups, classes), 32, each)
    tokens = noise(2, 9, 24)
    logits = head(tokens)
    assert logits.shape == (2, classes)
    torch.testing.assert_close(logits, by_torchs_layer(head, tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tokens_of_any_number_in_any_order_and_maps() -> None:
    head = shaken(MLDecoder(24, 5, **SMALL))
    tokens = noise(2, 12, 24)
    torch.testing.assert_close(head(tokens.flip(1)), head(tokens), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head(tokens.transpose(1, 2).unflatten(2, (3, 4))), head(tokens))
    assert not torch.allclose(head(tokens[:, :1]), head(tokens), atol=1e-3)


def test_keys_and_shapes_are_the_published_ones() -> None:
    """Shapes of the COCO models: 80 classes on a feature map of 2,048 channels."""
    shapes = {key: tuple(value.shape) for key, value in MLDecoder(2048, 80).state_dict().items()}
    layer = "decoder.layers.0."
    assert shapes == {
        f"{layer}multihead_attn.in_proj_weight": (2304, 768),
        f"{layer}multihead_attn.in_proj_bias": (2304,),
        f"{layer}multihead_attn.out_proj.weight": (768, 768),
        f"{layer}multihead_attn.out_proj.bias": (768,),
        f"{layer}linear1.weight": (2048, 768),
        f"{layer}linear1.bias": (2048,),
        f"{layer}linear2.weight": (768, 2048),
        f"{layer}linear2.bias": (768,),
        **{f"{layer}norm{i}.{part}": (768,) for i in (1, 2, 3) for part in ("weight", "bias")},
        "decoder.embed_standart.weight": (768, 2048),
        "decoder.embed_standart.bias": (768,),
        "decoder.query_embed.weight": (80, 768),
        "decoder.duplicate_pooling": (80, 768, 1),
        "decoder.duplicate_pooling_bias": (80,),
    }


def test_queries_are_fixed_unless_learnable() -> None:
    for learnable in (False, True):
        head = MLDecoder(24, 5, **SMALL, learnable=learnable)
        head(noise(1, 3, 24)).sum().backward()
        idle = {name for name, value in head.named_parameters() if value.grad is None}
        assert idle == (set() if learnable else {"decoder.query_embed.weight"})


def test_config_is_read_from_a_state_dict() -> None:
    head = MLDecoder(24, 7, groups=3, **SMALL)
    state = {f"fc.{key}": value for key, value in head.state_dict().items()}
    assert decoder_prefix(state) == "fc." and decoder_prefix({"head.weight": torch.zeros(1)}) is None
    assert head.config() == {"features": 24, "classes": 7, "groups": 3, "dim": 32, "hidden": 48, "heads": 4}
    zero_shot = {**head.state_dict(), "decoder.duplicate_pooling": torch.zeros(32, 1)}
    with pytest.raises(InputError, match="zero-shot"):
        decoder_config(zero_shot)
    with pytest.raises(InputError, match=r"no decoder.duplicate_pooling_bias"):
        decoder_config({k: v for k, v in head.state_dict().items() if not k.endswith("pooling_bias")})
    for bad in ({"heads": 5}, {"classes": 0}):
        with pytest.raises(UsageError, match="ML-Decoder"):
            MLDecoder(**{"features": 24, "classes": 5, **SMALL, **bad})


@pytest.mark.parametrize(
    "kind", [{}, {"reg_tokens": 2}, {"global_pool": "avg"}, {"global_pool": "avg", "class_token": False}]
)
@torch.no_grad()
def test_on_a_vit_it_gets_the_kept_tokens_alone(kind: dict[str, Any]) -> None:
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=9, **kind)
    head = MLDecoder(24, 5, **SMALL)
    attach(vit, head)
    shaken(vit)
    images, indices = noise(2, 3, 32, 32), torch.tensor([[0, 3, 7], [1, 2, 15]])
    tokens = features_kept(vit, images, indices)
    assert tokens.shape[1] == vit.num_prefix_tokens + 3
    logits = forward_kept(vit, images, indices)
    torch.testing.assert_close(logits, head(vit.fc_norm(tokens)))
    other = images.clone()
    other[0, :, 8:16, 16:] += 9  # patches 6 and 7 of the first image: the second of them is kept
    assert not torch.equal(forward_kept(vit, other, indices)[0], logits[0])
    other[0, :, 8:16, 24:] -= 9
    torch.testing.assert_close(forward_kept(vit, other, indices), logits)
    torch.testing.assert_close(forward_kept(vit, images), vit(images), atol=1e-5, rtol=1e-5)
