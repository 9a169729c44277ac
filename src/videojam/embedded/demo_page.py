"""The demo as one HTML file that needs nothing else: no script, no network, videos inside."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from PIL import Image

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
.legend { display: flex; gap: 1rem; align-items: center; }
.legend img { flex: none; border-radius: 50%; } .legend p { flex: 1; min-width: 0; }
"""


def page(samples: Sequence[dict[str, Any]], videos: Sequence[Path]) -> str:
    """The page of these samples, sidecars that demo.py wrote, with an mp4 each."""
    figures = "\n".join(map(_figure, samples, videos))
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
<h1>The same caption and noise, three models</h1>
<p>Every row compares three models of one size on one caption, from the same noise. <b>base</b> was
trained on simulated clips. <b>control</b> and <b>VideoJAM</b> are both the base trained on for
equally many steps, on the same clips in the same order: control as before, VideoJAM to predict
the motion together with the video, and sampled with Inner-Guidance. The last column is the motion
that VideoJAM predicted for its own clip.</p>
<p>These are single samples, one seed for each caption. They show what the models make, and are no
measurement of which is better: for statistics over many scenes and seeds see
<code>docs/results.md</code> in the repository.</p>
<div class="legend"><img src="{_wheel()}" width="64" height="64" alt="colour wheel">
<p>Predicted motion: the colour is the direction, as on this wheel seen from its centre, and the
brightness is the speed (its square root, so that slow motion can be seen).</p></div>
{figures}
<h2>What the numbers mean</h2>
<p>All are between 0 and 1, and 1 is right; &ndash; where a metric does not apply. They are measured
in the pixels of the clip against the scene that its caption describes.</p>
<dl>
{_list(MEANING.items())}
</dl>
<h2>How it was made</h2>
<dl>
{_list(_made(samples))}
</dl>
</main>
</body>
</html>
"""


def _wheel(side: int = 64) -> str:
    """Every direction and speed in the colours of the predicted motion, a PNG."""
    to_side = torch.linspace(-1, 1, side)
    flow = torch.stack(torch.meshgrid(to_side, to_side, indexing="xy"))
    pixels = flow_to_rgb(flow, sigma=1 / math.hypot(side, side)).mul(255).to(torch.uint8)
    image = Image.fromarray(brighter(pixels.movedim(0, -1)).numpy())
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


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
    return f"""<figure>
<figcaption>{prompt}<small>{sample["kind"]} motion: {sample["scene"]["type"]}</small></figcaption>
<video src="data:video/mp4;base64,{encoded}" aria-label="{prompt}: base, control, VideoJAM and
 predicted motion side by side" autoplay muted loop playsinline controls></video>
<table>
<thead><tr><th></th>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</figure>"""


def _number(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.2f}"


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)


def _made(samples: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
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
    return [
        ("command", "videojam demo"),
        ("models", _each(samples, lambda sample: sample["models"])),
        ("fingerprints", ", ".join(
            f"{name} {mark[:12]}" for name, mark in first["model_fingerprints"].items())),
        ("clips", f"{sampling['num_frames']} frames of {sampling['width']} x {sampling['height']} "
                  f"pixels at {first['fps']:g} per second, enlarged"),
        ("sampling", f"{sampling['num_inference_steps']} steps; {scale}"),
        ("seeds", f"noise {first['seed']}; scenes {first['scene']['seed']}, of the Motion Lab"),
        ("seconds", f"{', '.join(seconds)}, for {len(samples)} clips each"),
        ("machine", _each(samples, lambda sample: f"{sample['machine']['cpu']}, "
                          f"{sample['machine']['threads']} threads")),
        ("versions", _each(samples, lambda sample: ", ".join(
            f"{name} {version}" for name, version in sample["versions"].items()))),
        ("commit", _each(samples, _commit)),
    ]  # fmt: skip


def _each(samples: Sequence[dict[str, Any]], text: Any) -> str:
    return "; ".join(dict.fromkeys(text(sample) for sample in samples))


def _commit(sample: dict[str, Any]) -> str:
    if sample["commit"] is None:
        return "none: not run from a git checkout"
    return sample["commit"] + (" with uncommitted changes" if sample["dirty"] else "")
