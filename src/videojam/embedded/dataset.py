"""Motion Lab clips -> a dataset of latents, without files of video and with the exact flow.

The same format as `videojam prepare` writes, so training does not know the difference. Clip i is
row i; the same call again adds what is missing.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from rich.progress import track
from torch import Tensor

from videojam.data import dataset, run_folder
from videojam.data.prepare.encode import flow_statistics
from videojam.data.prepare.prepare import samples_path
from videojam.joint.checkpoint import load_encoders
from videojam.joint.find_family import family_of
from videojam.joint.image import Given
from videojam.joint.inputs import image_inputs, text_inputs
from videojam.joint.latents import encode_video
from videojam.joint.sizes import Size
from videojam.joint.text import Text, text_as
from videojam.lab.clips import Lab, lab_clips
from videojam.lab.render import Drawn
from videojam.lab.scene import Scene
from videojam.media.video import to_pixels
from videojam.motion.color import SIGMA, Background
from videojam.motion.pixels import motion_pixels
from videojam.motion.strength import motion_strength, with_strength
from videojam.motion.warp import flow_length
from videojam.records.lock import holding
from videojam.records.settings import defaults_of

_AT_ONCE = 32  # clips drawn and encoded together
_COMMIT = 8  # times that many rows per commit


def prepare_lab(
    lab: Lab,
    out: Path,
    model: str,
    count: int,
    validation: int,
    *,
    sigma: float = SIGMA,
    background: Background = "black",
    second: Literal["motion", "video"] = "motion",
    strength: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    between: Callable[[], None] = lambda: None,
) -> Path:
    """Clips 0 .. count - 1 of the lab for training, the next `validation` ones held out.

    model: folder or hub id whose VAE (in `dtype`) and text encoder are used, on `device`.
    Of one that starts from an image each sample keeps what it is given of its first frame.
    second: what the motion half holds; "video" is an ablation, a copy of the appearance. strength:
    captions say how much their clip moves.
    between: called between batches of clips; what it raises ends the preparation until next time.
    Raises ValueError if `out` was made with other settings.
    """
    pipe, transformer = load_encoders(model)
    pipe.to(device).vae.to(dtype)
    size, family = Size(lab.frames, lab.height, lab.width), family_of(transformer)

    def texts(captions: list[str]) -> list[Text]:
        found = text_inputs(pipe, captions, size, family, transformer)
        return [text_as(text, torch.float16) for text in found]

    path = samples_path(out)
    with holding(out, "preparation"):
        settings = {
            "model": model, "sigma": sigma, "background": background,
            "estimator": "exact" if second == "motion" else "none: a copy of the video",
            "fps": lab.fps, "sizes": [[lab.height, lab.width]], "num_frames": lab.frames,
            "lab": asdict(lab), "count": count, "motion_strength": strength,
        }  # fmt: skip
        defaults = {"lab": defaults_of(Lab), "motion_strength": False}
        run_folder.settle_config(out, settings, defaults=defaults)
        run_folder.save_null_text(out, texts([""])[0])
        num_rows = dataset.count(path)
        rows: list[dataset.Sample] = []
        starts = range(num_rows, count + validation, _AT_ONCE)
        for start in track(starts, "simulate and encode"):
            between()
            numbers = range(start, min(start + _AT_ONCE, count + validation))
            scenes, drawn = lab_clips(lab, numbers, device)
            x = encode_video(pipe.vae, to_pixels(drawn.frames)).half().cpu()
            d = x
            if second == "motion":
                motion = [motion_pixels(flow, sigma, background) for flow in drawn.flow]
                d = encode_video(pipe.vae, torch.stack(motion)).half().cpu()
            captions = [scene.caption for scene in scenes]
            if strength:
                captions = [*map(partial(_with_own_strength, lab), captions, drawn.flow)]
            text = texts(captions)
            for place, number in enumerate(numbers):
                split = "train" if number < count else "validation"
                row = _row(
                    lab, number, scenes[place], drawn.flow[place], split, sigma,
                    x[place], d[place], text[place],
                )  # fmt: skip
                if family.has_image:
                    first = Image.fromarray(drawn.frames[place, 0].cpu().numpy())
                    given = image_inputs(pipe, Given(first), size, family, transformer)
                    row = row._replace(image=text_as(given, torch.float16))
                rows.append(row._replace(caption=captions[place]))
            if len(rows) >= _AT_ONCE * _COMMIT or numbers.stop == count + validation:
                dataset.append(path, rows)
                rows = []
        dataset.compact(path)
    return out


def _with_own_strength(lab: Lab, caption: str, flow: Float[Tensor, "n 2 h w"]) -> str:
    mean_px = float(flow_length(flow).double().mean())
    return with_strength(caption, motion_strength(mean_px, lab.height, lab.width, lab.fps))


def _row(
    lab: Lab,
    number: int,
    scene: Scene,
    flow: Float[Tensor, "n 2 h w"],
    split: str,
    sigma: float,
    x: Tensor,
    d: Tensor,
    text: Text,
) -> dataset.Sample:
    mean_px, saturated = flow_statistics(flow, sigma)
    return dataset.Sample(
        key=f"{scene.type}#{number:07d}",
        source=scene.type,
        source_bytes=0,
        clip_index=number,
        start_s=0.0,
        caption=scene.caption,
        split=split,
        height=lab.height,
        width=lab.width,
        frames=lab.frames,
        fps=lab.fps,
        source_fps=lab.fps,
        flow_mean_px=mean_px,
        flow_saturated=saturated,
        x=x,
        d=d,
        text=text,
    )


def lab_pixels(
    lab: Lab,
    count: int,
    sigma: float = SIGMA,
    device: str = "cpu",
    between: Callable[[], None] = lambda: None,
) -> UInt8[Tensor, "two_n f h w 3"]:
    """Appearance (even places) and motion videos (odd) of clips 0 .. count - 1, for a VAE.

    Drawn on `device`, kept on the CPU. between: as in prepare_lab.

    Motion is on black for every second clip and on white for the others, so that the autoencoder
    is a fair judge of both.
    """
    pixels = torch.empty(2 * count, lab.frames, lab.height, lab.width, 3, dtype=torch.uint8)
    for start in track(range(0, count, _AT_ONCE), "simulate"):
        between()
        numbers = range(start, min(start + _AT_ONCE, count))
        drawn: Drawn = lab_clips(lab, numbers, device)[1]
        pixels[2 * start : 2 * numbers.stop : 2] = drawn.frames.cpu()
        for place, flow in enumerate(drawn.flow):
            background = "black" if place % 2 == 0 else "white"
            motion = motion_pixels(flow, sigma, background).movedim(0, -1)
            pixels[2 * (start + place) + 1] = motion.add(1).mul(127.5).round().to(torch.uint8)
    return pixels
