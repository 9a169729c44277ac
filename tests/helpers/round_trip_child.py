"""Loads models in a process that did not make them, from the root folder; asked line by line.

    python round_trip_child.py stock     diffusers alone
    python round_trip_child.py ours      VideoJAM, which also saves again what it loaded

A question is a JSON object: `models` by name, `call` (torch.save: keyword arguments of the
pipeline, or of its transformer), `of` ("pipeline" or "transformer"), `out` for latents by name,
and, for ours, `again`: where to save. The answer is an empty line, or what went wrong in one.
"""

import contextlib
import importlib
import json
import sys
import traceback
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file
from small_models import stand_in_for_packages

SCALES = {"text_scale": 3.0, "motion_scale": 2.0}


def run(pipe, question, guidance=None):
    call = torch.load(question["call"], weights_only=False)
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        if question["of"] == "transformer":
            output = pipe.transformer(**call)
            return output if isinstance(output, torch.Tensor) else output[0]
        torch.manual_seed(0)
        with guidance or contextlib.nullcontext():
            return pipe(**call, generator=torch.Generator().manual_seed(0))[0]


def stock(question):
    latents = {}
    for name, folder in question["models"].items():
        if "videojam.models.moviegen" in (Path(folder) / "model_index.json").read_text():
            importlib.import_module("videojam.models.moviegen")  # the one class of our own
        latents[name] = run(DiffusionPipeline.from_pretrained(folder), question)
    parts = [name for name in sys.modules if name.startswith("videojam.")]
    assert all(name.startswith("videojam.models") for name in parts), parts
    return latents


def ours(question):
    from videojam import VideoJAM
    from videojam.guidance.pipelines import inner_guidance
    from videojam.joint.checkpoint import save_adapter, save_folder

    latents = {}
    again = Path(question["again"])

    def sample(name, model, plain=False, **options):
        jam = VideoJAM.from_pretrained(model, **options)
        if plain or question["of"] == "transformer":
            latents[name] = run(jam.pipe, question)
        if question["of"] == "pipeline":
            guided = inner_guidance(jam.pipe, **SCALES)
            latents[f"{name}, guided"] = run(jam.pipe, question, guided)
        return jam

    for name, model in question["models"].items():
        jam = sample(name, model, plain=True)
        if name == "folder":
            save_folder(jam.pipe, again / "folder", jam.info)
            sample("folder again", again / "folder")
            continue
        save_folder(jam.pipe, again / "from adapter", jam.info)
        sample("adapter as a folder", again / "from adapter")
        kept = VideoJAM.from_pretrained(model, fuse=False)
        save_adapter(kept.pipe, again / "adapter", kept.info)
        sample("adapter again", again / "adapter")
    return latents


def main():
    torch.set_num_threads(1)
    stand_in_for_packages()
    answer = {"stock": stock, "ours": ours}[sys.argv[1]]
    for line in sys.stdin:
        question = json.loads(line)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                latents = answer(question)
            save_file({k: v.contiguous() for k, v in latents.items()}, question["out"])
            print(flush=True)
        except BaseException:
            print(json.dumps(traceback.format_exc()), flush=True)


if __name__ == "__main__":
    main()
