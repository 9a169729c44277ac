"""Motion Lab clips as files: mp4s and captions as `videojam prepare` reads them, and the truth.

    OUT/bouncing-ball-000000.mp4 ...   the clips
    OUT/captions.jsonl                 path and caption; a clip that has a line is complete
    OUT/contact_sheet.png              the first clip of every scene type, above its motion
    OUT/truth/bouncing-ball-000000.safetensors, .json
        flow float16 (F-1, 2, H, W) in pixels; ids int8 (F, H, W), the place in `bodies` of what is
        seen, -1 for the background; occluded bool (F-1, H, W). The JSON is the scene.

Clip i depends on the seed and on i alone, so more clips may be asked for later.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor

from videojam.data.prepare.preview import Shown, preview_path, write_contact_sheet, write_preview
from videojam.data.run_folder import settle_config
from videojam.lab.clips import Lab, lab_clips
from videojam.lab.render import Drawn
from videojam.lab.scene import Scene
from videojam.lab.scenes import SCENES
from videojam.media.video import to_uint8, write_video
from videojam.motion.color import SIGMA
from videojam.motion.pixels import motion_pixels
from videojam.records.atomic import write_text
from videojam.records.lock import holding
from videojam.records.settings import defaults_of

_AT_ONCE = 32  # clips drawn together
_CRF = 8  # of the mp4s: hardly any loss


def write_lab_folder(lab: Lab, out: Path, count: int, truth: bool = False) -> Path:
    """Clips 0 .. count - 1; writes those that are missing and returns the folder.

    Raises ValueError for a count below 1, or if `out` holds clips of another lab.
    """
    if count < 1:
        raise ValueError(f"count is {count}, expected at least 1 clip")
    with holding(out, "preparation"):
        defaults = {"lab": defaults_of(Lab)}
        settle_config(out, {"lab": asdict(lab), "truth": truth}, "lab.json", defaults=defaults)
        captions = out / "captions.jsonl"
        lines = captions.read_text("utf-8").splitlines() if captions.exists() else []
        for start in track(range(len(lines), count, _AT_ONCE), "simulate"):
            numbers = range(start, min(start + _AT_ONCE, count))
            scenes, drawn = lab_clips(lab, numbers)
            for place, number in enumerate(numbers):
                scene = scenes[place]
                name = f"{scene.type.replace(' ', '-')}-{number:06d}"
                write_video(out / f"{name}.mp4", drawn.frames[place], lab.fps, _CRF)
                if truth:
                    _write_truth(out / "truth" / name, scene, _only(drawn, place))
                lines.append(json.dumps({"path": f"{name}.mp4", "caption": scene.caption}))
            write_text(captions, "\n".join(lines) + "\n")
        _write_sheet(lab, out / "contact_sheet.png", len(lines))
    return out


def _only(drawn: Drawn, place: int) -> dict[str, Tensor]:
    return {
        "flow": drawn.flow[place].half(),
        "ids": drawn.ids[place].to(torch.int8),
        "occluded": drawn.occluded[place],
    }


def _write_truth(path: Path, scene: Scene, tensors: dict[str, Tensor]) -> None:
    """path: without a suffix."""
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path.with_suffix(".safetensors"))
    whole = {name: getattr(scene, name) for name in ("type", "kind", "caption", "fps")}
    whole["poses"] = scene.poses.tolist()
    for name in ("bodies", "contacts", "laws", "asked"):
        whole[name] = [asdict(item) for item in getattr(scene, name)]
    write_text(path.with_suffix(".json"), json.dumps(whole, indent=1) + "\n")


def _write_sheet(lab: Lab, path: Path, count: int) -> None:
    """A contact sheet of a prepared dataset, whose previews nobody needs here."""
    scenes, drawn = lab_clips(lab, range(min(count, len(lab.types or SCENES))))
    with tempfile.TemporaryDirectory() as folder:
        previews = Path(folder)
        for scene, frames, flow in zip(scenes, drawn.frames, drawn.flow, strict=True):
            motion = to_uint8(motion_pixels(flow, SIGMA, "black"))
            file = preview_path(previews, scene.type)
            write_preview(file, frames.numpy(), motion.numpy(), lab.fps)
        shown = [Shown(scene.type, scene.caption, f"{scene.kind} motion") for scene in scenes]
        write_contact_sheet(path, previews, shown)
