"""Text embeddings as the model's own pipeline makes them, without their padding."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from videojam.joint.families import ModelFamily


def text_length(pipe: Any, family: ModelFamily) -> int:
    """Tokens to which prompts are padded: the family's, or fewer where the tokenizer says so."""
    return min(family.text_length, pipe.tokenizer.model_max_length)


def encode_text(
    pipe: Any, captions: list[str], family: ModelFamily
) -> list[Float[Tensor, "length width"]]:
    """One embedding per caption, cut to its real length: padding is zeros in these pipelines.

    pipe: a stock pipeline; its transformer may be None. "" gives the null text.
    """
    with torch.inference_mode():
        padded = pipe.encode_prompt(
            prompt=captions,
            do_classifier_free_guidance=False,
            max_sequence_length=text_length(pipe, family),
        )[0]
    lengths = [int(rows.any(-1).nonzero().max()) + 1 for rows in padded != 0]
    return [rows[:length].clone() for rows, length in zip(padded, lengths, strict=True)]


def pad_text(
    embeddings: list[Float[Tensor, "_ width"]], length: int
) -> Float[Tensor, "b length width"]:
    """A batch of embeddings, padded with zeros as the pipeline pads them."""
    batch = embeddings[0].new_zeros(len(embeddings), length, embeddings[0].shape[1])
    for row, embedding in zip(batch, embeddings, strict=True):
        row[: embedding.shape[0]] = embedding
    return batch
