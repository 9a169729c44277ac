"""A small pipeline made ready for a test: loaded, made joint, trained on two clips."""

import functools
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from videojam import widen
from videojam.data.prepare.config import PrepareConfig
from videojam.joint.adapter import transformers
from videojam.joint.control import Control
from videojam.joint.find_family import family_of
from videojam.joint.info import JointInfo
from videojam.joint.latents import latent_channels
from videojam.joint.sizes import Size, front_padding, latent_size, pixel_size
from videojam.media.video import write_video
from videojam.sampling.pipeline import Sampling
from videojam.training.config import TrainConfig
from videojam.workflow.finetune import finetune
from videojam.workflow.prepare import prepare_dataset

IMAGE, LAST = (
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    for seed in (0, 1)
)
PROMPTS = ["a red ball rolls", "a dog jumps over the table"]


def load(folder: Path, to: Literal["look at", "guide", "run"] = "look at", **options: Any) -> Any:
    """Skips where the family's pipeline cannot be guided, or driven, with the table's reason."""
    pipe = DiffusionPipeline.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    family = family_of(pipe.transformer)
    possible = {"guide": family.guided_pipelines, "run": ()}
    if to != "look at" and type(pipe).__name__ not in (*family.pipelines, *possible[to]):
        pytest.skip(family.limits)
    if frames_for(pipe):
        edited = size_of(pipe) if family.control_always else None
        pipe.__class__ = _given(type(pipe), family.last_image == "must", edited)
    if type(pipe.vae).__name__ == "AutoencoderKLAllegro":  # as its users have to
        pipe.vae.enable_tiling()
        pipe.vae.enable_slicing()
    return pipe


def frames_for(pipe: Any) -> dict[str, Any]:
    """What calls of VideoJAM have to be given: images, of models that always have them, or a clip
    to edit."""
    family = family_of(pipe.transformer)
    if family.control_always:
        return {"control": control_of(pipe)}
    if not family.has_image:
        return {}
    return {"image": IMAGE} | ({"last_image": LAST} if family.last_image == "must" else {})


@functools.cache
def _given(stock: type, last: bool, edited: Size | None) -> type:
    """The pipeline class, given an image, or a clip to edit, with every call, as its users do."""
    own: dict[str, Any] = {"image": IMAGE} | ({"last_image": LAST} if last else {})
    if edited is not None:
        frames = control_of_size(edited).video.numpy()
        own = {"video": [Image.fromarray(frame) for frame in frames]}

    @functools.wraps(stock.__call__)
    def call(self: Any, *args: Any, **given: Any) -> Any:
        return stock.__call__(self, *args, **own | given)

    return type(stock.__name__, (stock,), {"__call__": call})


def make_joint(pipe: Any) -> None:
    """Widen what the pipeline has, with random motion halves."""
    parts = transformers(pipe).items()
    pipe.register_modules(
        **{name: joint(pipe, one, seed) for seed, (name, one) in enumerate(parts, 1)}
    )


def size_of(pipe: Any):
    """The smallest clip with motion that the VAE and the patches take."""
    match type(pipe.vae).__name__:
        case "AutoencoderKLAllegro":
            return pixel_size(pipe, (6, 16, 16))
        case "AutoencoderKLCogVideoX":
            return pixel_size(pipe, (3 + front_padding(pipe.transformer, 3), 4, 4))
        case _:
            return pixel_size(pipe, (2, 4, 4))


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shape_of(pipe: Any) -> tuple[int, ...]:
    return (latent_channels(pipe.vae), *latent_size(pipe, pipe.transformer, size_of(pipe)))


def joint(pipe: Any, base: Any, seed: int = 1) -> Any:
    """A widened transformer whose motion half is random, as after training."""
    family, C = family_of(base), latent_channels(pipe.vae)
    wide = widen(base, family, C)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in (*family.in_modules, family.out_module):
            weight = wide.get_submodule(name).weight
            new = weight == 0
            weight[new] = 0.05 * torch.randn(int(new.sum()), generator=random).to(weight)
    return wide


def info_of(pipe: Any, base: Path) -> JointInfo:
    return JointInfo(
        sigma=0.15, background="black", estimator="DIS()", fps=8.0, base=str(base),
        **{key: value for key, value in size_of(pipe)._asdict().items()},
    )  # fmt: skip


def sampling_of(pipe: Any, steps: int = 4, **changes: Any) -> Sampling:
    return Sampling(**size_of(pipe)._asdict(), num_inference_steps=steps, **changes)


def write_clip(path: Path, size: Any, caption: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 255, (1, size.height, size.width, 3), dtype=np.uint8)
    frames = np.concatenate([np.roll(still, 2 * k, 2) for k in range(size.num_frames + 1)])
    write_video(path, torch.from_numpy(frames), 8.0)
    path.with_suffix(".txt").write_text(caption)


def control_of(pipe: Any, seed: int = 3, masked: bool = False) -> Control:
    """Noise, and a mask whose left half is white, from the third frame on all of it."""
    return control_of_size(size_of(pipe), seed, masked)


def control_of_size(size: Size, seed: int = 3, masked: bool = False) -> Control:
    """The same without a pipeline."""
    frames, height, width = size
    random = torch.Generator().manual_seed(seed)
    video = torch.randint(0, 255, (frames, height, width, 3), generator=random, dtype=torch.uint8)
    mask = torch.zeros(frames, height, width, dtype=torch.bool)
    mask[:, :, : width // 2] = True
    mask[2:] = True
    return Control(video, mask if masked else None)


def still_flow(clip: torch.Tensor) -> torch.Tensor:
    """A flow estimator that costs nothing: 2 pixels to the right everywhere."""
    flow = torch.zeros(len(clip) - 1, 2, *clip.shape[1:3])
    flow[:, 0] = 2
    return flow


def train_two_steps(base: Path, out: Path, mode: Literal["lora", "full"]) -> TrainConfig:
    """Clips, a prepared dataset `out`/data, and a run `out`/run of two steps; its settings."""
    pipe = load(base, to="run")
    if mode == "lora" and not hasattr(pipe.transformer, "add_adapter"):
        pytest.skip("diffusers has no LoRA for this class; train it in full")
    size = size_of(pipe)
    for seed, prompt in enumerate(PROMPTS):
        write_clip(out / "videos" / f"{seed}.mp4", size, prompt, seed)
    edits = family_of(pipe.transformer).control_always
    if edits:  # each of the other
        (out / "captions.csv").write_text(
            f"path,caption,control\n0.mp4,{PROMPTS[0]},1.mp4\n1.mp4,{PROMPTS[1]},0.mp4\n"
        )
    prepare = PrepareConfig(
        videos=out / "videos", out=out / "data", model=str(base), num_workers=0,
        sizes=((size.height, size.width),), fps=8.0, num_frames=size.num_frames, previews=0,
        last_frame="last_image" in frames_for(pipe), controls=edits,
        captions=out / "captions.csv" if edits else None,
    )  # fmt: skip
    report = prepare_dataset(prepare, still_flow)
    assert report.prepared == 2 and not report.dropped
    settings = TrainConfig(
        out=out / "run", mode=mode, steps=2, lora_rank=2, precision="fp32", learning_rate=1e-3,
        lr_schedule="constant", checkpoint_every=2, validate_every=0,
        sample_every=0 if edits or len(transformers(pipe)) > 1 else 4,
    )  # fmt: skip
    finetune(prepare.out, settings, sample_steps=2)
    return settings
