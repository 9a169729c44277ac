"""Published configurations with random weights: one widened training step, one generation step.

    python benchmarks/full_size.py wan-1.3b cogvideox-2b ltx-2b          # fit in 24 GiB of a CPU
    python benchmarks/full_size.py --device cuda mochi-10b dit-4b dit-30b

Each model runs in a process of its own, so that peaks are its own, and has a file of results. The
transformer has its published size, VAE and text encoder are small ones of the published classes
(the latter with the published width): their cost is not that of joint training. Training goes
through the same loop as any run, start-up check included: LoRA of rank 64 on all blocks,
projections in full, gradient checkpointing, bfloat16; `dit-30b` only generates. Generation is a
step of the stock pipeline under Inner-Guidance, three passes (and its share of the text encoder).
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from PIL import Image

from record import record
from videojam import widen
from videojam.guidance.pipelines import inner_guidance
from videojam.joint.checkpoint import JointInfo
from videojam.joint.find_family import family_of
from videojam.joint.image import Given
from videojam.joint.inputs import image_inputs, text_inputs
from videojam.joint.latents import latent_channels
from videojam.joint.sizes import num_tokens, pixel_size
from videojam.models.moviegen import PRESETS
from videojam.sampling.pipeline import Sampling, sample_latents
from videojam.training.config import TrainConfig
from videojam.training.cost import peak_memory_gib
from videojam.training.loop import TrainingData, train
from videojam.training.step import MicroBatch

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
from small_models import LENGTH, MODELS

_COGVIDEOX = {"in_channels": 16, "out_channels": 16, "max_text_seq_length": LENGTH}
# Name -> small pipeline of its family, the transformer's config, latents (t, h, w) of the clip.
PUBLISHED: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "wan-1.3b": ("Wan2.1", {
        "num_attention_heads": 12, "attention_head_dim": 128, "text_dim": 4096, "ffn_dim": 8960,
        "num_layers": 30}, (3, 16, 16)),
    "wan-i2v-14b/40": ("Wan2.1-I2V", {  # one of its 40 blocks
        "num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 1,
        "in_channels": 36, "out_channels": 16, "image_dim": 16, "added_kv_proj_dim": 5120},
        (3, 16, 16)),
    "cogvideox-2b": ("CogVideoX", _COGVIDEOX, (3, 16, 16)),
    "cogvideox-5b": ("CogVideoX", _COGVIDEOX | {
        "num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
        (3, 16, 16)),
    "ltx-2b": ("LTX-Video", {"caption_channels": 4096}, (3, 8, 8)),
    "mochi-10b": ("Mochi", {"max_sequence_length": LENGTH}, (3, 16, 16)),
    "dit-4b": ("Movie Gen DiT", PRESETS["dit-4b"], (3, 16, 16)),
    "dit-30b": ("Movie Gen DiT", PRESETS["dit-30b"], (3, 16, 16)),
}  # fmt: skip
_GENERATE_ONLY = ("dit-30b",)


@dataclass(frozen=True, kw_only=True)
class FullSize:
    """What to measure."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional] = ("wan-1.3b",)
    "Names: " + ", ".join(PUBLISHED)
    device: str = "cpu"
    steps: int = 2
    "Training steps; the last one is timed."
    alone: bool = False
    "Measure the one model in this process, and print its figures."


def main(args: FullSize) -> None:
    torch.set_num_threads(2)
    if args.alone:
        print(json.dumps(measure(args.models[0], args)))
        return
    for name in args.models:
        command = [sys.executable, __file__, name, "--alone", "--device", args.device]
        found = subprocess.run(
            [*command, "--steps", str(args.steps)], stdout=subprocess.PIPE, text=True, check=True
        )
        figures = json.loads(found.stdout.splitlines()[-1])
        file = "full_size_" + name.replace("/", "-") + ("" if args.device == "cpu" else "_gpu")
        print(record(file, figures).read_text(), flush=True)


def measure(name: str, args: FullSize) -> dict[str, Any]:
    device = torch.device(args.device)
    pipe, latent = build(name, device)
    family, C = family_of(pipe.transformer), latent_channels(pipe.vae)
    size = pixel_size(pipe, latent)
    figures: dict[str, Any] = {
        "parameters": sum(p.numel() for p in pipe.transformer.parameters()),
        "clip": list(size), "video_tokens": num_tokens(pipe.transformer, latent),
        "gib_with_the_base_alone": peak_memory_gib(device),
    }  # fmt: skip
    if name not in _GENERATE_ONLY:
        figures["train"] = _train(pipe, latent, size, args, device)
    else:
        pipe.register_modules(transformer=widen(pipe.transformer, family, C))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps = 2  # LTX's shift of the schedule is 0 / 0 for one
    sampling = Sampling(**size._asdict(), num_inference_steps=steps, motion_stop=1.0)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        with inner_guidance(pipe, sampling), torch.no_grad():
            sample_latents(
                pipe, [("a dog jumps", 0)], sampling, 6.0, motion=True, fps=16.0,
                given=_given(pipe, size),
            )  # fmt: skip
        seconds.append((time.perf_counter() - start) / steps)
    figures["generate"] = {"seconds_per_step": seconds[-1], "peak_gib": peak_memory_gib(device)}
    return figures


def build(name: str, device: torch.device) -> tuple[Any, tuple[int, int, int]]:
    """The small pipeline with the published transformer, in bfloat16."""
    small, config, latent = PUBLISHED[name]
    pipe = MODELS[small]()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with device:
        transformer = type(pipe.transformer)(**config)
    torch.set_default_dtype(torch.float32)
    for key, parameter in transformer.named_parameters():  # as from_pretrained loads it
        if any(part in key for part in transformer._keep_in_fp32_modules or ()):
            parameter.data = parameter.data.float()
    encoder = pipe.text_encoder.config
    encoder.d_model = 4096
    pipe.register_modules(
        transformer=transformer, text_encoder=type(pipe.text_encoder)(encoder).to(torch.bfloat16)
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device), latent


def _given(pipe: Any, size: Any) -> Given | None:
    """A grey first frame, for a model that begins with one."""
    if not family_of(pipe.transformer).has_image:
        return None
    return Given(Image.new("RGB", (size.width, size.height), "gray"))


def _train(
    pipe: Any, latent: tuple[int, int, int], size: Any, args: FullSize, device: torch.device
) -> dict[str, Any]:
    x, d = torch.randn(2, 1, latent_channels(pipe.vae), *latent)
    text = text_inputs(pipe, ["a dog jumps"], size)
    given = _given(pipe, size)
    images = None if given is None else [image_inputs(pipe, given, size)]
    data = TrainingData(
        batches=lambda start: (MicroBatch(x, d, text, [n], images) for n in itertools.count(start)),
        held_out=[],
        null_text=text_inputs(pipe, [""], size)[0],
    )
    with tempfile.TemporaryDirectory() as out:
        config = TrainConfig(
            out=Path(out), mode="lora", steps=args.steps, lora_rank=64, learning_rate=1e-4,
            precision="bf16", gradient_checkpointing=True, validate_every=0, log_every=1,
        )  # fmt: skip
        info = JointInfo(
            sigma=0.15, background="black", estimator="none", fps=16.0, base="random",
            **size._asdict(),
        )  # fmt: skip
        train(config, pipe, data, info)
        log = json.loads((Path(out) / "metrics.jsonl").read_text().splitlines()[-1])
        adapter = {
            path.name: path.stat().st_size / 2**20
            for path in sorted((Path(out) / "adapter").glob("*.safetensors"))
        }
    model = pipe.transformer
    return {
        "seconds_per_step": 1 / log["steps_per_s"],
        "peak_gib": log["peak_memory_gib"],
        "model_flop_utilisation": log["model_flop_utilisation"],
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "adapter_mib": adapter,
    }


if __name__ == "__main__":
    main(tyro.cli(FullSize))
