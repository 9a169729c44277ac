"""The demo as one HTML file that needs nothing else: no script, no network, everything inside."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from videojam.demo import line, scenes
from videojam.demo.recorded import Measured, verdict
from videojam.evaluation.experiments.scanline.compared import CONTROL, GUIDED, JOINT
from videojam.evaluation.report.tables import show
from videojam.evaluation.statistics.bootstrap import Interval
from videojam.motion.color import brighter, flow_to_rgb

MODELS = {"base": "base", "control": "control", "videojam": "VideoJAM"}
MEANING = {
    "permanence": "things stay: none appears, disappears or changes its size",
    "rigidity": "every body keeps its shape",
    "contact": "bodies go neither into each other nor through the floor",
    "law": "the law of the scene holds: free fall, swing, constant turning, momentum, ...",
    "order": "frames follow each other, and turning keeps its sense",
    "motion": "it moves: 0 for a still clip",
    "coherence": "motion times the mean of the first five, of those that apply",
    "text": "the share of what the caption asks for that is there; no part of coherence",
}
"Of the lab's metrics, lab/judge/judge.py."

_COMMANDS = """\
# does your model's loss see motion?
videojam evaluate premise --model MODEL --data clips --captions captions.jsonl --out premise
videojam prepare --model MODEL --videos clips --captions captions.jsonl --out data
# time, memory and disk, before you pay for them
videojam train --data data --out run --dry-run
videojam train --data data --out run
videojam generate --model run/adapter --base MODEL --out out --prompt "a dog jumps over a hurdle"\
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b636d; --paper: #fff; --card: #f4f5f7;
  --edge: #d9dde2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa3ad; --paper: #101216;
  --card: #181b20; --edge: #2c3138; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1088px; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { max-width: 46rem; }
figure { margin: 2rem 0; background: var(--card); border: 1px solid var(--edge);
  border-radius: 10px; overflow: hidden; }
figcaption { padding: .8rem 1rem; font-weight: 600; }
figcaption small { display: block; color: var(--soft); font-weight: 400; }
video { display: block; width: 100%; height: auto; background: #16181d; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; width: 23%; text-align: left; border-top: 1px solid var(--edge); }
th:first-child { width: 31%; padding-left: 1rem; }
th { font-weight: 400; color: var(--soft); }
tr.main th, tr.main td { font-weight: 600; color: var(--ink); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.line { display: grid; grid-template-columns: repeat(6, 1fr); gap: .4rem; padding: 0 1rem .6rem; }
.line figure { margin: 0; border: 0; border-radius: 0; background: none; }
.line img { display: block; width: 100%; aspect-ratio: 48 / 24; image-rendering: pixelated; }
.line figcaption { padding: .1rem 0; font-size: .75rem; line-height: 1.3; font-weight: 400;
  color: var(--soft); }
@media (max-width: 640px) { .line { grid-template-columns: repeat(3, 1fr); } }
.wide { overflow-x: auto; }
.measured { width: auto; margin: 1rem 0; }
.measured th, .measured td { width: auto; padding: .25rem 1.2rem .25rem 0; }
.measured th:first-child { width: auto; padding-left: 0; }
pre { background: var(--card); border: 1px solid var(--edge); border-radius: 6px; padding: .8rem;
  overflow-x: auto; font-size: .85rem; }
.legend { display: flex; gap: 1rem; align-items: center; }
.legend img { flex: none; border-radius: 50%; } .legend p { flex: 1; min-width: 0; }
"""


def page(
    measured: dict[str, Measured], of_line: line.Shown, of_scenes: scenes.Shown, embedded: bool
) -> str:
    """The page of these samples. embedded: the scenes' models are those that were measured."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>videojam demo</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>The same caption, the same noise: does it move as it should?</h1>
<p><b>base</b> is a small video model, trained on simulated clips. <b>control</b> and
<b>VideoJAM</b> are both that base, trained on for equally many steps on the same clips in the same
order: control as before, VideoJAM to predict the motion together with the video; it is sampled
with Inner-Guidance, which steers each step by the motion that the model itself predicts. Nobody
chose the captions or the noises: they are the first ones of seeds that nothing else uses.</p>
<h2>What was measured</h2>
<div class="wide">{_summary(measured)}</div>
<p>{_in_words(measured)}</p>
{_line_part(of_line)}
{_scenes_part(of_scenes, embedded)}
<h2>What the predicted motion is for</h2>
<div class="legend"><img src="{_wheel()}" width="64" height="64" alt="colour wheel">
<p>Colour is direction, as on this wheel seen from its centre; brightness is speed (on the wheel and
in the scenes its square root, so that slow motion can be seen).</p></div>
<p>A VideoJAM model draws two things from one noise: the clip and how every pixel of it moves.
Inner-Guidance compares, at each of the first steps, what the model draws when it sees its own
motion with what it draws when it does not, and goes further in that direction. Where the two
columns disagree, the model has lost the thread: look there first. The motion comes with every
clip, as a video and as flow in pixels (<code>clip.motion</code>, <code>clip.flow</code>), and can
be given instead of predicted (<code>videojam generate --motion-from CLIP</code>).</p>
<h2>On your own model and clips</h2>
<p>These models are tiny and know nothing but their two worlds. The method is made for large ones,
whose frames are right and whose motion is not. Measure first whether yours is one of those:</p>
<pre>{escape(_COMMANDS)}</pre>
<p>The whole way, with hours and what to look at after each step: <code>docs/guide.md</code>.
Whether it helped: <code>videojam evaluate compare</code>, and <code>videojam study</code> for human
votes.</p>
<h2>What the numbers mean</h2>
<p><b>lawful</b>, of the line: the largest share of (frame, ball)s that one motion by the laws of
this world explains; true clips have 1, shuffled ones about 0.4. The others, of the scenes, lie
between 0 and 1, and 1 is right; &ndash; where a metric does not apply. They are measured in the
pixels of the clip against the scene that its caption describes.</p>
<dl>
{_list(MEANING.items())}
</dl>
<h2>How it was made</h2>
<dl>
{_list(_made(measured, of_line.sidecar, of_scenes.sidecars))}
</dl>
</main>
</body>
</html>
"""


# --- what was measured ----------------------------------------------------------------------------


def _summary(measured: dict[str, Measured]) -> str:
    """Both comparisons in one table."""
    own, scene = measured["line"], measured["scenes"]
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("", f"clips of one line: {own.metric}", f"scenes: {scene.metric}")
    )
    rows = [
        (label, own.systems.get(name), scene.systems.get(name))
        for name, label in (("base", "base"), (CONTROL, "control"),
                            (JOINT, "VideoJAM without Inner-Guidance"), (GUIDED, "VideoJAM"))
    ]  # fmt: skip
    rows.append(("VideoJAM less control", own.differences[f"{GUIDED} - {CONTROL}"],
                 scene.differences[f"{GUIDED} - {CONTROL}"]))  # fmt: skip
    body = "\n".join(
        f"<tr{' class=main' if ' less ' in label else ''}>"
        f'<th scope="row">{label}</th>'
        + "".join(f"<td>{_cell(cell, ' less ' in label)}</td>" for cell in cells)
        + "</tr>"
        for label, *cells in rows
    )
    return (
        f'<table class="measured"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"<p>Mean [95 % interval]. The line: {escape(own.over)}. Scenes: {escape(scene.over)}.</p>"
    )


def _cell(cell: Interval | None, signed: bool) -> str:
    return "&ndash;" if cell is None else show(cell, signed)


def _in_words(measured: dict[str, Measured]) -> str:
    """What the table says, from the table."""
    parts = []
    for where, name in (("On the line", "line"), ("In the scenes", "scenes")):
        own = measured[name]
        guided = verdict(own.differences[f"{GUIDED} - {CONTROL}"])
        joint = verdict(own.differences[f"{JOINT} - {CONTROL}"])
        helps = verdict(own.differences[f"{GUIDED} - {JOINT}"])
        parts.append(
            f"{where}, VideoJAM against the control: <b>{guided}</b>; without Inner-Guidance: "
            f"{joint}; with Inner-Guidance against without: {helps}."
        )
    return (
        " ".join(parts) + " Why the two differ, what was tried, and where it helps: "
        "<code>docs/results.md</code> and <code>docs/log.md</code> in the repository."
    )


# --- samples --------------------------------------------------------------------------------------


def _line_part(shown: line.Shown) -> str:
    figures = []
    for number, caption in enumerate(shown.sidecar["captions"]):
        rows = "\n".join(
            f'<div class="line">{"".join(map(_picture, shown.pictures[number, seed]))}</div>'
            for seed in shown.sidecar["seeds"]
        )
        figures.append(f"<figure><figcaption>{escape(caption)}</figcaption>\n{rows}\n</figure>")
    text = "\n".join(figures)
    return f"""<h2>Clips of one line</h2>
<p>Every frame is one line of pixels, so a whole clip is a picture with time downwards. Two
balls fly before a still, loud texture, bounce off the walls and off each other. A ball in even
motion draws a straight line; a ball that stutters, splits, or turns in empty space has moved
wrongly. The first column is a true clip of that caption: others may be as true, so look for laws,
not for likeness. Below each clip: the share of it that the laws explain.</p>
{text}"""


def _picture(own: line.Picture) -> str:
    source = "data:image/png;base64," + base64.b64encode(line.png(own.pixels)).decode()
    lawful = "" if own.lawful is None else f" {own.lawful:.2f}"
    return (
        f'<figure><img src="{source}" alt="{escape(own.label)}, time downwards">'
        f"<figcaption>{escape(own.label)}{lawful}</figcaption></figure>"
    )


def _scenes_part(shown: scenes.Shown, embedded: bool) -> str:
    figures = "\n".join(map(_figure, shown.sidecars, shown.videos))
    others = (
        ""
        if embedded
        else "<p>These are models of your own: the table on top is not about them.</p>"
    )
    return f"""<h2>Scenes</h2>
{others}
<p>Simulated bodies in {len(shown.sidecars)} samples: one caption for each kind of motion, each with
several noises. The last column is the motion that VideoJAM predicted for its own clip.</p>
{figures}"""


def _figure(sample: dict[str, Any], video: Path) -> str:
    encoded = base64.b64encode(video.read_bytes()).decode()
    prompt = escape(sample["prompt"])
    head = "".join(f'<th scope="col">{label}</th>' for label in MODELS.values())
    rows = "\n".join(
        f'<tr{" class=main" if metric == "coherence" else ""}><th scope="row">{metric}</th>'
        + "".join(f"<td>{_number(sample['metrics'][model][metric])}</td>" for model in MODELS)
        + "</tr>"
        for metric in MEANING
    )
    about = f"{sample['kind']} motion: {sample['scene']['type']}; noise {sample['seed']}"
    return f"""<figure>
<figcaption>{prompt}<small>{about}</small></figcaption>
<video src="data:video/mp4;base64,{encoded}" aria-label="{prompt}: base, control, VideoJAM and
 predicted motion side by side" autoplay muted loop playsinline controls></video>
<details><summary>metrics</summary>
<table>
<thead><tr><th></th>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</details>
</figure>"""


def _wheel(side: int = 64) -> str:
    """Every direction and speed in the colours of the predicted motion, a PNG."""
    to_side = torch.linspace(-1, 1, side)
    flow = torch.stack(torch.meshgrid(to_side, to_side, indexing="xy"))
    pixels = flow_to_rgb(flow, sigma=1 / math.hypot(side, side)).mul(255).to(torch.uint8)
    image = Image.fromarray(brighter(pixels.movedim(0, -1)).numpy())
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _number(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.2f}"


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)


def _made(
    measured: dict[str, Measured], own: dict[str, Any], samples: Sequence[dict[str, Any]]
) -> list[tuple[str, str]]:
    """Settings, which all samples share, and what may differ where a run was resumed."""
    first, sampling = samples[0], samples[0]["sampling"]
    seconds = [
        f"{label} {sum(sample['seconds'][name] for sample in samples):.1f}"
        for name, label in MODELS.items()
    ]
    scale = (
        f"text scale {sampling['text_scale']:g}, motion scale {sampling['motion_scale']:g} in "
        f"steps {sampling['motion_start']:.0%} to {sampling['motion_stop']:.0%}; base and control "
        f"with plain guidance of scale {1 + sampling['text_scale']:g}"
    )
    scales = "; ".join(
        f"{name}: text scale {s['text_scale']:g}, motion scale {s['motion_scale']:g}"
        for name, s in own["systems"].items()
    )
    steps = next(iter(own["systems"].values()))["num_inference_steps"]
    return [
        ("command", "videojam demo"),
        ("models", _each(samples, lambda sample: sample["models"])),
        ("fingerprints", ", ".join(
            f"{name} {mark[:12]}" for name, mark in first["model_fingerprints"].items())),
        ("scenes", f"{sampling['num_frames']} frames of {sampling['width']} x {sampling['height']} "
                   f"pixels at {first['fps']:g} per second, enlarged; "
                   f"{sampling['num_inference_steps']} steps; {scale}; scenes of seed "
                   f"{first['scene']['seed']}"),
        ("the line", f"{', '.join(own['models'].values())}; {steps} steps; {scales}"),
        ("seconds", f"{', '.join(seconds)}, for {len(samples)} clips each; the line "
                    f"{sum(own['seconds'].values()):.1f}"),
        ("measured by", "; ".join(
            f"{one.command} at {one.commit[:12]}" for one in measured.values())),
        ("machine", _each([own, *samples], lambda sample: f"{sample['machine']['cpu']}, "
                          f"{sample['machine']['threads']} threads")),
        ("versions", _each([own, *samples], lambda sample: ", ".join(
            f"{name} {version}" for name, version in sample["versions"].items()))),
        ("commit", _each([own, *samples], _commit)),
    ]  # fmt: skip


def _each(samples: Sequence[dict[str, Any]], text: Any) -> str:
    return "; ".join(dict.fromkeys(text(sample) for sample in samples))


def _commit(sample: dict[str, Any]) -> str:
    if sample["commit"] is None:
        return "none: not run from a git checkout"
    return sample["commit"] + (" with uncommitted changes" if sample["dirty"] else "")
