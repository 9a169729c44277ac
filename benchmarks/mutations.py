"""Faults put into the source one by one: which tests notice?

    python benchmarks/mutations.py
    python benchmarks/mutations.py --of study    # faults_study.py; or evaluation, images, controls

Each mutation is made in a copy of the source, on which its tests are run. The result names the
first test that fails: a fault that none of them sees has survived.
"""

import importlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import tyro

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "scipy.stats", "hypothesis", "diffusers", "fastapi", "starlette.testclient")


class Mutation(NamedTuple):
    """One fault."""

    what: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation(
        "motion's noise is appearance's", "training/step.py",
        'f"{stream}-d"', 'f"{stream}-x"', "tests/training/test_step.py",
    ),
    Mutation(
        "the two experts' noise levels swapped", "training/loop.py",
        '"transformer": (boundary, 1.0), "transformer_2": (0.0, boundary)',
        '"transformer": (0.0, boundary), "transformer_2": (boundary, 1.0)',
        "tests/training/test_step.py",
    ),
    Mutation(
        "the base guided by w1, not 1 + w1", "sampling/generate.py",
        "scale = 1 + sampling.text_scale", "scale = sampling.text_scale",
        "tests/sampling/test_scales.py",
    ),
    Mutation(
        "Cosmos' offset of the scale is 0", "joint/families.py",
        "scale_offset=1.0", "scale_offset=0.0", "tests/sampling/test_scales.py",
    ),
    Mutation(
        "the base's scale with a guider 1 more", "sampling/pipeline.py",
        "text_guidance(pipe, float(guidance_scale))",
        "text_guidance(pipe, float(guidance_scale) + 1)",
        "tests/sampling/test_scales.py",
    ),
    Mutation(
        "the schedule's shift is always 1", "joint/denoiser.py",
        'config.get("flow_shift") or config.get("shift") or 1.0', "1.0",
        "tests/joint/test_noising.py",
    ),
    Mutation(
        "a dynamic shift without exp()", "joint/denoiser.py",
        "return math.exp(low + (high - low) * (tokens - few) / (many - few))",
        "return low + (high - low) * (tokens - few) / (many - few)",
        "tests/joint/test_noising.py",
    ),
    Mutation(
        "validation sees the weights as trained, not their average", "training/loop.py",
        "attention_kernel(device, tokens), averaged(ema, parameters)",
        "attention_kernel(device, tokens)",
        "tests/training/test_options.py -k average",
    ),
    Mutation(
        "paired videos are of the weights as trained", "training/loop.py",
        "            with averaged(ema, parameters):\n                sample(",
        "            if True:\n                sample(",
        "tests/training/test_options.py -k average",
    ),
    Mutation(
        "Movie Gen: no gate after the feed-forward", "models/moviegen.py",
        "hidden_states + gate3 * fed", "hidden_states + fed",
        "tests/models/test_moviegen.py -k written_out",
    ),
    Mutation(
        "Movie Gen: positions before the first block alone", "models/moviegen.py",
        "                tokens = block(tokens, text, temb, positions)",
        "                tokens = block(tokens, text, temb, positions)\n"
        "            positions = torch.zeros_like(positions)",
        "tests/models/test_moviegen.py -k written_out",
    ),
    Mutation(
        "v and noise prediction one time step off", "joint/noising.py",
        "(u * len(alphas)).long()", "((u * len(alphas)).long() + 1)",
        "tests/joint/test_noising.py -k very_time_step",
    ),
    Mutation(
        "the pipeline's generator is not the sample's", "sampling/pipeline.py",
        'generator(seed, "pipeline") for _, seed', 'generator(0, "pipeline") for _, seed',
        "tests/sampling/test_scales.py -k what_else",
    ),
    Mutation(
        "12 bytes for a trained number", "models/needs.py",
        '"adamw": 8.0', '"adamw": 4.0', "tests/models/test_needs.py",
    ),
)  # fmt: skip


def killed_by(mutation: Mutation) -> list[str]:
    """The tests that fail on the source with this fault."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        file = source / "videojam" / mutation.file
        text = file.read_text()
        if text.count(mutation.old) != 1:
            raise ValueError(f"{mutation.file} has {mutation.old!r} {text.count(mutation.old)} x")
        file.write_text(text.replace(mutation.old, mutation.new))
        said = Path(folder) / "said.txt"
        code = _forked(source, ["-n", "0", "-x", "-rf", *mutation.tests.split()], said)
        text = said.read_text()
    if code not in (0, 1):
        raise RuntimeError(text[-4000:])
    return re.findall(r"^FAILED (\S+)", text, re.MULTILINE)


def _forked(source: Path, arguments: list[str], said: Path) -> int:
    """pytest's exit code, in a child that has the libraries already; videojam is read anew."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 2
    with said.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(source)
    sys.path.insert(0, str(source))
    try:
        code = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        os._exit(code)


def main(of: Literal["models", "evaluation", "study", "images", "controls"] = "models") -> None:
    """Put in the faults of a part."""
    faults = MUTATIONS if of == "models" else importlib.import_module(f"faults_{of}").MUTATIONS
    for library in LIBRARIES:
        importlib.import_module(library)
    found = {}
    for mutation in faults:
        found[mutation.what] = killed_by(mutation)
        print(f"{mutation.what}: {', '.join(found[mutation.what]) or 'SURVIVED'}", flush=True)
    from record import record  # reads videojam, which the children read from their own copies

    print(record("mutations" if of == "models" else f"mutations_{of}", found).read_text())


if __name__ == "__main__":
    tyro.cli(main)
