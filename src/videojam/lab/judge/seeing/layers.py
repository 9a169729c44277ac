"""Which things are drawn in front of which: what may be hidden without having gone."""

import torch

from videojam.lab.look import WAVES, Look
from videojam.lab.render import draw
from videojam.lab.scene import COLOURS, Scene

_SIDE = 48  # pixels of the pictures in which what is hidden is counted


def in_front(scene: Scene, owners: dict[str, tuple[str, ...]], colour: str) -> list[str]:
    """Other colours of the same body or a later one."""
    first = _first(scene, owners[colour])
    names = [body.name for body in scene.bodies]
    return [
        other
        for other, bodies in owners.items()
        if other != colour and max(names.index(name) for name in bodies) >= first
    ]


def grey_in_front(scene: Scene, names: tuple[str, ...]) -> bool:
    """A later body has grey parts, or one of these bodies has them after its coloured ones."""
    first = _first(scene, names)
    for body in scene.bodies[first + 1 :]:
        if any(part.colour not in COLOURS for part in body.parts):
            return True
    for name in names:
        (body,) = (body for body in scene.bodies if body.name == name)
        seen = False
        for part in body.parts:
            if seen and part.colour not in COLOURS:
                return True
            seen = seen or part.colour in COLOURS
    return False


def most_hidden(scene: Scene, owners: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """The largest share of each colour that other bodies hide in the scene's own clip.

    A generated clip moves in its own way; that its things hide each other about as much at most is
    what is taken from the scene's poses here.
    """
    count = len(scene.poses)
    blank = torch.zeros(len(scene.bodies), WAVES, 4)
    wide = Look(  # zoomed out, so that nothing leaves the picture
        waves=blank,
        back_colour=torch.full((2, 3), 0.5),
        back_waves=torch.zeros(WAVES, 4),
        light=torch.tensor([[1.0, 0.0, 0.0]]).expand(count, 3),
        camera=torch.tensor([[0.6, 0.5, 0.5]]).expand(count, 3),
    )
    seen = draw([scene], [wide], (_SIDE, _SIDE)).ids[0].flatten(1)
    names = [body.name for body in scene.bodies]
    shares = {}
    for colour, bodies in owners.items():
        area = torch.stack([(seen == names.index(name)).sum(1) for name in bodies]).sum(0)
        shares[colour] = 1 - float(area.min()) / max(float(area.max()), 1.0)
    return shares


def _first(scene: Scene, names: tuple[str, ...]) -> int:
    return min(k for k, body in enumerate(scene.bodies) if body.name in names)
