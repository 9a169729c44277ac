"""How models like the embedded ones are made: simulate, autoencoder, base, control, VideoJAM.

    videojam lab-model --out runs/lab-model

Every stage keeps its result in a folder of its own; the same call again goes on where it was
stopped. Control and VideoJAM are two fine-tunings of the same base, of the same length, on the
same data in the same order: they differ in the objective alone.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from videojam.data.run_folder import settle_config
from videojam.embedded.autoencoder import AutoencoderFit, fit_autoencoder
from videojam.embedded.dataset import lab_pixels, prepare_lab
from videojam.embedded.lab_file import write_lab
from videojam.embedded.shipped import embedded
from videojam.embedded.text_encoder import TextFit, fit_text_encoder
from videojam.joint.checkpoint import INFO_FILE
from videojam.lab.clips import Lab, lab_scene
from videojam.media.video import to_pixels
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.objective import Objective
from videojam.records.settings import defaults_of
from videojam.training.config import TrainConfig
from videojam.training.loop import Stopped
from videojam.workflow.finetune import finetune


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The defaults are for two CPU cores; the shipped models differ: docs/model_card.md."""

    lab: Lab = Lab()
    "Training clips; evaluation uses other seeds."
    sigma: float = 0.075
    """Where the motion colour saturates: half the paper's, as the lab's motion stays below that,
    and a small autoencoder drops what is dark (docs/log.md)."""
    model: SmallWan = SmallWan(
        num_layers=4, num_heads=6, head_dim=64, ffn_ratio=2.0, vae_width=32,
        vae_multipliers=(1, 2, 2), vae_patch=2, text_width=128, text_length=32, flow_shift=2.0,
    )  # fmt: skip
    autoencoder: AutoencoderFit = AutoencoderFit(
        image_steps=300, steps=3000, batch=3, crop_frames=17, crop_px=64, colour_weight=8.0,
    )  # fmt: skip
    autoencoder_from: str = ""
    """A model folder, or `embedded`, whose autoencoder is trained on in place of a random one; it
    has this recipe's sizes."""
    autoencoder_clips: int = 1500
    "Clips, with their motion videos, that the autoencoder is trained on."
    text: TextFit = TextFit()
    captions: int = 2000
    "Captions whose words become tokens, and on which the text encoder is trained."
    clips: int = 16384
    "Clips for the base and both fine-tunings."
    validation_clips: int = 64
    base: TrainConfig = TrainConfig(
        out=Path(), target="appearance", mode="full", steps=4000, global_batch_size=64,
        optimiser="muon", learning_rate=1e-3, lr_schedule="constant_with_warmup",
        warmup_steps=100,
        ema_decay=0.999, compile=True, checkpoint_every=200, keep_checkpoints=1,
        validate_every=500, log_every=50, export="folder",
        objective=Objective(text_dropout=0.1, flow_shift=2.0),
    )  # fmt: skip
    "Training of the base from random weights; `out` is set by the recipe."
    tune_objective: Objective = Objective(flow_shift=2.0)
    "Of both fine-tunings, with the paper's dropouts."
    tune_steps: int = 2000
    "Steps of control and of VideoJAM."
    tune_learning_rate: float = 1e-3
    seed: int = 0
    """Of the first weights and of the trainings. Others than 0 share autoencoder, text
    encoder and data, and have their models in a folder seed-N of their own."""


def make_lab_model(
    recipe: Recipe,
    out: Path,
    device: str = "cpu",
    console: Console | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Run every stage that is not done; returns the folder of the VideoJAM model.

    stop: asked often; when it says so, Stopped is raised, and the same call goes on. A training
    stops by itself after a signal. Raises ValueError if `out` was begun with another recipe.

    out/start, out/base, out/control and out/videojam are stock diffusers folders; of another seed
    than 0 the last three are in out/seed-N.
    """
    console = console or Console()
    own = out / f"seed-{recipe.seed}" if recipe.seed else out
    own.mkdir(parents=True, exist_ok=True)
    settings = asdict(recipe)
    del settings["seed"]
    settle_config(out, settings, "recipe.json", defaults=defaults_of(Recipe))
    start, data, base = out / "start", out / "data", own / "base"

    def stop_if_asked() -> None:
        if stop():
            raise Stopped("stopped; the same command goes on")

    def stage(name: str, done: Path, make: Callable[[], Any]) -> None:
        stop_if_asked()
        if done.exists():
            console.print(f"{name}: done before")
            return
        began = time.perf_counter()
        console.rule(name)
        make()
        console.print(f"{name}: {time.perf_counter() - began:.0f} s")

    stage(
        "autoencoder and text encoder",
        start,
        lambda: _write_start(recipe, out, device, console, stop_if_asked),
    )
    stage(
        "dataset",
        data / "done",
        lambda: _prepare(recipe, data, str(start), device, stop_if_asked),
    )
    first = own / "start"
    if recipe.seed:
        stage("weights", first, lambda: _write_other_weights(recipe, start, first))
    base_run = replace(recipe.base, out=own / "runs" / "base", seed=recipe.seed)
    stage("base", base, lambda: finetune(data, base_run, str(first)).rename(base))
    tune: Any = {
        "steps": recipe.tune_steps, "learning_rate": recipe.tune_learning_rate,
        "lr_schedule": "cosine", "objective": recipe.tune_objective,
    }  # fmt: skip
    targets: dict[str, Literal["appearance", "joint"]] = {
        "control": "appearance",
        "videojam": "joint",
    }
    for name, target in targets.items():
        run = replace(base_run, out=own / "runs" / name, target=target, **tune)
        done = own / name / ("model_index.json" if name == "control" else INFO_FILE)

        def tuned(run: TrainConfig = run, name: str = name) -> None:
            model = finetune(data, run, str(base))
            if name == "videojam":
                write_lab(model, recipe.lab)
            model.rename(own / name)

        stage(name, done, tuned)
    return own / "videojam"


def _prepare(
    recipe: Recipe, data: Path, model: str, device: str, between: Callable[[], None]
) -> None:
    prepare_lab(
        recipe.lab, data, model, recipe.clips, recipe.validation_clips,
        sigma=recipe.sigma, device=device, dtype=torch.bfloat16, between=between,
    )  # fmt: skip
    (data / "done").touch()


def _take_autoencoder(vae: Any, source: str) -> None:
    """Weights and statistics of another model's autoencoder."""
    from diffusers import AutoencoderKLWan

    folder = embedded() if source == "embedded" else Path(source)
    found: Any = AutoencoderKLWan.from_pretrained(folder, subfolder="vae")
    try:
        vae.load_state_dict(found.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"the autoencoder of {folder} has other sizes than this recipe's; give one of its "
            "sizes, or leave --autoencoder-from out"
        ) from error
    vae.register_to_config(
        latents_mean=found.config.latents_mean, latents_std=found.config.latents_std
    )


def _write_other_weights(recipe: Recipe, start: Path, target: Path) -> None:
    """The pipeline in `start` with a random transformer of the recipe's seed."""
    from diffusers import DiffusionPipeline

    pipe: Any = DiffusionPipeline.from_pretrained(start)
    other = small_wan_pipeline(replace(recipe.model, seed=recipe.seed))
    pipe.transformer = other.transformer
    part = target.with_name("start.part")
    pipe.save_pretrained(part)
    part.rename(target)


def _write_start(
    recipe: Recipe, out: Path, device: str, console: Console, between: Callable[[], None]
) -> None:
    """The random transformer with a trained autoencoder and a trained text encoder."""
    captions = [lab_scene(recipe.lab, index)[0].caption for index in range(recipe.captions)]
    words = tuple(sorted({word for text in captions for word in text.replace(",", "").split()}))
    pipe = small_wan_pipeline(replace(recipe.model, words=words))
    if recipe.autoencoder_from:
        _take_autoencoder(pipe.vae, recipe.autoencoder_from)

    def report(every: int, what: str) -> Callable[[int, float], None]:
        def line(step: int, value: float) -> None:
            between()
            if (step + 1) % every == 0:
                console.print(f"step {step + 1}  {what} {value:.4f}")

        return line

    fit_text_encoder(
        pipe.text_encoder, pipe.tokenizer, captions, recipe.text, report(200, "nats per token")
    )
    pixels = lab_pixels(recipe.lab, recipe.autoencoder_clips, recipe.sigma, device, between)
    fit_autoencoder(
        pipe.vae.to(device),
        lambda index: to_pixels(pixels[index]),
        len(pixels),
        recipe.autoencoder,
        report(50, "mean absolute error"),
        out / "runs" / "autoencoder",
    )
    pipe.vae.to("cpu")
    part = out / "start.part"
    pipe.save_pretrained(part)
    part.rename(out / "start")
