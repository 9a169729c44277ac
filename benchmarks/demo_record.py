"""Take what the demo's page says was measured from the results of the two comparisons.

    python benchmarks/demo_record.py

Reads scanline.json and lab_comparison.json in benchmarks/results, writes
src/videojam/demo/recorded.json.
"""

import json
from typing import Any

from record import RESULTS
from videojam.demo.recorded import RECORDED
from videojam.evaluation.experiments.scanline.compared import BASE, CONTROL, GUIDED, JOINT
from videojam.lab.scanline.judge import PRIMARY

SYSTEMS = (BASE, CONTROL, JOINT, GUIDED)
PAIRS = ((JOINT, CONTROL), (GUIDED, CONTROL), (GUIDED, JOINT))
IN_SCENES = {
    BASE: "base", CONTROL: "control", JOINT: "VideoJAM", GUIDED: "VideoJAM with Inner-Guidance",
}  # fmt: skip


def of_line(result: dict[str, Any]) -> dict[str, Any]:
    figures, settings = result["figures"], result["settings"]
    seeds, scope = figures["training_seeds"], settings["scope"]
    # Few trainings are taken for what they are; one has no spread at all.
    which = "over_seeds" if len(seeds) > 1 else "hierarchical"
    over = (
        f"systems over {len(seeds)} trainings and {scope['prompts']} captions each, the difference "
        f"over the {len(seeds)} trainings (Student's t)"
        if len(seeds) > 1
        else f"one training, {scope['prompts']} captions: over captions alone"
    )
    return {
        "metric": PRIMARY,
        "systems": {name: figures["means"][name][PRIMARY]["hierarchical"] for name in SYSTEMS},
        "differences": {
            f"{a} - {b}": figures["differences"][f"{a} - {b}"][PRIMARY][which] for a, b in PAIRS
        },
        "over": over,
        "setting": {
            "scales": figures["chosen"],
            "num_inference_steps": scope["steps"],
            "motion_stop": scope["motion_stop"],
        },
        "command": f"videojam evaluate scanline --seeds {len(seeds)}",
        "commit": result["commit"],
    }


def of_scenes(result: dict[str, Any]) -> dict[str, Any]:
    figures, settings = result["figures"], result["settings"]
    noises = settings["seeds_per_prompt"]

    def coherence(rows: str, name: str) -> dict[str, Any]:
        return figures[rows][name]["all"]["coherence"]

    return {
        "metric": "coherence",
        "systems": {name: coherence("means", IN_SCENES[name]) for name in SYSTEMS},
        "differences": {
            f"{a} - {b}": coherence("differences", f"{IN_SCENES[a]} - {IN_SCENES[b]}")
            for a, b in PAIRS
        },
        "over": f"one training, {settings['prompts']} captions"
                + (f" with {noises} noises each" if noises > 1 else ""),
        "setting": {k: settings[k] for k in ("text_scale", "motion_scale", "num_inference_steps")},
        "command": f"videojam evaluate comparison --seed {settings['seed']} --prompts "
                   f"{settings['prompts']} --seeds-per-prompt {noises}",
        "commit": result["commit"],
    }  # fmt: skip


def demo_record() -> dict[str, Any]:
    read = {
        n: json.loads((RESULTS / f"{n}.json").read_text()) for n in ("scanline", "lab_comparison")
    }
    return {"line": of_line(read["scanline"]), "scenes": of_scenes(read["lab_comparison"])}


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(demo_record(), indent=2) + "\n")
    print(f"wrote {RECORDED}")
