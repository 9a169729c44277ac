"""The scanline world keeps its own physics, and its judge tells damage from law."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam.lab.scanline import bounce
from videojam.lab.scanline.clips import draw, shuffled
from videojam.lab.scanline.judge import judge
from videojam.lab.scanline.laws import lawful_balls
from videojam.lab.scanline.seen import Seen, find
from videojam.lab.scanline.world import World, asked_px, caption_text, picture

BOUNCE, SCROLL = World(), World(kind="scroll")
N = 64


def clips_of(world, seed=0):
    return draw(world, seed, range(N))


def lawful(world, frames, captions):
    return float(judge(world, frames, captions).lawful.mean())


# --- physics --------------------------------------------------------------------------------------

starts = st.tuples(st.floats(2, 21), st.floats(25.5, 46))
velocities = st.tuples(st.floats(-3, 3), st.floats(-3, 3))


@settings(max_examples=50)
@given(starts, velocities)
def test_energy_is_kept_and_momentum_changes_at_walls_alone(start, velocity):
    centres, moving = (torch.tensor(v, dtype=torch.float64) for v in (start, velocity))
    path = bounce.travel(BOUNCE, centres, moving, torch.arange(1000).double() / 50)
    speeds = path.diff(dim=0) * 50
    # But for the steps in which there is a contact: at most one each for every px of the way.
    contacts = 2 * (1 + moving.abs().sum() * 20 / 20)
    energy = (speeds.square().sum(1) - moving.square().sum()).abs() > 1e-6
    assert int(energy.sum()) <= contacts
    momentum = speeds.sum(1).diff().abs() > 1e-6
    at_wall = ((path < 2.1) | (path > 45.9)).any(-1)
    assert not bool((momentum & ~at_wall[:-2] & ~at_wall[1:-1] & ~at_wall[2:]).any())


@given(starts, velocities, st.integers(1, 30))
def test_time_runs_backwards(start, velocity, frames):
    """From the end, with velocities turned round, everything goes back to where it was."""
    centres, moving = (torch.tensor(v, dtype=torch.float64) for v in (start, velocity))
    there, then = bounce.travel(
        BOUNCE, centres, moving, torch.tensor([frames, frames + 1e-3], dtype=torch.float64)
    )
    back = bounce.travel(
        BOUNCE, there, (there - then) / 1e-3, torch.tensor([frames], dtype=torch.float64)
    )[0]
    apart = float(there[1] - there[0])
    if apart > 4.1 and float(there.min()) > 2.1 and float(there.max()) < 45.9:  # no contact there
        torch.testing.assert_close(back, centres, atol=1e-6, rtol=0)


@given(starts, velocities, st.floats(-40, 40))
def test_balls_stay_in_the_room_and_do_not_overlap(start, velocity, time):
    way = bounce.travel(
        BOUNCE, torch.tensor(start), torch.tensor(velocity), torch.tensor([float(time)])
    )[0]
    assert float(way.min()) > 2 - 1e-3
    assert float(way.max()) < 46 + 1e-3
    assert float(way[1] - way[0]) > 4 - 1e-3


@pytest.mark.parametrize("world", [BOUNCE, World(radius=3.0, speed=0.7, frames=9), SCROLL])
def test_exact_flow_carries_a_frame_onto_the_next(world):
    clips = clips_of(world)
    assert clips.flow.shape == (N, world.frames - 1, 2, 1, world.width)
    assert not clips.flow[:, :, 1].any(), "nothing moves across the line"
    moved = clips.flow[:, :, 0, 0]
    there = torch.arange(world.width) + moved
    inside = (there >= 0) & (there <= world.width - 1)
    left = there.floor().long().clamp(0, world.width - 2)
    share = (there - left)[..., None]
    after = clips.frames[:, 1:, 0]
    at = left[..., None].expand(*left.shape, 3)
    warped = after.gather(2, at) * (1 - share) + after.gather(2, at + 1) * share
    if world.kind == "bounce":  # a body's inside, and what stands still in both frames
        whole = (moved != 0) & (moved == moved.roll(1, -1)) & (moved == moved.roll(-1, -1))
        cover = clips.flow.new_zeros(N, world.frames, world.width)
        cover[:, :-1] = (moved != 0).float()
        still = (moved == 0) & (cover.roll(-1, 1)[:, :-1] == 0)
        still[:, -1] = False  # the last frame's cover is not known from flow
        expected = (whole & inside) | still
        error = (warped - clips.frames[:, :-1, 0]).abs().amax(-1)
        assert float(error[whole & inside].median()) < 0.05
        assert float((error[expected] < 0.05).float().mean()) > 0.9
        return
    window = torch.arange(world.width) >= world.width // 2
    same = inside & (window[left] == window) & (window[left + 1] == window)
    error = (warped - clips.frames[:, :-1, 0]).square().mean(-1)
    assert float(error[same].mean()) < 0.06 * float(clips.frames.var())


def test_a_clip_depends_on_its_seed_stream_and_number_alone():
    together, alone = draw(BOUNCE, 3, range(8)), draw(BOUNCE, 3, [5])
    assert torch.equal(together.frames[5], alone.frames[0])
    for other in (draw(BOUNCE, 4, [5]), draw(BOUNCE, 3, [5], "other"), draw(BOUNCE, 3, [6])):
        assert not torch.equal(alone.frames, other.frames)


def test_every_knob_has_its_effect():
    def still(world):
        return float(draw(world, 0, range(N)).frames[:, :, 0].mean(-1).std())

    assert still(World(background=0.1)) < 0.6 * still(World(background=0.9))
    assert World(radius=3.0).moving_share == pytest.approx(1.5 * World().moving_share)
    covered = [(clips_of(World(radius=r)).flow[:, :, 0] != 0).float().mean() for r in (1.0, 3.0)]
    assert covered[1] > 1.7 * covered[0]
    slow, fast = (clips_of(World(speed=s)).flow.abs().amax() for s in (0.5, 1.0))
    assert float(fast / slow) == pytest.approx(2, rel=0.1)
    assert clips_of(World(frames=20, width=64)).frames.shape == (N, 20, 1, 64, 3)
    assert SCROLL.moving_share == 1


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"frames": 2}, "at least 3"),
        ({"radius": 0.2}, "radius"),
        ({"radius": 9.0}, "room to move"),
        ({"background": -1.0}, "background"),
        ({"background": math.nan}, "background"),
        ({"speed": 0.0}, "speed"),
        ({"speed": 9.0}, "width / 4"),
        ({"speed": math.inf}, "speed"),
    ],
)
def test_worlds_that_cannot_be_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        World(**knobs)


def test_captions_say_what_the_bodies_do():
    clips = clips_of(BOUNCE)
    start = clips.positions[:, 1] - clips.positions[:, 0]
    free = (clips.positions[:, :2] > 6).all(1) & (clips.positions[:, :2] < 42).all(1)
    free &= (clips.positions[:, 0, 1] - clips.positions[:, 0, 0] > 11)[:, None]
    off = (start - asked_px(BOUNCE, clips.captions)).abs()
    assert float(off[free].max()) < 0.26
    words = caption_text(clips.captions[0]).replace(",", "").split()
    assert len(words) == 6
    assert words[0] in ("red", "green", "blue")
    assert words[1] in ("left", "right")
    shown = picture(clips.frames)
    assert shown.dtype == torch.uint8
    assert shown.shape == clips.frames.shape


# --- the judge ------------------------------------------------------------------------------------


def test_true_clips_are_lawful_through_noise():
    for world in (BOUNCE, SCROLL, World(radius=3.0, speed=1.5, frames=16)):
        clips = clips_of(world)
        noise = 0.1 * torch.randn(clips.frames.shape, generator=torch.Generator().manual_seed(0))
        found = judge(world, clips.frames + noise, clips.captions)
        assert float(found.lawful.mean()) > 0.97
        assert float(judge(world, clips.frames.flip(1), clips.captions).lawful.mean()) > 0.97
        assert float(found.asked_speed.mean()) > 0.85


def test_bodies_are_found_where_they_are():
    clips = clips_of(BOUNCE)
    seen = find(BOUNCE, clips.frames, clips.captions[..., 0])
    assert bool(seen.present.all())
    assert float((seen.centres - clips.positions).abs().max()) < 0.3


def through_each_other(clips):
    """The same clips, but that balls that meet fly on: their ghosts, drawn."""
    from videojam.lab.scanline import drawing

    start, velocity = clips.positions[:, 0], clips.positions[:, 1] - clips.positions[:, 0]
    ways = start[:, None] + velocity[:, None] * torch.arange(BOUNCE.frames)[:, None]
    room = BOUNCE.width - 4.0
    ways = room - ((ways - 2).remainder(2 * room) - room).abs() + 2
    uniform = torch.rand(N, 18, generator=torch.Generator().manual_seed(1))
    crossed = ((ways[..., 1] - ways[..., 0]).amin(1) < -4) & (ways[:, 1, 1] - ways[:, 1, 0] > 4)
    return drawing.bodies(BOUNCE, uniform, ways, clips.captions), crossed


def test_the_judge_ranks_damage():
    clips = clips_of(BOUNCE)
    whole = lawful(BOUNCE, clips.frames, clips.captions)
    assert whole > 0.99
    damaged = {
        "shuffled": shuffled(BOUNCE, clips, 0, range(N)).frames,
        "frozen": clips.frames[:, :1].expand_as(clips.frames),
        "another clip from the middle on": torch.cat(
            [clips.frames[:, :6], clips.frames.roll(1, 0)[:, 6:]], 1
        ),
        "speed doubles in the middle": clips.frames[
            :, [0, 1, 2, 3, 4, 5, 7, 9, 11, 9, 7, 5]
        ],
    }  # fmt: skip
    for name, frames in damaged.items():
        assert lawful(BOUNCE, frames, clips.captions) < 0.75, name
    still = clips.frames.mean(-1, keepdim=True).expand_as(clips.frames)
    assert lawful(BOUNCE, still, clips.captions) == 0, "background only"
    one = clips.captions.clone()
    one[:, 1, 0] = 3 - clips.captions[..., 0].sum(1)  # a colour that nothing has
    assert lawful(BOUNCE, clips.frames, one) == 0, "no pair of frames has both balls"
    passing, crossed = through_each_other(clips)
    assert int(crossed.sum()) > 5
    found = judge(BOUNCE, passing.frames, clips.captions).lawful[crossed]
    assert float(found.mean()) < 0.8, "through each other"


def test_a_ball_that_is_missing_in_some_frames_costs_these_frames():
    clips = clips_of(BOUNCE)
    frames = clips.frames.clone()
    frames[:, 8:] = frames[:, 8:].mean(-1, keepdim=True)
    found = judge(BOUNCE, frames, clips.captions)
    assert float(found.lawful.mean()) == pytest.approx(8 / 12, abs=0.01)
    assert float(found.present.mean()) == pytest.approx(8 / 12, abs=0.01)


def test_jitter_of_positions_lowers_lawfulness_steadily():
    clips = clips_of(BOUNCE)
    present = torch.ones(N, BOUNCE.frames, 2, dtype=torch.bool)
    noise = torch.randn(clips.positions.shape, generator=torch.Generator().manual_seed(0))
    found = [
        float(lawful_balls(BOUNCE, Seen(clips.positions + size * noise, present)).mean())
        for size in (0.0, 0.1, 0.5, 1.0, 3.0)
    ]
    assert found[0] == 1
    assert found[1] > 0.98
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5


def test_laws_do_not_ask_which_colour_is_on_the_left():
    clips = clips_of(BOUNCE)
    found = judge(BOUNCE, clips.frames, clips.captions.flip(1))
    assert float(found.lawful.mean()) > 0.99
    other = clips.captions.clone()
    other[..., 1] = 1 - other[..., 1]
    assert float(judge(BOUNCE, clips.frames, other).asked_speed.mean()) < 0.1


def test_scrolling_textures_that_are_damaged():
    clips = clips_of(SCROLL)
    frozen = clips.frames[:, :1].expand_as(clips.frames)
    for frames in (shuffled(SCROLL, clips, 0, range(N)).frames, frozen):
        assert lawful(SCROLL, frames, clips.captions) < 0.6
    back = judge(SCROLL, clips.frames.flip(1), clips.captions)
    assert float(back.lawful.mean()) > 0.97
    assert float(back.asked_speed.mean()) < 0.1


def test_shuffled_clips_have_the_flow_of_their_order():
    clips = clips_of(BOUNCE)
    other = shuffled(BOUNCE, clips, 0, range(N))
    assert not torch.equal(other.frames, clips.frames)
    again = shuffled(BOUNCE, draw(BOUNCE, 0, [7]), 0, [7])
    assert torch.equal(again.frames[0], other.frames[7])
    assert float(other.flow.abs().mean()) > 2 * float(clips.flow.abs().mean())


def test_clips_of_another_world_are_refused():
    clips = clips_of(BOUNCE)
    with pytest.raises(ValueError, match="this world has clips of"):
        judge(replace(BOUNCE, frames=10), clips.frames, clips.captions)
