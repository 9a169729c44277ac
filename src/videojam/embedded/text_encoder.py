"""Training the small Wan's text encoder on captions, by T5's own denoising objective.

A published model brings its text encoder; only models made here need this. Words are hidden and
the decoder, which is thrown away afterwards, writes the whole caption: so the encoder learns
which words go together and carries what was said, not only where.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from videojam.rng import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFit:
    """How to train the text encoder."""

    steps: int = 600
    batch: int = 64
    "Captions per step."
    hidden: float = 0.3
    "Share of tokens hidden from the encoder."
    learning_rate: float = 2e-3
    seed: int = 0


def fit_text_encoder(
    encoder: Any,
    tokenizer: Any,
    captions: Sequence[str],
    fit: TextFit,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> float:
    """Train a UMT5EncoderModel in place; returns the last loss (nats per token).

    Raises ValueError without captions.
    """
    from transformers import UMT5Config, UMT5ForConditionalGeneration

    if not captions:
        raise ValueError("no captions to train the text encoder on")
    sizes = encoder.config.to_dict() | {"decoder_start_token_id": tokenizer.pad_token_id}
    sizes |= {"is_encoder_decoder": True, "num_decoder_layers": 1, "architectures": None}
    with torch.random.fork_rng():
        torch.manual_seed(fit.seed)  # of the decoder's weights, and of dropout in training
        both = UMT5ForConditionalGeneration(UMT5Config(**sizes)).train()
        both.get_encoder().load_state_dict(encoder.encoder.state_dict())
        last = _denoise(both, tokenizer, captions, fit, report)
    encoder.encoder.load_state_dict(both.get_encoder().state_dict())
    encoder.eval()
    return last


def _denoise(
    both: Any,
    tokenizer: Any,
    captions: Sequence[str],
    fit: TextFit,
    report: Callable[[int, float], None],
) -> float:
    optimiser = torch.optim.AdamW(both.parameters(), lr=fit.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, fit.learning_rate, total_steps=fit.steps, pct_start=0.1
    )
    last = float("nan")
    for step in range(fit.steps):
        draw = generator(fit.seed, "text encoder", step)
        chosen = torch.randint(len(captions), (fit.batch,), generator=draw)
        batch = tokenizer(
            [captions[int(i)] for i in chosen], padding=True, truncation=True, return_tensors="pt"
        )
        ids, mask = batch.input_ids, batch.attention_mask
        hide = torch.rand(ids.shape, generator=draw) < fit.hidden
        loss = both(
            input_ids=ids.masked_fill(hide & mask.bool(), tokenizer.unk_token_id),
            attention_mask=mask,
            labels=ids.masked_fill(mask == 0, -100),
        ).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        last = loss.item()
        report(step, last)
    return last
