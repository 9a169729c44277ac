"""The real VBench on a folder of clips: a process in its own environment for each dimension.

What is done stays done, and a dimension that fails takes no other with it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from videojam.evaluation.vbench.aggregate import DIMENSIONS
from videojam.evaluation.vbench.environment import environment_python
from videojam.evaluation.vbench.results import Scores, read_results
from videojam.evaluation.vbench.weights import explain_missing, missing_weights
from videojam.records.atomic import write_text

OWN_PROMPTS_ONLY = (
    "object_class", "multiple_objects", "scene", "appearance_style", "color",
    "spatial_relationship",
)  # fmt: skip
"Dimensions that need to know what VBench's own prompts ask for."


def cache_folder() -> Path:
    """Where VBench looks for its weights: VBENCH_CACHE_DIR or ~/.cache/vbench."""
    return Path(os.environ.get("VBENCH_CACHE_DIR") or Path.home() / ".cache" / "vbench")


def evaluate_folder(
    environment: Path,
    videos: Path,
    out: Path,
    dimensions: Sequence[str],
    prompts: Mapping[str, str] | None = None,
    *,
    standard: bool = False,
    download: bool = False,
    allow_pickle: bool = False,
    gpus: int = 1,
) -> dict[str, Scores]:
    """Evaluate what `out` has no result of, and read all results.

    videos: a folder of .mp4. prompts: file name -> prompt; default VBench's rule, the file name.
    standard: the clips are of VBench's own prompts, named as it asks. download: let VBench fetch
    its weights. allow_pickle: load them as before PyTorch 2.6, which runs what they contain.
    Raises ValueError for unknown dimensions, missing weights (all of them in one message), clips
    that VBench cannot read, and for dimensions that failed, with their last lines, after the others
    were done.
    """
    _check(videos, dimensions, standard)
    todo = [name for name in dimensions if not _result(out, name).is_file()]
    python = environment_python(environment) if todo else Path()
    missing = missing_weights(cache_folder(), todo)
    if missing and not download:
        raise ValueError(explain_missing(cache_folder(), missing, todo))
    failed = {}
    for number, name in enumerate(todo):
        print(f"VBench {name} ({number + 1} of {len(todo)})", file=sys.stderr)
        error = _evaluate(python, videos, out, name, prompts, standard, allow_pickle, gpus)
        if error:
            failed[name] = error
    if failed:
        raise ValueError(
            "; ".join(
                f"VBench failed on {name} (log {out / f'{name}.log'}): {error}"
                for name, error in failed.items()
            )
        )
    found = read_results(out)
    return {name: found[name] for name in dimensions}


def _evaluate(
    python: Path,
    videos: Path,
    out: Path,
    name: str,
    prompts: Mapping[str, str] | None,
    standard: bool,
    allow_pickle: bool,
    gpus: int,
) -> str | None:
    """Run one dimension; the last lines of its log if it left no result."""
    part = out / "parts" / name
    job = {
        "videos": str(videos.resolve()), "out": str(part.resolve()), "name": name,
        "dimension": name, "prompts": dict(prompts or {}) or [],
        "mode": "vbench_standard" if standard else "custom_input",
    }  # fmt: skip
    write_text(part / "job.json", json.dumps(job))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}"]
    runner = Path(__file__).with_name("runner.py")
    command = [str(python), *(launch if gpus > 1 else []), str(runner), str(part / "job.json")]
    surroundings = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    surroundings |= {"VBENCH_CACHE_DIR": str(cache_folder())}
    surroundings.pop("PYTHONPATH", None)  # ours would shadow its packages
    if allow_pickle:
        surroundings["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    with (out / f"{name}.log").open("w") as log:
        subprocess.run(command, env=surroundings, stdout=log, stderr=subprocess.STDOUT, check=False)
    written = _result(part, name)
    if not written.is_file():
        return " | ".join((out / f"{name}.log").read_text().strip().splitlines()[-3:])
    written.replace(_result(out, name))
    return None


def _result(folder: Path, name: str) -> Path:
    return folder / f"{name}_eval_results.json"


def _check(videos: Path, dimensions: Sequence[str], standard: bool) -> None:
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown or not dimensions:
        raise ValueError(
            f"VBench has no dimension {', '.join(unknown) or '(none given)'}; there are "
            f"{', '.join(DIMENSIONS)}"
        )
    own = [name for name in dimensions if name in OWN_PROMPTS_ONLY]
    if own and not standard:
        raise ValueError(
            f"{', '.join(own)} can be judged on VBench's own prompts alone; generate those and "
            "give --standard, or leave them out"
        )
    if not videos.is_dir() or not any(videos.glob("*.mp4")):
        raise ValueError(f"{videos} has no .mp4 files, which is what VBench reads; give a folder")
