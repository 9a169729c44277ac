"""Is the Motion Lab's flow exact, does DIS agree with it, and how fast is it drawn?

python benchmarks/lab_flow.py

Per scene type: mean absolute colour difference (0..1) between frame k and frame k + 1 warped back
by the exact flow, outside occlusions; the same without warping, for scale; end-point error of DIS
against the exact flow over moving pixels outside occlusions, beside their mean speed. Light is
held still for the warp error: a drifting light is a change of colour, not of place.
"""

import time

import torch

from record import record
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
    for frames, flow, ids, occluded in zip(*drawn, strict=True):
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
        del ids
    mean = {key: float(torch.cat(values).mean()) for key, values in sums.items()}
    return {
        "warp_error_moving": mean["warp"],
        "still_error_moving": mean["still"],
        "dis_end_point_error_px": mean["dis"],
        "speed_px_per_frame": mean["speed"],
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
        "clips_per_second": {
            f"{size}x{size}x{frames}, {threads} threads": clips_per_second(size, frames, threads)
            for size, frames in ((64, 17), (128, 33))
            for threads in (1, 2)
        },
    }
    print(record("lab_flow", figures).read_text())


if __name__ == "__main__":
    main()
