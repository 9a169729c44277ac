"""RAFT through torchvision, the paper's estimator. Needs the `raft` extra and its weights.

torchvision's published wheels need a torch build with CUDA: next to a CPU build their import
fails. Nothing falls back silently; every failure says so and names the default, DIS.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_DEFAULT = "or use the default estimator, DIS, which needs no weights (--flow dis)"


@dataclass(frozen=True)
class RAFT:
    """RAFT large (Teed & Deng 2020).

    weights: a state dict in safetensors or .pth; None takes torchvision's own, downloaded once.
    updates: recurrent refinements. batch: frame pairs at a time. device: where it runs.
    """

    weights: Path | None = None
    updates: int = 12
    batch: int = 8
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, clip: UInt8[Tensor, "f h w 3"]) -> Float[Tensor, "f-1 2 h w"]:
        """Flow in pixels of the clip's own size; frames are padded to multiples of 8 and cut back.

        Raises ImportError without a working torchvision, RuntimeError without weights, ValueError
        for frames under 128 pixels, which RAFT's correlation pyramid cannot hold.
        """
        height, width = clip.shape[1:3]
        if min(height, width) < 128:
            raise ValueError(
                f"RAFT needs frames of at least 128 x 128 pixels, got {height} x {width}; "
                f"prepare at a larger size, {_DEFAULT}"
            )
        frames = clip.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1  # RAFT: [-1, 1]
        pad = (0, -width % 8, 0, -height % 8)
        frames = torch.nn.functional.pad(frames, pad, mode="replicate")
        flows = []
        with torch.inference_mode():
            pairs = zip(frames[:-1].split(self.batch), frames[1:].split(self.batch), strict=True)
            for a, b in pairs:
                flows.append(self._model(a, b, num_flow_updates=self.updates)[-1].cpu())
        return torch.cat(flows)[..., :height, :width].contiguous()

    @cached_property
    def _model(self) -> Any:
        try:
            from torchvision.models.optical_flow import (  # pyright: ignore[reportMissingImports]
                Raft_Large_Weights,
                raft_large,
            )
        except (ImportError, RuntimeError) as error:
            raise ImportError(
                f"RAFT needs torchvision, and importing it failed: {error}. torchvision's wheels "
                f"need a torch build with CUDA (this one is {torch.__version__}); install "
                f"videojam[raft] beside such a build, {_DEFAULT}"
            ) from error
        if self.weights is not None:
            model = raft_large(weights=None)
            model.load_state_dict(_read_state(self.weights))
            return model.eval().to(self.device)
        try:
            return raft_large(weights=Raft_Large_Weights.DEFAULT).eval().to(self.device)
        except OSError as error:
            raise RuntimeError(
                f"RAFT's weights could not be downloaded: {error}. Pass a local file with "
                f"RAFT(weights=...), {_DEFAULT}"
            ) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise RuntimeError(f"RAFT weights {path} do not exist; give an existing file, {_DEFAULT}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, weights_only=True, map_location="cpu")
