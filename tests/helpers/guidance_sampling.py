"""Small joint pipelines whose motion half matters: its rows are random, not zero."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import WanPipeline

from videojam.joint.widen import widen
from videojam.models.small_wan import SmallWan, small_wan_pipeline

C = 16
SHAPE = (1, 2 * C, 3, 4, 4)  # 9 frames of 32 x 32
SIZE = {"height": 32, "width": 32, "num_frames": 9}
TEXT = {"prompt": "a red ball rolls", "negative_prompt": "static"}


def joint_transformer(base: Any, seed: int) -> Any:
    """A widened transformer with random motion rows, as after training."""
    transformer = widen(base).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = transformer.patch_embedding.weight
        rows[:, C:] = torch.randn(rows[:, C:].shape, generator=random) * rows[:, :C].std()
        rows = transformer.proj_out.weight.view(4, 2 * C, -1)  # (patch, channel, width)
        rows[:, C:] = torch.randn(rows[:, C:].shape, generator=random) * rows[:, :C].std()
        for block in transformer.blocks:  # text of random networks hardly matters; here it does
            block.attn2.to_out[0].weight *= 20
    return transformer


def tiny_sizes(seed: int = 0) -> SmallWan:
    return SmallWan(
        num_layers=2, num_heads=2, head_dim=16, vae_width=4, text_width=32, text_layers=1, seed=seed
    )


def joint_pipeline(**changes: Any) -> Any:
    base = small_wan_pipeline(tiny_sizes())
    parts = base.components | {"transformer": joint_transformer(base.transformer, seed=1)}
    pipe = WanPipeline(**(parts | changes))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def second_transformer() -> Any:
    return joint_transformer(small_wan_pipeline(tiny_sizes(seed=5)).transformer, seed=6)


def sample(pipe: Any, noise: torch.Tensor, steps: int = 4, **kwargs: Any) -> torch.Tensor:
    """Final joint latents of the stock pipeline."""
    settings = {**TEXT, **SIZE, "num_inference_steps": steps, "latents": noise, **kwargs}
    return pipe(output_type="latent", **settings).frames


@torch.no_grad()
def embeddings(
    pipe: Any, prompt: str = TEXT["prompt"], negative_prompt: str = TEXT["negative_prompt"]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Text and null text, padded to 512 tokens as the pipeline's call does (its method: 226)."""
    return pipe.encode_prompt(prompt, negative_prompt, True, max_sequence_length=512)


def by_hand(
    pipe: Any,
    noise: torch.Tensor,
    formula: Callable[..., torch.Tensor],
    steps: int = 4,
    prompt: str = TEXT["prompt"],
    negative_prompt: str = TEXT["negative_prompt"],
) -> torch.Tensor:
    """The same sampling as one explicit loop: formula(u, i) -> prediction of step i.

    u(text, motion) is the model's prediction with (True) or without (False) each condition.
    """
    text, null = embeddings(pipe, prompt, negative_prompt)
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    latents = noise
    for i, t in enumerate(scheduler.timesteps):
        boundary = pipe.config.get("boundary_ratio")
        low_noise = boundary is not None and t < 1000 * boundary
        model = pipe.transformer_2 if low_noise else pipe.transformer
        tokens = SHAPE[2] * SHAPE[3] * SHAPE[4] // 4
        time = t.expand(1, tokens) if pipe.config.get("expand_timesteps") else t.expand(1)

        def u(
            with_text: bool, with_motion: bool, model: Any = model, time: Any = time,
            latents: torch.Tensor = latents,
        ) -> torch.Tensor:  # fmt: skip
            x, d = latents.chunk(2, dim=1)
            inputs = torch.cat([x, d if with_motion else torch.zeros_like(d)], dim=1)
            with torch.no_grad():
                return model(inputs, time, text if with_text else null, return_dict=False)[0]

        latents = scheduler.step(formula(u, i), t, latents, return_dict=False)[0]
    return latents


@contextmanager
def call_log(*transformers: Any):
    """Records (text embedding, has motion, latents) of each real forward pass of a transformer."""
    calls: list[tuple[torch.Tensor, bool, torch.Tensor]] = []
    handles = []

    def see_latents(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        latents.append(inputs[0].clone())

    def see_text(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append((inputs[1], bool(latents[-1][:, C:].any()), latents[-1]))

    latents: list[torch.Tensor] = []
    for transformer in transformers:
        # Both modules are called once per forward pass, in this order.
        handles.append(transformer.patch_embedding.register_forward_pre_hook(see_latents))
        handles.append(transformer.condition_embedder.register_forward_pre_hook(see_text))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((a - b).abs().max() / b.abs().max())
