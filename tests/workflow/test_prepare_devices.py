"""Where the encoders of a preparation run, and in which type, if nobody says."""

from pathlib import Path
from typing import Any

import pytest
import torch

from videojam.data.prepare.config import PrepareConfig
from videojam.joint.families import FAMILIES
from videojam.workflow import prepare


class Part:
    """A pipeline or its VAE that notes where it is sent."""

    def __init__(self, name: str, notes: list[Any]) -> None:
        self.name, self.notes = name, notes

    def to(self, what: Any) -> "Part":
        self.notes.append((self.name, what))
        return self


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was loaded and sent where."""
    found: list[Any] = []
    pipe = Part("pipe", found)
    pipe.vae = Part("vae", found)  # pyright: ignore[reportAttributeAccessIssue]

    def load(model: str, dtype: Any) -> tuple[Part, None]:
        found.append(("load", dtype))
        return pipe, None

    monkeypatch.setattr(prepare, "load_encoders", load)
    family = next(one for one in FAMILIES if one.transformer == "MovieGenTransformer3DModel")
    monkeypatch.setattr(prepare, "family_of", lambda _: family)
    monkeypatch.setattr(prepare, "latent_size", lambda *_: None)
    return found


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("asked", [None, "cpu", "cuda:1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_is_used_without_asking_and_the_vae_keeps_its_type(
    tmp_path: Path, monkeypatch, notes: list[Any], there: bool, asked: str | None, dtype: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    config = PrepareConfig(videos=tmp_path, out=tmp_path / "out", model="some")
    encoders = prepare.model_encoders(config, asked, dtype)
    device = asked or ("cuda" if there else "cpu")
    assert encoders.device == torch.device(device)
    # On a GPU the text encoder has the type of its weights, on the CPU float32.
    weights = torch.float32 if device == "cpu" else None
    assert notes == [("load", weights), ("pipe", device), ("vae", dtype)]
