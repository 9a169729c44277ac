"""Is the Motion Lab's flow exact, does DIS agree with it, and how fast is it drawn?

python benchmarks/lab_flow.py

Per scene type: mean absolute colour difference (0..1) between frame k and frame k + 1 warped back
by the exact flow, outside occlusions; the same without warping, for scale; end-point error of DIS
against the exact flow over moving pixels outside occlusions, beside their mean speed. Light is
held still for the warp error: a drifting light is a change of colour, not of place.

Then DIS on enlarged frames of 64 x 64 (evaluation/metrics/enlarged.py), over all types:
correlation of its components with the exact ones, end-point error, the length of its fastest 5 %
of pixels over that of the exact flow's, and seconds per clip on one thread.
"""

import time

import torch

from record import record
from videojam.evaluation.metrics.enlarged import EnlargedDIS
from videojam.lab.clips import Lab, lab_clips, lab_scene
from videojam.lab.render import draw
from videojam.lab.scenes import SCENES
from videojam.motion.estimators.dis import DIS
from videojam.motion.warp import backward_warp, end_point_error

CLIPS = 12  # per scene type
SIZES = (64, 128)


def still_light(lab: Lab, indices: range):
    pairs = [lab_scene(lab, index) for index in indices]
    looks = [look._replace(light=look.light[:1].expand_as(look.light)) for _, look in pairs]
    return draw([scene for scene, _ in pairs], looks, (lab.height, lab.width))


def of_type(name: str, size: int) -> dict[str, float]:
    drawn = still_light(Lab(types=(name,), height=size, width=size, seed=3000), range(CLIPS))
    sums: dict[str, list[torch.Tensor]] = {"warp": [], "still": [], "dis": [], "speed": []}
    for frames, flow, _, occluded in zip(*drawn, strict=True):
        colour = frames.movedim(-1, 1).float() / 255
        seen = ~occluded
        warped = (backward_warp(colour[1:], flow) - colour[:-1]).abs().mean(1)
        still = (colour[1:] - colour[:-1]).abs().mean(1)
        moving = seen & (flow.norm(dim=1) > 0.25)
        sums["warp"].append(warped[moving])
        sums["still"].append(still[moving])
        sums["speed"].append(flow.norm(dim=1)[moving])
        sums["dis"].append((DIS()(frames) - flow).norm(dim=1)[moving])
        assert end_point_error(flow, flow).max() == 0
    mean = {key: float(torch.cat(values).mean()) for key, values in sums.items()}
    return {
        "warp_error_moving": mean["warp"],
        "still_error_moving": mean["still"],
        "dis_end_point_error_px": mean["dis"],
        "speed_px_per_frame": mean["speed"],
    }


def enlarged(side_px: int) -> dict[str, float]:
    torch.set_num_threads(1)
    drawn = lab_clips(Lab(seed=3002), range(2 * len(SCENES)))[1]
    start = time.perf_counter()
    found = torch.stack([EnlargedDIS(side_px)(frames) for frames in drawn.frames])
    seconds = (time.perf_counter() - start) / len(found)
    both = torch.stack([found.movedim(2, 0).flatten(), drawn.flow.movedim(2, 0).flatten()])
    speeds = [flow.norm(dim=2).flatten().double() for flow in (found, drawn.flow)]
    fastest = [speed.sort().values[-len(speed) // 20 :].mean() for speed in speeds]
    return {
        "correlation": float(torch.corrcoef(both.double())[0, 1]),
        "end_point_error_px": float((found - drawn.flow).norm(dim=2).mean()),
        "fastest_over_exact": float(fastest[0] / fastest[1]),
        "seconds_per_clip": seconds,
    }


def clips_per_second(size: int, frames: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    lab = Lab(height=size, width=size, frames=frames, seed=3001)
    start = time.perf_counter()
    for index in range(57):
        lab_scene(lab, index)
    simulated = time.perf_counter()
    lab_clips(lab, range(57))
    drawn = time.perf_counter()
    return {"simulate": 57 / (simulated - start), "simulate_and_draw": 57 / (drawn - simulated)}


def main() -> None:
    figures = {
        "clips_per_type": CLIPS,
        "seed": 3000,
        "by_type": {
            f"{size}x{size}": {name: of_type(name, size) for name in SCENES} for size in SIZES
        },
        "enlarged_dis": {str(side): enlarged(side) for side in (64, 128, 256)},
        "clips_per_second": {
            f"{size}x{size}x{frames}, {threads} threads": clips_per_second(size, frames, threads)
            for size, frames in ((64, 17), (128, 33))
            for threads in (1, 2)
        },
    }
    print(record("lab_flow", figures).read_text())


if __name__ == "__main__":
    main()
