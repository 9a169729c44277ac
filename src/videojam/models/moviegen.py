"""The paper's own backbone: Movie Gen's DiT (METHOD 7), as a diffusers model.

LLaMa-style blocks: RMSNorm, bidirectional self-attention over all space-time tokens,
cross-attention to the text, SwiGLU; a modulation by the time step that all blocks share but for a
small table of their own; learned positions, one table each for t, h and w, added before every
block. Attention, norms and feed-forwards are diffusers' own.

    transformer = MovieGenTransformer3DModel(**PRESETS["dit-4b"])

It takes and gives what Wan's transformer does, so the stock WanPipeline runs it, with
LinearQuadraticScheduler for the paper's schedule. The autoencoder is Wan 2.1's (C = 16 as in the
paper, 4 x 8 x 8): the paper's, of 8 x 8 x 8, was never published.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.attention import AttentionMixin, FeedForward
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import PixArtAlphaTextProjection, TimestepEmbedding, Timesteps
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import RMSNorm
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler

# diffusers' loader looks in a component's module for the base class that says how to load it.
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401
from einops import rearrange
from jaxtyping import Float, Num
from torch import Tensor, nn

_MODULATIONS = 6  # shift, scale and gate of self-attention and of the feed-forward
_LINEAR_NOISE = 0.025  # share of the noise that the linear half of the schedule goes through

PRESETS: dict[str, dict[str, Any]] = {
    # 30B as the paper gives it; 4B with the same head size and the same ratio of widths.
    "dit-30b": {"num_layers": 48, "num_attention_heads": 48, "ffn_dim": 16384},
    "dit-4b": {"num_layers": 26, "num_attention_heads": 24, "ffn_dim": 8192},
    "dit-small": {
        "num_layers": 6, "num_attention_heads": 4, "attention_head_dim": 64, "ffn_dim": 688,
        "text_dim": 128,
    },
}  # fmt: skip
"Arguments of the transformer; everything else is its default."


class Positions(nn.Module):
    """A learned embedding of the place of a token: of its frame, plus its row, plus its column.

    Clips longer or larger than the tables are given tables stretched to their size, linearly.
    """

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.t, self.h, self.w = (nn.Parameter(0.02 * torch.randn(n, dim)) for n in sizes)

    def forward(self, t: int, h: int, w: int) -> Float[Tensor, "1 tokens dim"]:
        frames, rows, columns = (
            _stretched(table, count) for table, count in ((self.t, t), (self.h, h), (self.w, w))
        )
        return (frames[:, None, None] + rows[:, None] + columns).flatten(0, 2)[None]


def _stretched(table: Float[Tensor, "n dim"], count: int) -> Float[Tensor, "count dim"]:
    if count <= len(table):
        return table[:count]
    stretched = nn.functional.interpolate(
        table.T[None], size=count, mode="linear", align_corners=True
    )
    return stretched[0].T


class MovieGenBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward, each added to its input."""

    def __init__(self, dim: int, ffn_dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (RMSNorm(dim, eps) for _ in range(3))
        head = dim // heads
        self.attn1 = WanAttention(dim, heads, head, eps, processor=WanAttnProcessor())
        self.attn2 = WanAttention(
            dim, heads, head, eps, cross_attention_dim_head=head, processor=WanAttnProcessor()
        )
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="swiglu", bias=False)
        self.scale_shift_table = nn.Parameter(torch.randn(1, _MODULATIONS, dim) / dim**0.5)

    def forward(
        self,
        hidden_states: Float[Tensor, "b tokens dim"],
        encoder_hidden_states: Float[Tensor, "b length dim"],
        temb: Float[Tensor, "b 6 dim"],
        positions: Float[Tensor, "1 tokens dim"],
    ) -> Float[Tensor, "b tokens dim"]:
        hidden_states = hidden_states + positions
        modulation = (self.scale_shift_table + temb).unsqueeze(2).unbind(1)
        shift1, scale1, gate1, shift3, scale3, gate3 = modulation
        attended = self.attn1(self.norm1(hidden_states) * (1 + scale1) + shift1)
        hidden_states = hidden_states + gate1 * attended
        hidden_states = hidden_states + self.attn2(self.norm2(hidden_states), encoder_hidden_states)
        fed = self.ffn(self.norm3(hidden_states) * (1 + scale3) + shift3)
        return hidden_states + gate3 * fed


class MovieGenTransformer3DModel(
    ModelMixin, AttentionMixin, ConfigMixin, PeftAdapterMixin, CacheMixin
):
    """Movie Gen's DiT; the defaults are the 30B's sizes.

    patch_size: of a token in latents (t, h, w). max_size: latent frames, rows and columns, in
    patches, of the position tables. text_dim: width of the text embeddings.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["MovieGenBlock"]
    _repeated_blocks: ClassVar = ["MovieGenBlock"]
    _skip_layerwise_casting_patterns: ClassVar = ["patch_embedding", "time", "norm", "positions"]
    _cp_plan: ClassVar = {
        "positions": {0: ContextParallelInput(split_dim=1, expected_dims=3, split_output=True)},
        "blocks.0": {
            "hidden_states": ContextParallelInput(split_dim=1, expected_dims=3, split_output=False)
        },
        "proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    @register_to_config
    def __init__(
        self,
        patch_size: Sequence[int] = (1, 2, 2),
        num_attention_heads: int = 48,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 16384,
        num_layers: int = 48,
        max_size: Sequence[int] = (32, 64, 64),
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        dim = num_attention_heads * attention_head_dim
        p, q, r = patch_size
        self.patch_embedding = nn.Conv3d(in_channels, dim, (p, q, r), (p, q, r))
        self.positions = Positions(max_size, dim)
        self.timesteps_proj = Timesteps(freq_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedder = TimestepEmbedding(freq_dim, dim)
        self.time_proj = nn.Linear(dim, _MODULATIONS * dim)
        self.text_embedder = PixArtAlphaTextProjection(text_dim, dim, act_fn="gelu_tanh")
        self.blocks = nn.ModuleList(
            MovieGenBlock(dim, ffn_dim, num_attention_heads, eps) for _ in range(num_layers)
        )
        self.norm_out = RMSNorm(dim, eps)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.proj_out = nn.Linear(dim, out_channels * p * q * r)
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: Float[Tensor, "b c t h w"],
        timestep: Num[Tensor, "b"],
        encoder_hidden_states: Float[Tensor, "b length text"],
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predicts noise - data at time 1000 sigma, in the shape of the latents.

        Raises ValueError for latents that patches do not fill.
        """
        config: Any = self.config
        p, q, r = config.patch_size
        t, h, w = (n // m for n, m in zip(hidden_states.shape[2:], (p, q, r), strict=True))
        if (t * p, h * q, w * r) != tuple(hidden_states.shape[2:]):
            raise ValueError(
                f"latents of {tuple(hidden_states.shape[2:])} are not filled by patches of "
                f"{(p, q, r)}; give a multiple of it"
            )
        tokens = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2)
        positions = self.positions(t, h, w).to(tokens.dtype)
        frequencies = self.timesteps_proj(timestep).to(self.time_proj.weight.dtype)
        time = self.time_embedder(frequencies)
        temb = self.time_proj(nn.functional.silu(time)).unflatten(1, (_MODULATIONS, -1))
        text = self.text_embedder(encoder_hidden_states)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                assert self._gradient_checkpointing_func is not None
                tokens = self._gradient_checkpointing_func(block, tokens, text, temb, positions)
            else:
                tokens = block(tokens, text, temb, positions)
        shift, scale = (self.scale_shift_table + time[:, None]).unsqueeze(2).unbind(1)
        found = self.proj_out(self.norm_out(tokens) * (1 + scale) + shift)
        sample = rearrange(
            found, "b (t h w) (p q r c) -> b c (t p) (h q) (w r)", t=t, h=h, w=w, p=p, q=q, r=r
        )
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)


class LinearQuadraticScheduler(FlowMatchEulerDiscreteScheduler):
    """Movie Gen's time schedule: half of the steps are small and even, the rest grow quadratically.

    The paper samples with 100 steps of it.
    """

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        """Raises ValueError for fewer than 2 steps: one half has to be linear."""
        if num_inference_steps is not None and sigmas is None:
            if num_inference_steps < 2:
                raise ValueError(
                    f"num_inference_steps is {num_inference_steps}, expected 2 or more"
                )
            sigmas = linear_quadratic_schedule(num_inference_steps, _LINEAR_NOISE)
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
