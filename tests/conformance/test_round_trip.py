"""Every row's trained model, passed on: loaded from elsewhere by a process that did not make it."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
from small_models import ROWS
from small_runs import (
    PROMPTS,
    draw,
    frames_for,
    info_of,
    load,
    make_joint,
    shape_of,
    size_of,
)

import videojam
from videojam.joint.checkpoint import save_folder, transformers
from videojam.joint.find_family import family_of
from videojam.joint.first_call import blank_latents, call_arguments, first_call
from videojam.workflow.export import ExportConfig, export

CHILD = Path(__file__).parents[1] / "helpers" / "round_trip_child.py"


@pytest.fixture(scope="module")
def ask():
    """(which, question) -> latents by name, from a process of its own whose folder is the root."""
    path = os.pathsep.join([str(Path(videojam.__file__).parents[1]), str(CHILD.parent)])
    environment = os.environ | {"PYTHONPATH": path}
    with contextlib.ExitStack() as stack:
        children = {}

        def answer(which, **question):
            if which not in children:
                command = [sys.executable, str(CHILD), which]
                process = subprocess.Popen(
                    command, cwd="/", env=environment, text=True, stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                children[which] = stack.enter_context(process)
                stack.callback(process.stdin.close)
            child = children[which]
            child.stdin.write(json.dumps(question, default=str) + "\n")
            child.stdin.flush()
            problem = child.stdout.readline().strip()
            assert not problem, json.loads(problem)
            return load_file(question["out"])

        yield answer


def exported(name, folders, trainings, out):
    """The models of a row by form; where it cannot be trained, with random motion halves."""
    pipe = load(folders[name])
    if type(pipe).__name__ not in family_of(pipe.transformer).pipelines:
        make_joint(pipe)
        save_folder(pipe, out / "folder", info_of(pipe, folders[name]))
        return {"folder": out / "folder"}
    lora = hasattr(pipe.transformer, "add_adapter")
    run = trainings(name, "lora" if lora else "full").out
    forms = ("adapter", "folder") if lora else ("folder",)
    return {
        form: export(ExportConfig(source=str(run), out=out / form, form=form)) for form in forms
    }


def call_of(pipe, out):
    """What to call with, in a file: the pipeline, or where that makes no joint clips by itself its
    transformer."""
    family, size = family_of(pipe.transformer), size_of(pipe)
    C, *rest = shape_of(pipe)
    noise = draw(1, 2 * C, *rest)
    kind = type(pipe).__name__
    runs = kind in (*family.pipelines, *family.guided_pipelines) and family.runs_alone
    if runs:
        call = call_arguments(pipe, family, PROMPTS[:1], size, 8.0)
        call |= {"latents": family.pipeline_layout.pack(noise), "num_inference_steps": 2}
        if family.scale_argument:
            call[family.scale_argument] = 3.0
        call |= frames_for(pipe)
        if getattr(
            pipe.transformer, "visual_cond", False
        ):  # Kandinsky's condition, along with them
            latents = call["latents"]
            condition = latents.new_zeros(*latents.shape[:-1], latents.shape[-1] + 1)
            call["latents"] = torch.cat([latents, condition], -1)
        negative = "" if family.one_at_a_time else [""]
        call |= {"negative_prompt": negative, "return_dict": False}
    else:
        start = blank_latents(pipe, family, pipe.transformer, 1, size)
        call = first_call(pipe, family, pipe.transformer, PROMPTS[:1], size, 8.0, start)
        call["hidden_states"] = draw(*call["hidden_states"].shape)
        call["return_dict"] = False
    torch.save(call, out)
    return {"call": out, "of": "pipeline" if runs else "transformer"}


@pytest.mark.parametrize("name", ROWS)
def test_passed_on_and_saved_again_it_makes_the_same_latents(
    folders, trainings, name, ask, tmp_path
):
    """By stock diffusers alone and by VideoJAM, in new processes, from another working folder."""
    models = exported(name, folders, trainings, tmp_path)
    pipe = DiffusionPipeline.from_pretrained(models["folder"])
    call = call_of(load(models["folder"]), tmp_path / "call.pt")
    stock = ask("stock", models={"folder": models["folder"]}, out=tmp_path / "stock", **call)
    ours = ask("ours", models=models, again=tmp_path / "again", out=tmp_path / "ours", **call)
    names = {"folder", "folder again"}
    if "adapter" in models:
        names |= {"adapter", "adapter again", "adapter as a folder"}
    guided = {f"{one}, guided" for one in names} if call["of"] == "pipeline" else set()
    assert {*ours} == guided | {*models} | (names if not guided else set())
    for made, latents in ours.items():
        same = ours["folder, guided"] if made in guided else stock["folder"]
        scale = same.abs().max()
        assert (latents - same).abs().max() <= 1e-5 * scale, made
    if call["of"] == "pipeline":
        assert (ours["folder, guided"] - ours["folder"]).abs().max() > 1e-3 * scale
    base = load(folders[name])
    for part, one in transformers(pipe).items():
        head = family_of(one).out_module
        assert (
            one.get_submodule(head).weight.shape
            != transformers(base)[part].get_submodule(head).weight.shape
        )
