"""What a prompt becomes for a transformer: embeddings, masks, pooled vectors, by argument name."""

from collections.abc import Sequence

import torch
from torch import Tensor

Text = dict[str, Tensor]
"Arguments of the transformer that come from the prompt; in a batch along axis 0."


def stack_text(texts: Sequence[Text]) -> Text:
    """A batch; shorter embeddings and masks are padded with zeros at their end.

    Most pipelines pad to one length themselves, and nothing is left to do. Raises ValueError for
    texts of several lengths without masks: the padding would be read as text.
    """
    longest = {name: max(len(text[name]) for text in texts) for name in texts[0]}
    shortest = {name: min(len(text[name]) for text in texts) for name in texts[0]}
    if shortest != longest and not any("mask" in name for name in longest):
        raise ValueError(
            "prompts of several lengths in a batch, and this model masks no text; use batch_size 1 "
            "(in training micro_batch_size 1)"
        )
    return {
        name: torch.stack([_padded(text[name], length) for text in texts])
        for name, length in longest.items()
    }


def text_as(text: Text, dtype: torch.dtype) -> Text:
    """Embeddings in another type; masks and positions, which are whole numbers, stay."""
    return {k: v.to(dtype) if v.dtype.is_floating_point else v for k, v in text.items()}


def _padded(tensor: Tensor, length: int) -> Tensor:
    if len(tensor) == length:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(length - len(tensor), *tensor.shape[1:])])
