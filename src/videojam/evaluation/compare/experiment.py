"""videojam evaluate compare: from models, clips and prompts to tables and one report.

    videojam evaluate compare --out runs/compare \\
        --systems base=Wan-AI/Wan2.1-T2V-1.3B-Diffusers videojam=run/adapter sora=clips/sora \\
        --prompts videojam-128 --seeds 0 1

Models are sampled, clips of other systems matched to the prompts; all are brought to one frame
rate, size and length and measured by metrics without learned weights, with --vbench also by VBench.
`accelerate launch -m videojam.cli.main evaluate compare ...` shares the work between processes and
GPUs. Stopped at any moment, the same command goes on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console

from videojam.evaluation.clips.generate import model_fps, with_size
from videojam.evaluation.clips.judged import Row, write_rows
from videojam.evaluation.clips.normalise import Form
from videojam.evaluation.clips.prompts import PromptSet, read_prompt_set
from videojam.evaluation.compare.config import Config
from videojam.evaluation.compare.cost import cost_of, rate_of
from videojam.evaluation.compare.outcome import Outcome, write_outcome
from videojam.evaluation.compare.settings import settle
from videojam.evaluation.compare.vbench_scores import vbench_scores
from videojam.evaluation.compare.work import (
    Clip,
    Measured,
    Planned,
    Share,
    find_form,
    generate,
    measure_clips,
    plan,
    wait_for,
    wait_for_measured,
)
from videojam.motion.flow import FlowEstimator
from videojam.training.parallel import processes


def run(config: Config) -> dict[str, Any]:
    """Make what is missing, measure, write; returns the figures (of the first process)."""
    config.check()
    state = processes()
    share = Share(state.process_index, state.num_processes)
    console = Console(quiet=share.index > 0)
    device = config.device or str(state.device)
    dtype = config.dtype or ("float32" if torch.device(device).type == "cpu" else "bfloat16")
    config = replace(config, dtype=dtype, device=device)
    prompts = read_prompt_set(config.prompts, config.num_prompts)
    plans = _plans(config, prompts, dtype)
    if share.index == 0:
        rate = rate_of(config.tflops, device, dtype, share.count)
        console.print(cost_of(plans, len(prompts.prompts), len(config.seeds), rate), soft_wrap=True)
    if config.dry_run:
        return {}
    if share.index == 0:
        settle(config, plans)
    fps = _model_fps(plans)
    for planned in plans:
        options = {"dtype": dtype, "device": device, "offload": config.offload}
        generate(planned, config.out, share, fps=fps[planned.system.name], **options)
    for planned in plans:
        if planned.sampling is not None:
            wait_for([c.path.with_suffix(".json") for c in planned.clips.values()], share)
    form = config.form(find_form(plans))
    console.print(f"all clips as {form.text()}")
    clips = [clip for planned in plans for clip in planned.clips.values()]
    raft = _raft(config)
    measure_clips(clips, form, config.out, share, raft=raft)
    if share.index:
        return {}
    found = wait_for_measured(clips, form, config.out, share, raft is not None)
    measured = {(clip.system, clip.key): one for clip, one in zip(clips, found, strict=True)}
    return _finish(config, prompts, plans, form, measured, console)


def _plans(config: Config, prompts: PromptSet, dtype: str) -> list[Planned]:
    systems = config.compared()
    common = config.common_sampling()
    # A plain model does not know its size; the first joint one among the systems says it.
    joint = [s for s in systems if s.kind == "joint" and s.model.is_dir()]
    if joint and None in common.size.values():
        common = with_size(joint[0], common)
    return [
        plan(system, prompts.prompts, config.seeds, common, dtype, config.out) for system in systems
    ]


def _model_fps(plans: Sequence[Planned]) -> dict[str, float]:
    """Of every sampled system; plain models take the joint ones'. ValueError where none knows."""
    known = [fps for planned in plans if (fps := model_fps(planned.system)) is not None]
    found = {}
    for planned in plans:
        fps = model_fps(planned.system) or (known[0] if known else None)
        if planned.sampling is not None and fps is None:
            raise ValueError(
                f"nothing says at how many frames a second {planned.system.name} makes clips; "
                f"give it: {planned.system.name}={planned.system.source},fps=16"
            )
        found[planned.system.name] = fps or 0.0
    return found


def _raft(config: Config) -> FlowEstimator | None:
    if config.raft is None:
        return None
    from videojam.motion.estimators.raft import RAFT

    return RAFT(weights=config.raft, device=config.device or "cpu")


def _finish(
    config: Config,
    prompts: PromptSet,
    plans: Sequence[Planned],
    form: Form,
    measured: Mapping[tuple[str, tuple[int, int]], Measured],
    console: Console,
) -> dict[str, Any]:
    """Tables, plot and page from what was measured."""
    clips: dict[str, dict[tuple[int, int], Clip]] = {p.system.name: p.clips for p in plans}
    scores = vbench_scores(config, clips, measured, console)
    names = [*next(iter(measured.values())).values, *scores.metrics]
    rows = {
        planned.system.name: [
            Row(
                system=planned.system.name,
                kind=(prompt.tags.get("category") or ("",))[0],
                type="",
                prompt=prompt.number,
                seed=repeat,
                values={name: math.nan for name in names}
                | _values(measured.get((planned.system.name, (prompt.number, repeat))))
                | scores.of(planned.system.name, (prompt.number, repeat)),
            )
            for prompt in prompts.prompts
            for repeat in range(len(config.seeds))
        ]
        for planned in plans
    }
    write_rows(config.out / "rows.jsonl", [row for one in rows.values() for row in one])
    outcome = Outcome(config, prompts, plans, form, measured, rows, scores)
    figures = write_outcome(outcome)
    console.print(
        f"open {config.out / 'index.html'} in a browser; tables: {config.out / 'results.md'}",
        soft_wrap=True,
    )
    return figures


def _values(one: Measured | None) -> dict[str, float]:
    return {} if one is None else one.values
