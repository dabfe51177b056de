"""What is read inside a ViT of any of timm's families: attention, keys and features, at any size of whole patches.

Attention is recomputed from queries and keys: timm's fused attention exposes its weights to no hook.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.embedding import Resampling, Tokens, antialiased, embed
from ltrp_bench.selectors.vit.families import (
    ViT,
    attention_input,
    attention_module,
    depth_of,
    has_class_token,
    queries_keys_values,
    run_block,
)

Queries: TypeAlias = slice | Sequence[int]


@dataclass(frozen=True)
class ViTReader:
    """A ViT of timm, read block by block. Blocks are numbered from 0; -1 is the last one.

    Attributes:
        model: the ViT, in evaluation mode.
        resampling: what makes position embeddings for images of another size, see `embed`.
    """

    model: ViT
    resampling: Resampling = antialiased

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return depth_of(self.model)

    @property
    def prefix(self) -> int:
        """Number of class, distillation and register tokens, which come before the patches."""
        return int(self.model.num_prefix_tokens)

    @property
    def class_token(self) -> int | None:
        """Index of the class token; None if the ViT has none."""
        return 0 if has_class_token(self.model) else None

    def tokens(self, images: Tensor, indices: Tensor | None = None) -> Tokens:
        """Input of the first block: `embed` with the model and its resampling."""
        return embed(self.model, images, indices, resampling=self.resampling)

    def input_of(self, tokens: Tokens, block: int) -> Tensor:
        """[B, N, D] input of a block; `depth` stands for the output of the last one, before the final norm."""
        x = tokens.x
        for module, rope in zip(self.model.blocks[:block], tokens.ropes, strict=False):
            x = run_block(module, x, rope)
        return x

    def qkv(self, tokens: Tokens, block: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, N, d] of a block with the input `x`; see `queries_keys_values`."""
        module = self.model.blocks[block]
        return queries_keys_values(module, attention_input(module, x), tokens.ropes[block])

    def attention_in(self, tokens: Tokens, block: int, x: Tensor, queries: Queries = slice(None)) -> Tensor:
        """[B, heads, Q, N] attention of some tokens to all, after the softmax, in a block with the input `x`."""
        q, k, _ = self.qkv(tokens, block, x)
        return softmax_rows(self.model.blocks[block], q, k, queries)

    def attention(self, images: Tensor, block: int = -1, queries: Queries = slice(None)) -> Tensor:
        """[B, heads, Q, N] attention of some tokens to all N, after the softmax; rows sum to 1.

        Args:
            images: [B, 3, H, W] normalized, of any size of whole patches.
            block: number of the block.
            queries: which tokens' rows, such as `slice(0, 1)` for the class token's.

        Raises:
            InputError: a block without a single softmax of queries and keys.
        """
        tokens, number = self.tokens(images), self.number_of(block)
        return self.attention_in(tokens, number, self.input_of(tokens, number), queries)

    def attentions(self, images: Tensor) -> Iterator[Tensor]:
        """[B, heads, N, N] attention of every block in turn, from the first on."""
        tokens = self.tokens(images)
        x = tokens.x
        for number, block in enumerate(self.model.blocks):
            yield self.attention_in(tokens, number, x)
            x = run_block(block, x, tokens.ropes[number])

    def class_attention(self, images: Tensor, block: int = -1) -> Tensor:
        """[B, heads, gh * gw] attention of the class token to the patches; other tokens are left out of the result.

        The softmax includes all tokens, so the values of a head sum to less than 1.

        Raises:
            InputError: no class token, or as of `attention`.
        """
        if self.class_token is None:
            raise InputError("these weights have no class token, whose attention could be read")
        return self.attention(images, block, slice(0, 1))[:, :, 0, self.prefix :]

    def keys(self, images: Tensor, block: int = -1) -> Tensor:
        """[B, heads, N, d] keys of a block as its softmax takes them."""
        tokens, number = self.tokens(images), self.number_of(block)
        return self.qkv(tokens, number, self.input_of(tokens, number))[1]

    def features(self, images: Tensor, block: int = -1, *, normalized: bool = False) -> Tensor:
        """[B, N, D] output of a block, prefix tokens first; `normalized` applies the ViT's final norm to it."""
        x = self.input_of(self.tokens(images), self.number_of(block) + 1)
        return self.model.norm(x) if normalized else x

    def number_of(self, block: int) -> int:
        """A block's number from 0 on; negative ones count from the end, as in Python."""
        return range(self.depth)[block]


def softmax_rows(block: nn.Module, q: Tensor, k: Tensor, queries: Queries = slice(None)) -> Tensor:
    """[B, heads, Q, N] attention of some tokens to all, from a block's queries and keys [B, heads, N, d]."""
    scale = attention_module(block).scale
    return ((q[:, :, queries] * scale) @ k.transpose(-2, -1)).softmax(dim=-1)
