"""What a pass takes is that of the model's own latents and text, whatever its family."""

import math

import pytest
from small_models import make

from videojam.joint.sizes import Size
from videojam.models.needs import count, forward_flops
from videojam.models.passes import pass_flops

SIZE = Size(9, 64, 96)
# Compression of the small VAEs in time and space, numbers of a token, tokens of text by default.
ROWS = {
    "Wan2.1": ((4, 8), (1, 2, 2), 512),
    "Wan2.2-A14B": ((4, 8), (1, 2, 2), 512),  # two experts, one of which works at a step
    "CogVideoX": ((4, 8), (1, 2, 2), 226),
    "LTX-Video": ((8, 32), (1, 1, 1), 128),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_pass_of_a_stored_model(name, tmp_path, monkeypatch):
    pipe = make(name)
    pipe.save_pretrained(tmp_path / "model")
    (temporal, spatial), patch, text = ROWS[name]
    latents = ((SIZE.num_frames - 1) // temporal + 1, SIZE.height // spatial, SIZE.width // spatial)
    tokens = math.prod(latents) // math.prod(patch)
    expected = forward_flops(count(pipe.transformer), tokens, text)
    monkeypatch.setattr(type(pipe.transformer), "from_pretrained", None)  # no weights are read
    assert pass_flops(str(tmp_path / "model"), SIZE) == expected
    with pytest.raises(ValueError, match="num_frames is 10, expected"):
        pass_flops(str(tmp_path / "model"), SIZE._replace(num_frames=10))
