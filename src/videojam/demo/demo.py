"""What the embedded models make, side by side, offline: base, control and VideoJAM.

    videojam demo --out runs/demo

Two worlds. Clips of one line (line.py), where a whole clip is one picture, and where the method was
measured over several trainings; and scenes of the Motion Lab (scenes.py), which look like video.
Nobody chose the captions: the rules are stated, and nothing else used these seeds. Each model
samples each caption from the same noises, and exact metrics judge the clips. On top stands what was
measured on hundreds of captions (recorded.json), because a few samples prove nothing.

Written are OUT/index.html, one file with everything in it, an mp4 per caption of a scene, all of
them as all.gif, line.png, and metrics.json. Samples are kept in OUT/samples, and the same command
makes only those that are missing.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from videojam.demo import line, scenes
from videojam.demo.line import Line
from videojam.demo.page import page
from videojam.demo.recorded import recorded
from videojam.demo.scenes import Scenes
from videojam.records.atomic import write_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """What the demo samples, and how."""

    line: Line = field(default_factory=Line)
    scenes: Scenes = field(default_factory=Scenes)


def run_demo(
    out: Path, demo: Demo | None = None, models: Path | None = None, console: Console | None = None
) -> Path:
    """Sample and judge what is missing, write the page; returns its path.

    models: a folder of stock folders base, control and videojam, as embedded/recipe.py makes them,
    for the scenes; default the embedded ones. Raises ValueError if `out` holds samples that were
    made in another way.
    """
    console, demo = console or Console(), demo or Demo()
    measured = recorded()
    lines = line.plan(demo.line, measured)
    shown = scenes.plan(demo.scenes, models)
    kept = out / "samples"
    line_missing = not line.is_there(kept, lines)
    missing = [sample for sample in shown.samples if not scenes.is_there(kept, sample)]
    console.print(
        f"the line: {'to be made' if line_missing else 'done before'}; scenes: "
        f"{len(shown.samples)} samples, {len(shown.samples) - len(missing)} of them done before"
    )
    with Progress(console=console) as progress:
        if line_missing:
            line.sample(lines, kept, progress)
        if missing:
            scenes.sample(shown, missing, kept, progress)
    with console.status("drawing"):
        of_line = line.show(lines, kept, out)
        of_scenes = scenes.show(shown, kept, out)
        write_text(
            out / "metrics.json",
            json.dumps({"line": of_line.sidecar, "scenes": of_scenes.sidecars}, indent=2) + "\n",
        )
        write_text(out / "index.html", page(measured, of_line, of_scenes, embedded=models is None))
    megabytes = (out / "index.html").stat().st_size / 1e6
    console.print(
        f"open {out / 'index.html'} in a browser (one file, {megabytes:.1f} MB)\n"
        f"     {out / 'line.png'}: clips of one line, time downwards\n"
        f"     {out}/*.mp4, {out / 'all.gif'}: {' | '.join(scenes.LABELS.values())}\n"
        f"     {out / 'metrics.json'}: all figures of the samples",
        soft_wrap=True,
    )
    return out / "index.html"
