"""Captioned clips with exact flow: clip i of a seed is always the same, and depends on no other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from videojam.lab.look import Look, draw_look
from videojam.lab.render import Drawn, draw
from videojam.lab.scene import Scene
from videojam.lab.scenes import SCENES
from videojam.lab.scenes.dice import Dice
from videojam.rng import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class Lab:
    """Which clips to simulate, and how to draw them."""

    frames: int = 17
    "Frames of a clip."
    fps: float = 16.0
    "Frames per second."
    height: int = 64
    "Height in pixels; also the unit of length of every scene."
    width: int = 64
    "Width in pixels; the stage is the square in the middle."
    types: tuple[str, ...] = ()
    "Scene types to choose from; empty for all of them."
    texture: float = 1.0
    "0: flat colours. 1: the strongest texture that leaves colours recognisable."
    backdrop: float = 0.0
    """Added contrast of the still background. 0: quiet. 1: most of what a pixel loss sees is the
    background, as in real video, and motion is a small part of it."""
    camera: float = 0.0
    "Share of clips with a moving camera (pan or zoom out)."
    seed: int = 0
    "Clip i is determined by (seed, i)."

    def __post_init__(self) -> None:
        unknown = [name for name in self.types if name not in SCENES]
        if unknown:
            raise ValueError(f"no scene type {unknown[0]!r}; expected some of {', '.join(SCENES)}")
        if self.frames < 2 or min(self.height, self.width) < 16 or not self.fps > 0:
            raise ValueError(
                f"{self.frames} frames of {self.width}x{self.height} at {self.fps} fps; expected "
                "at least 2 frames of at least 16 pixels a side, at a positive rate"
            )
        for name in ("texture", "backdrop", "camera"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected a number from 0 to 1")


def lab_scene(lab: Lab, index: int) -> tuple[Scene, Look]:
    """Scene number `index`, simulated, with its look; no pixels yet."""
    types = lab.types or tuple(SCENES)
    name = types[index % len(types)]  # every type as often as the others
    _, build = SCENES[name]
    scene = build(Dice(generator(lab.seed, "lab scene", index)), lab.frames, lab.fps)
    looks = generator(lab.seed, "lab look", index)
    camera = "still"
    if float(torch.rand((), generator=looks)) < lab.camera:
        camera = Dice(looks).pick(("pan", "zoom out"))
    return scene, draw_look(scene, looks, lab.texture, camera, lab.backdrop)


def lab_clips(
    lab: Lab, indices: Sequence[int], device: torch.device | str = "cpu"
) -> tuple[list[Scene], Drawn]:
    """Clips of these numbers, simulated on the CPU and drawn together on `device`."""
    pairs = [lab_scene(lab, index) for index in indices]
    scenes = [scene for scene, _ in pairs]
    return scenes, draw(scenes, [look for _, look in pairs], (lab.height, lab.width), device)
