"""ML-Decoder: against torch's own decoder layer, its published keys, dropped tokens, and checkpoints that hold it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.vit.loading import PlainViT
from ltrp_bench.tasks.models.vit.ml_decoder import MLDecoder, attach, decoder_config, decoder_prefix
from ltrp_bench.tasks.models.vit.multilabel_models import build_multilabel_vit, load_multilabel
from ltrp_bench.tasks.models.vit.token_dropping import features_kept, forward_kept

SMALL: dict[str, Any] = {"dim": 32, "heads": 4, "hidden": 48}
VIT: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "heads": 3,
    "classes": ["a", "b", "c", "d", "e"],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
    "decoder": {**SMALL, "groups": 2},
}


def shaken(module: nn.Module, seed: int = 0) -> Any:
    """Norms and biases that are not the identity's too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return module.eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    """Of the COCO models: 80 classes on a feature map of 2,048 channels."""
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


def test_queries_are_fixed_unless_asked_for() -> None:
    for learnable in (False, True):
        head = MLDecoder(24, 5, **SMALL, learnable=learnable)
        head(noise(1, 3, 24)).sum().backward()
        idle = {name for name, value in head.named_parameters() if value.grad is None}
        assert idle == (set() if learnable else {"decoder.query_embed.weight"})


def test_a_state_dict_tells_its_head() -> None:
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
def test_behind_a_vit_it_gets_the_kept_tokens_alone(kind: dict[str, Any]) -> None:
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


def made(tmp_path: Path) -> tuple[VisionTransformer, Path]:
    """Weights as training here saves them."""
    vit = shaken(build_multilabel_vit(VIT))
    path = tmp_path / "own.safetensors"
    save_safetensors(path, vit.state_dict(), {"config": VIT})
    return vit, path


@torch.no_grad()
def test_weights_made_here_come_back(tmp_path: Path) -> None:
    vit, path = made(tmp_path)
    found = load_multilabel(path)
    assert isinstance(found, PlainViT) and found.class_names == ("a", "b", "c", "d", "e") and found.classes == 5
    assert found.inputs.mean == (0.4, 0.5, 0.6) and found.inputs.crop_mode == "squash" and found.inputs.crop_pct == 1
    images = noise(2, 3, 32, 32)
    torch.testing.assert_close(forward_kept(found.vit, images), forward_kept(vit, images))
    assert all(torch.equal(value, vit.state_dict()[key]) for key, value in found.vit.state_dict().items())
    larger = load_multilabel(path, image_size=(48, 32))
    assert larger.inputs.size == (48, 32) and isinstance(larger, PlainViT) and larger.grid == (6, 4)
    images = noise(1, 3, 48, 32)
    torch.testing.assert_close(larger.net(images), forward_kept(vit, images), atol=1e-5, rtol=1e-5)
    linear = build_multilabel_vit({**VIT, "decoder": None})
    save_safetensors(tmp_path / "linear.safetensors", linear.state_dict(), {"config": {**VIT, "decoder": None}})
    found = load_multilabel(tmp_path / "linear.safetensors")
    assert found.class_names == ("a", "b", "c", "d", "e") and isinstance(found.net.head, nn.Linear)


@torch.no_grad()
def test_official_wrapping_behind_a_vit_and_a_network(tmp_path: Path) -> None:
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=192, depth=1, num_heads=3)
    shaken(attach(vit, MLDecoder(192, 5, dim=32, hidden=48)))  # 8 heads, which a file does not tell
    state = {f"module.{key}": value for key, value in vit.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "vit.pth")
    found = load_multilabel(tmp_path / "vit.pth")
    images = noise(2, 3, 32, 32)
    assert found.inputs.size == (32, 32)
    torch.testing.assert_close(found.net(images), vit(images))

    net = shaken(timm.create_model("resnet10t", num_classes=0, global_pool=""))
    head = shaken(MLDecoder(512, 5, dim=32, hidden=48))
    state = {**net.state_dict(), **{f"fc.{key}": value for key, value in head.state_dict().items()}}
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    found = load_multilabel(tmp_path / "net.pth", model="resnet10t", image_size=64)
    assert not isinstance(found, PlainViT) and found.any_size and found.inputs.size == (64, 64)
    features = net.forward_features(images)
    torch.testing.assert_close(found.net(images), head(features.flatten(2).transpose(1, 2)), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="--model"):
        load_multilabel(tmp_path / "net.pth")
    with pytest.raises(InputError, match="do not fit"):
        load_multilabel(tmp_path / "net.pth", model="resnet18")


@pytest.mark.slow
@torch.no_grad()
def test_official_names_of_tresnet(tmp_path: Path) -> None:
    """The network of the published COCO models, with its layers and fused norms named and kept as there."""
    net = timm.create_model("tresnet_m", num_classes=0, global_pool="").eval()
    head = shaken(MLDecoder(2048, 5, dim=32, hidden=48))
    state = {f"head.{key}": value for key, value in head.state_dict().items()}
    for key, value in net.state_dict().items():
        name = key.replace(".conv.", ".0.").replace(".bn.", ".1.")
        state[name] = -(value - 1e-5) if key.endswith("bn.weight") else value  # a sign means nothing to a fused norm
    torch.save({"model": state}, tmp_path / "tresnet.pth")
    found = load_multilabel(tmp_path / "tresnet.pth", model="tresnet_m")
    images = noise(1, 3, 64, 64)
    torch.testing.assert_close(found.net(images), head(net.forward_features(images)), atol=1e-4, rtol=1e-4)
    assert found.inputs.mean == (0, 0, 0) and found.inputs.std == (1, 1, 1)


def test_untrained_ones_depend_on_the_seed_alone() -> None:
    one, same, other = (load_multilabel(None, random_weights=seed, config=VIT) for seed in (1, 1, 2))
    states = [found.net.state_dict() for found in (one, same, other)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    key = "head.decoder.duplicate_pooling"
    assert states[0][key].shape == (2, 32, 3) and not torch.equal(states[0][key], states[2][key])
    assert one.identity == same.identity != other.identity
    json.dumps(one.identity)
    linear = load_multilabel(None, random_weights=1, head="linear", config=VIT)
    assert isinstance(linear.net.head, nn.Linear) and linear.identity != one.identity
    network = load_multilabel(None, "resnet10t", random_weights=1, classes=5)
    assert isinstance(network.net.fc, nn.Linear) and network.classes == 5
    decoded = load_multilabel(None, "resnet10t", random_weights=1, classes=5, head="ml-decoder")
    assert decoded.net(noise(1, 3, 64, 64)).shape == (1, 5)


def test_wrong_use_is_named(tmp_path: Path) -> None:
    _, path = made(tmp_path)
    with pytest.raises(InputError, match="has an ML-Decoder, but head=linear was requested"):
        load_multilabel(path, head="linear")
    with pytest.raises(UsageError, match="head must be"):
        load_multilabel(path, head="mlp")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not both"):
        load_multilabel(path, random_weights=0)
    with pytest.raises(UsageError, match="neither was given"):
        load_multilabel(None)
    state = build_multilabel_vit(VIT).state_dict()
    save_safetensors(tmp_path / "named.safetensors", state, {"config": {**VIT, "classes": ["a"]}})
    with pytest.raises(InputError, match="5 outputs, its file names 1 classes"):
        load_multilabel(tmp_path / "named.safetensors")
    save_safetensors(tmp_path / "heads.safetensors", state, {"config": {**VIT, "decoder": {**SMALL, "heads": 5}}})
    with pytest.raises(InputError, match="32 wide, which 5 attention heads do not divide"):
        load_multilabel(tmp_path / "heads.safetensors")
    narrow = {**state, "head.decoder.embed_standart.weight": torch.zeros(32, 16)}
    save_safetensors(tmp_path / "narrow.safetensors", narrow, {"config": VIT})
    with pytest.raises(InputError, match="takes tokens of 16 channels, but the model has 24"):
        load_multilabel(tmp_path / "narrow.safetensors")
    del state["blocks.1.norm1.weight"]
    save_safetensors(tmp_path / "short.safetensors", state, {"config": VIT})
    with pytest.raises(InputError, match=r"missing.*blocks\.1\.norm1\.weight"):
        load_multilabel(tmp_path / "short.safetensors")
