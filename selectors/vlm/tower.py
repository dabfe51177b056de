"""What selectors of vision-language models share: one block of an image tower, and the reading of its weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.option_checks import check_value, check_whole
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.families import heads_of
from ltrp_bench.selectors.vit.reading import ViTReader
from ltrp_bench.selectors.vit.reading_options import ReadingOptions

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]


@dataclass(frozen=True)
class BlockState:
    """What the attention of one block of a ViT reads, N tokens of which the last L are the patches.

    Attributes:
        tokens: [B, N, D] input of the block.
        queries, keys: [B, heads, N, d].
        prefix: number of tokens before the patches, N - L.
        has_class_token: True if the first of them is a class token.
    """

    tokens: Tensor
    queries: Tensor
    keys: Tensor
    prefix: int
    has_class_token: bool

    def attention(self) -> Tensor:
        """[B, heads, L] attention of the class token to the patches; without one, the mean attention they receive.

        The softmax is over all tokens; the mean is over the patches that attend.
        """
        return self._to_patches(self.queries, self.keys)

    def unsplit_attention(self) -> Tensor:
        """[B, L]: `attention` of the whole queries and keys, as if there was one head."""
        queries, keys = (x.transpose(1, 2).flatten(2)[:, None] for x in (self.queries, self.keys))
        return self._to_patches(queries, keys)[:, 0]

    def _to_patches(self, queries: Tensor, keys: Tensor) -> Tensor:
        rows = queries[:, :, :1] if self.has_class_token else queries[:, :, self.prefix :]
        weights = (rows * rows.shape[-1] ** -0.5 @ keys.transpose(-2, -1)).softmax(dim=-1)
        return weights[..., self.prefix :].mean(2)


class TowerSelector(Selector):
    """Base class of selectors that read one block of the image tower of a vision-language model, or of any ViT.

    Args:
        weights: a file of CLIP's or SigLIP's image tower, alone or with the text tower, under the key names of OpenAI,
            open_clip, transformers or timm; or of any timm ViT.
        model, heads, label_set, supervised: as in `load_backbone`.
        block: index of the block that is read, from 0 on, or from the end on if negative.
        activation: "quick_gelu" (OpenAI's), "gelu" or "gelu_tanh" (SigLIP's), where neither file nor name says it.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        supervised: bool = True,
        block: int = -2,
        activation: Activation | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        owner = f"selector {self.name!r}"
        if activation is not None:
            check_value(owner, "activation", activation, Activation)
        backbone = load_backbone(weights, model, supervised=supervised, activation=activation, **reading)
        self.model = backbone.model
        heads_of(self.model)  # refuses blocks without an attention to read
        self.reader = ViTReader(self.model)
        depth = self.reader.depth
        check_whole(owner, "block", block, -depth, depth - 1)
        self.block = self.reader.number_of(block)
        backbone.configure(self)

    def read(self, images: Tensor) -> BlockState:
        """The block's input, queries and keys for [B, 3, H, W] normalized images."""
        reader, number = self.reader, self.block
        tokens = reader.tokens(images)
        x = reader.input_of(tokens, number)
        queries, keys, _ = reader.qkv(tokens, number, x)
        return BlockState(x, queries, keys, reader.prefix, reader.class_token is not None)

    @abstractmethod
    def patch_scores(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L] scores, whatever the range of the pixels."""

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return self.patch_scores(images).unflatten(1, self.grid_of(images))
