"""Does a clip move as the motion that it was given? The embedded model, on clips of its lab.

    python benchmarks/motion_from.py

The exact flow of held-out lab clips in place of a sampled motion half; with the clip's own caption,
and with none. Flow of the generated clips is estimated by DIS and compared with what was given,
beside the same estimate of samples without given motion (the caption alone), and of the true clips
through the autoencoder, above which no sample can get. `unexplained` needs no estimator: of the
change from frame to frame, the share that is left when frames are moved by the given flow. Means
over clips, 95 % bootstrap intervals.
"""

import torch

from record import record
from videojam.embedded.lab_file import lab_of
from videojam.embedded.shipped import embedded
from videojam.evaluation.metrics.flow_agreement import (
    flow_correlation,
    motion_share,
    relative_end_point_error,
)
from videojam.evaluation.metrics.warp_error import warp_error
from videojam.evaluation.statistics.bootstrap import bootstrap_mean
from videojam.joint.latents import decode_video, encode_video
from videojam.lab.clips import lab_clips
from videojam.media.video import to_pixels, to_uint8
from videojam.motion.estimators.dis import DIS
from videojam.motion.flow import estimate_flow
from videojam.sampling.generate import VideoJAM

CLIPS, STEPS = 24, 20
MEASURES = (relative_end_point_error, flow_correlation, motion_share)


def main() -> None:
    torch.set_num_threads(1)
    jam = VideoJAM.default()
    jam.pipe.set_progress_bar_config(disable=True)
    lab = lab_of(embedded(), seed=5000)
    scenes, drawn = lab_clips(lab, range(CLIPS))
    settings = {"text_scale": 2.5, "motion_scale": 3.0, "num_inference_steps": STEPS}
    rows: dict[str, list[list[float]]] = {}
    for number, (scene, frames, flow) in enumerate(
        zip(scenes, drawn.frames, drawn.flow, strict=True)
    ):
        given = {"seed": number, "motion": flow, **settings}
        through = decode_video(jam.pipe.vae, encode_video(jam.pipe.vae, to_pixels(frames[None])))
        videos = {
            "the true clip through the autoencoder": to_uint8(through)[0],
            "given motion, its caption": jam(scene.caption, **given).video,
            "given motion, no caption": jam("", **given).video,
            "sampled motion, its caption": jam(scene.caption, seed=number, **settings).video,
        }
        for name, video in videos.items():
            seen = estimate_flow(video, DIS())
            left = warp_error(video, flow) / warp_error(video, torch.zeros_like(flow))
            row = [measure(seen, flow) for measure in MEASURES] + [left]
            rows.setdefault(name, []).append(row)
        print(number, scene.caption, {k: [round(x, 2) for x in v[-1]] for k, v in rows.items()})
    figures = {}
    for name, values in rows.items():
        names = [measure.__name__ for measure in MEASURES] + ["unexplained"]
        for what, column in zip(names, torch.tensor(values).T, strict=True):
            figures[f"{name}: {what}"] = [
                round(float(x), 3) for x in bootstrap_mean(column, torch.arange(len(column)))[:3]
            ]
    print(record("motion_from", {"clips": CLIPS, "steps": STEPS} | figures).read_text())


if __name__ == "__main__":
    main()
