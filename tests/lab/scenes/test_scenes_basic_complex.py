"""Pistons, walkers and jointed figures move as their laws and captions say."""

import math

import pytest
import torch

from videojam.lab.scene import COLOURS, FIXTURES, GRAVITY, Law, Scene
from videojam.lab.scenes import SCENES
from videojam.lab.scenes.basic import FLOOR
from videojam.lab.scenes.dice import Dice
from videojam.rng import generator

NAMES = (
    "piston", "walker", "double pendulum", "rag doll", "acrobat", "chain", "jumping jack",
)  # fmt: skip
SEEDS = range(20)


def build(name: str, seed: int, frames: int = 17, fps: float = 16.0) -> Scene:
    return SCENES[name][1](Dice(generator(0, name, seed)), frames, fps)


def placed(pose: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """A point of a body, per frame."""
    cos, sin = torch.cos(pose[:, 2]), torch.sin(pose[:, 2])
    return torch.stack([pose[:, 0] + cos * x - sin * y, pose[:, 1] + sin * x + cos * y], dim=1)


def laws(scene: Scene, kind: str) -> list[Law]:
    return [law for law in scene.laws if law.kind == kind]


@pytest.mark.parametrize("name", NAMES)
def test_joints_hold_and_captions_are_kept(name):
    for seed in SEEDS:
        scene = build(name, seed)
        assert len(laws(scene, "joined")) >= 2
        for law in laws(scene, "joined"):
            v = law.values
            first = placed(scene.pose(law.bodies[0]), v["x0"], v["y0"])
            second = placed(scene.pose(law.bodies[1]), v["x1"], v["y1"])
            assert (first - second).norm(dim=1).max() < 0.01, (seed, law)

        words = scene.caption.replace(",", "").split()
        assert len(words) <= 22
        assert "".join(words).isalpha() and scene.caption.islower()
        worn = {p.colour for body in scene.bodies for p in body.parts} & COLOURS.keys()
        assert worn == {asked.colour for asked in scene.asked} == COLOURS.keys() & set(words)
        for body in scene.bodies:
            if body.fixture:
                assert all(part.colour in FIXTURES for part in body.parts)
        for asked in scene.asked:
            pose = scene.pose(asked.body)
            motion = (pose[4] - pose[0]).tolist()  # in the first quarter of a second
            if asked.direction is not None:
                towards = {
                    "right": motion[0], "left": -motion[0],
                    "clockwise": motion[2], "counterclockwise": -motion[2],
                }  # fmt: skip
                assert asked.direction in words
                assert towards[asked.direction] > 0.01, (seed, asked)
            if asked.speed is not None:
                assert "quickly" in words or "slowly" in words
                step = pose[1:] - pose[:-1]
                turns = asked.direction in ("clockwise", "counterclockwise")
                rates = step[:, 2].abs() if turns else step[:, :2].norm(dim=1)
                low, high = asked.speed
                assert low < float(rates.mean()) * 16 < high, (seed, asked)


@pytest.mark.parametrize("name", NAMES)
def test_paces_do_not_overlap_and_things_stay_in_the_picture(name):
    ranges = {}
    for seed in SEEDS:
        scene = build(name, seed)
        speeds = [asked.speed for asked in scene.asked if asked.speed is not None]
        if speeds:
            ranges["quickly" if "quickly" in scene.caption else "slowly"] = speeds[0]
        middles = [scene.pose(body.name)[:, :2] for body in scene.bodies if not body.fixture]
        assert all(((at > -0.05) & (at < 1.05)).all() for at in middles), seed
    if name != "rag doll":
        assert ranges["slowly"][1] <= ranges["quickly"][0]


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_depends_on_its_dice_alone(name):
    torch.manual_seed(1)
    once = build(name, 3)
    torch.manual_seed(2)
    again = build(name, 3)
    assert once.caption == again.caption
    assert torch.equal(once.poses, again.poses)
    assert not torch.equal(once.poses[0], build(name, 4).poses[0, : once.poses.shape[1]])
    # A longer clip goes on where the shorter ends; one at half the rate skips frames.
    longer = build(name, 3, frames=33)
    torch.testing.assert_close(longer.poses[:17], once.poses)
    slower = build(name, 3, frames=9, fps=8.0)
    torch.testing.assert_close(slower.poses, once.poses[::2], atol=0.01, rtol=0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_piston_follows_its_crank(seed):
    scene = build("piston", seed, frames=200, fps=200.0)
    (crank,), (spin,), (swing,) = (laws(scene, k) for k in ("crank", "spin", "oscillate"))
    v = crank.values
    wheel, piston = scene.pose("wheel").double(), scene.pose("piston").double()
    turned = wheel[:, 2] - wheel[0, 2]
    torch.testing.assert_close(
        turned, spin.values["rate"] * torch.arange(200).double() / 200, atol=1e-4, rtol=0.0
    )
    axis = torch.tensor([math.cos(v["angle"]), math.sin(v["angle"])]).double()
    offset = piston[:, :2] - torch.tensor([v["x"], v["y"]]).double()
    reach = offset @ axis
    assert (offset - reach[:, None] * axis).abs().max() < 1e-5  # on its line
    # The triangle of crank, rod and reach: law of cosines.
    angle = wheel[:, 2] - v["angle"]
    rod = reach**2 + v["radius"] ** 2 - 2 * reach * v["radius"] * torch.cos(angle)
    assert (rod.sqrt() - v["length"]).abs().max() < 1e-5
    again = round(swing.values["period"] * 200)
    if again < 200:
        assert abs(float(reach[again] - reach[0])) < 0.01
    # Drawn sizes: the piston never touches the wheel.
    radius = scene.bodies[1].parts[0].rounding
    assert reach.min() - scene.bodies[3].parts[0].half[0] > radius


@pytest.mark.parametrize("seed", SEEDS)
def test_walker_alternates_and_does_not_slip(seed):
    fps = 240.0
    scene = build("walker", seed, frames=480, fps=fps)
    period = laws(scene, "alternate")[0].values["period"]
    half = period / 2 * fps
    for part in ("thigh", "shank"):
        near, far = scene.pose(f"near {part}")[:, 2], scene.pose(f"far {part}")[:, 2]
        k = int(half)
        later = far[k:-1] + (half - k) * (far[k + 1 :] - far[k:-1])
        torch.testing.assert_close(later, near[: len(later)], atol=0.01, rtol=0.0)
        assert near.max() - near.min() > 0.25
    grounded = torch.zeros(479, dtype=torch.int64)
    for side in ("near", "far"):
        length = scene.laws[2].values["y0"] * -2
        foot = placed(scene.pose(f"{side} shank"), 0.0, length / 2)
        sole = foot[:, 1] + 0.075 / 2
        assert sole.max() < FLOOR + 1e-3
        down = sole > FLOOR - 1e-4
        slip = (foot[1:, 0] - foot[:-1, 0]).abs() * fps
        # A foot on the floor is still, but for the start and end of its step in the air.
        assert slip[down[1:] & down[:-1]].max() < 0.1
        grounded += down[1:].long()
        lifted = sole < FLOOR - 0.05
        assert lifted.any()
    assert (grounded >= 1).all()
    # Knees bend forward only: the shank lags the thigh.
    way = 1 if scene.asked[0].direction == "right" else -1
    bend = way * (scene.pose("near shank")[:, 2] - scene.pose("near thigh")[:, 2])
    assert bend.min() > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_double_pendulum_keeps_its_energy(seed):
    fps = 480.0
    scene = build("double pendulum", seed, frames=480, fps=fps)
    (law,) = laws(scene, "energy")
    kinetic, total = torch.zeros(478).double(), torch.zeros(478).double()
    for name, mass in zip(law.bodies, law.values.values(), strict=True):
        at = scene.pose(name).double()[:, :2]
        speed = ((at[2:] - at[:-2]) * fps / 2).norm(dim=1)
        kinetic += mass * speed**2 / 2
        total += mass * (speed**2 / 2 - GRAVITY * at[1:-1, 1])
    assert total.max() - total.min() < 0.01 * kinetic.max()


@pytest.mark.parametrize("seed", SEEDS)
def test_rag_doll_falls_freely_then_lands(seed):
    fps = 64.0
    scene = build("rag doll", seed, frames=68, fps=fps)
    (law,) = laws(scene, "fall together")
    masses = list(law.values.values())
    at = torch.stack([scene.pose(name).double()[:, :2] for name in law.bodies], dim=-1)
    centre = at @ torch.tensor(masses).double() / sum(masses)
    landing = min(contact.frame for contact in scene.contacts)
    assert 16 < landing < 67
    assert all("floor" in (contact.first, contact.second) for contact in scene.contacts)
    time = torch.arange(landing).double() / fps
    velocity = (centre[1] - centre[0]) * fps - torch.tensor([0.0, GRAVITY / fps / 2]).double()
    expected = centre[0] + time[:, None] * velocity
    expected[:, 1] += GRAVITY * time**2 / 2
    torch.testing.assert_close(centre[:landing], expected, atol=2e-3, rtol=0.0)
    limbs = [body for body in scene.bodies if not body.fixture]
    for body in limbs:
        part = body.parts[0]
        ends = [placed(scene.pose(body.name), 0.0, s * part.half[0])[:, 1] for s in (-1, 1)]
        assert torch.stack(ends).max() + part.rounding < FLOOR + 0.01
    # Limbs stay within their joints' limits.
    for name, at, freedom in (("arm", 1.5, 0.9), ("leg", 0.35, 0.5)):
        for side, sign in (("left", 1), ("right", -1)):
            bend = scene.pose(f"{side} {name}")[:, 2] - scene.pose("torso")[:, 2]
            assert (bend - sign * at).abs().max() < freedom + 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_acrobat_bends_and_jumping_jack_is_symmetric(seed):
    acrobat = build("acrobat", seed)
    hip = acrobat.pose("legs")[:, 2] - acrobat.pose("torso")[:, 2]
    assert hip.max() - hip.min() > 0.4
    jack = build("jumping jack", seed)
    for law in laws(jack, "mirror"):
        left, right = (jack.pose(name) for name in law.bodies)
        torch.testing.assert_close(left[:, 0] + right[:, 0], torch.full((17,), 2 * law.values["x"]))
        torch.testing.assert_close(left[:, 1:], right[:, 1:] * torch.tensor([1.0, -1.0]))
