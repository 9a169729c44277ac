"""Memory estimates are the sums that they say they are."""

import pytest
from small_models import wan

from videojam.models.info import block_sizes, memory

GIB = 2**30


def test_bytes_of_weights_and_activations():
    transformer = wan().transformer
    blocks, width = block_sizes(transformer)
    tokens, parameters = 1000, 7_000_000_000
    found = memory(transformer, tokens, parameters)
    inside, kept = 2 * tokens * width, 2 * tokens * width * blocks
    # bfloat16 weights; trained ones, float32: itself, its gradient, two moments of AdamW
    assert found.generate == pytest.approx((2 * parameters + 12 * inside) / GIB)
    assert found.train_full == pytest.approx((16 * parameters + kept + 40 * inside) / GIB)
    no_lora = (2 * parameters + kept + 40 * inside) / GIB
    linears = [m for m in transformer.blocks.modules() if type(m).__name__ == "Linear"]
    lora = 64 * sum(m.in_features + m.out_features for m in linears)
    assert found.train_lora - no_lora == pytest.approx(16 * lora / GIB)
