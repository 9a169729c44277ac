"""Pixels to tracks: places, angles and pieces as they were drawn, under blur and noise."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam.lab.clips import Lab, lab_clips, lab_scene
from videojam.lab.judge.seeing.colours import STRAY, coverage
from videojam.lab.judge.seeing.components import label, pieces
from videojam.lab.judge.seeing.hulls import filled
from videojam.lab.judge.seeing.layers import grey_in_front, in_front, most_hidden
from videojam.lab.judge.seeing.outlines import alike, outline
from videojam.lab.judge.seeing.paths import pieced
from videojam.lab.judge.seeing.seen import grown
from videojam.lab.judge.seeing.stage import extent
from videojam.lab.judge.seeing.templates import templates
from videojam.lab.judge.seeing.tracks import Tracks, track
from videojam.lab.render import draw
from videojam.lab.scene import COLOURS, GRAVITY, Scene


def degraded(frames: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Slightly blurred, with noise of 4 of 255."""
    pixels = frames.permute(0, 3, 1, 2).float()
    pixels = torch.nn.functional.avg_pool2d(pixels, 2, 1, 1)[..., 1:, 1:]  # half a pixel shift
    noise = 4 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed))
    return (pixels + noise).clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def clip(kind: str, index: int = 0, size: int = 64) -> tuple[Scene, np.ndarray]:
    scenes, drawn = lab_clips(Lab(types=(kind,), height=size, width=size), [index])
    return scenes[0], drawn.frames[0].numpy()


def tracked(kind: str, index: int = 0, size: int = 64) -> tuple[Scene, Tracks]:
    scene, frames = clip(kind, index, size)
    return scene, track(frames, scene)


@pytest.mark.parametrize("kind", ["bouncing ball", "wheel", "ramp", "spinning square", "collision"])
@pytest.mark.parametrize("size", [64, 128])
def test_places_are_found_to_a_fraction_of_a_pixel(kind, size):
    for index in range(3):
        scene, tracks = tracked(kind, index, size)
        for name, seen in tracks.bodies.items():
            pose = scene.pose(name).numpy()
            away = np.linalg.norm(seen.middle - pose[:, :2], axis=1)[seen.whole & ~seen.cut]
            assert np.median(away) * size < 0.3, (index, name)


@pytest.mark.parametrize("kind", ["wheel", "rolling wheel", "fan", "gears", "hoop"])
def test_angles_are_found_of_marked_bodies(kind):
    for index in range(2):
        scene, frames = clip(kind, index)
        tracks = track(degraded(torch.from_numpy(frames)).numpy(), scene)
        for name, seen in tracks.bodies.items():
            off = seen.angle - scene.pose(name)[:, 2].numpy()
            turns = (off + math.pi) % (2 * math.pi) - math.pi
            assert np.abs(turns).max() < 0.12, (index, name)


def test_round_bodies_have_no_angle_and_equal_sides_leave_it_open():
    _, ball = tracked("bouncing ball")
    assert ball.bodies["ball"].template.mark is None
    assert np.isnan(ball.bodies["ball"].angle).all()
    _, stack = tracked("topple")
    mark = stack.bodies["top"].template.mark
    assert mark is not None and mark.k == 4


def test_sizes_are_those_of_the_clip_and_not_of_the_scene():
    from videojam.lab.judge.damages.drawing import scaled

    scene, look = lab_scene(Lab(types=("bouncing ball",)), 0)
    names = [body.name for body in scene.bodies]
    bigger = scaled(scene, {names.index("ball"): 1.3}, 0.0)
    frames = draw([bigger], [look], (64, 64)).frames[0].numpy()
    assert track(frames, scene).bodies["ball"].size == pytest.approx(1.3, abs=0.03)


def test_cover_is_the_share_of_a_pixel_whatever_its_brightness():
    """Half-covered pixels before a grey background, for every colour, dark and light."""
    for name, rgb in COLOURS.items():
        for tone in (0.7, 1.0):
            frame = np.full((1, 24, 24, 3), 120.0)
            frame[:, 6:18, 6:18] = np.array(rgb) * tone
            frame[:, 6:18, 18] = 0.5 * 120 + 0.5 * np.array(rgb) * tone
            cover = coverage(frame.round().astype(np.uint8), (name,)).of(name)[0]
            assert cover[8:16, 8:16].min() > 0.97, (name, tone)
            assert cover[:, :5].max() == 0.0
            assert cover[8:16, 18].mean() == pytest.approx(0.5, abs=0.15), (name, tone)


def test_colours_not_asked_for_are_strays_unless_thin():
    frame = np.full((1, 24, 24, 3), 90, np.uint8)
    frame[:, 4:12, 4:12] = COLOURS["green"]
    frame[:, 16, 2:22] = COLOURS["pink"]
    cover = coverage(frame, ("red",))
    assert cover.names == ("red", STRAY)
    assert cover.of("red").sum() == 0.0
    assert 30 < cover.of(STRAY).sum() <= 64  # the square's inside, not the line


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
def test_pieces_are_those_of_a_flood_fill(seed, density):
    mask = np.random.default_rng(seed).random((1, 9, 13)) < density
    found = label(mask)[0]
    wanted = np.zeros((9, 13), int)
    count = 0
    for start in np.argwhere(mask[0]):
        if wanted[tuple(start)]:
            continue
        count += 1
        heap = [tuple(start)]
        while heap:
            row, column = heap.pop()
            if 0 <= row < 9 and 0 <= column < 13 and mask[0, row, column]:
                if wanted[row, column]:
                    continue
                wanted[row, column] = count
                heap += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert found.max(initial=0) == count
    assert len({(a, b) for a, b in zip(found.ravel(), wanted.ravel(), strict=True)}) <= count + 1


def test_pieces_come_largest_first_without_specks_and_seams():
    share = np.zeros((1, 20, 20))
    share[0, 2:5, 2:5] = 1
    share[0, 10:16, 10:16] = 1
    share[0, 0, 10:20] = 1  # one pixel thick
    found, labels = pieces(share, 4.0)
    assert [piece.area for piece in found[0]] == [36.0, 9.0]
    assert (found[0][0].x, found[0][0].y) == (13.0, 13.0)
    assert labels[0, 0].max() == 0


def test_hulls_close_slots_and_leave_convex_shapes():
    y, x = np.mgrid[0:32, 0:32] - 15.5
    ball = np.clip(10.5 - np.hypot(x, y), 0, 1)[None]
    assert np.abs(filled(ball) - ball).sum() < 4
    slotted = np.where(np.abs(x) < 2, 0.0, ball)
    assert filled(slotted).sum() == pytest.approx(ball.sum(), rel=0.03)


def test_extent_is_subpixel():
    share = np.zeros((1, 16, 16))
    share[0, 4:10, 4:10] = 1.0
    share[0, 10, 4:10] = 0.6
    assert extent(share, (0.0, 1.0))[0] == pytest.approx(10.6 / 16)
    assert extent(share, (1.0, 0.0))[0] == pytest.approx(10 / 16)
    assert extent(share, (-1.0, 0.0))[0] == pytest.approx(-4 / 16)
    assert np.isnan(extent(np.zeros((1, 4, 4)), (0.0, 1.0))[0])


def test_outlines_tell_kinds_of_shape_apart_at_any_size():
    y, x = np.mgrid[0:48, 0:48] - 23.5

    def shape(kind: str, size: float) -> np.ndarray:
        distance = {
            "circle": np.hypot(x, y) - size,
            "square": np.maximum(np.abs(x), np.abs(y)) - size,
            "ring": np.abs(np.hypot(x, y) - 0.8 * size) - 0.2 * size,
            "bar": np.maximum(np.abs(x) - 2 * size, np.abs(y) - size / 2),
        }[kind]
        return np.clip(0.5 - distance, 0, 1)

    kinds = ("circle", "square", "ring", "bar")
    for asked in kinds:
        for drawn in kinds:
            right = alike(shape(drawn, 7.0)[None], shape(asked, 10.0))
            assert right == (asked == drawn), (asked, drawn)
    assert outline(shape("circle", 9.0)[None])[0] == pytest.approx(np.zeros(4), abs=0.01)


def test_what_may_hide_what_follows_from_the_order_of_drawing():
    scene, tracks = tracked("walker")
    near, far = (tracks.templates[f"{side} thigh"].colours[0] for side in ("near", "far"))
    torso = tracks.templates["torso"].colours[0]
    assert set(in_front(scene, tracks.owners, far)) == {near, torso}
    assert torso not in in_front(scene, tracks.owners, near)
    hidden = most_hidden(scene, tracks.owners)
    assert hidden[far] > 0.3 > hidden[near]
    piston, _ = clip("piston")
    assert grey_in_front(piston, ("wheel",))
    ball, _ = clip("bouncing ball")
    assert not grey_in_front(ball, ("ball",))


def test_pieces_of_a_shared_colour_are_followed():
    scene, tracks = tracked("chain", 1)
    assert tracks.bodies == {}
    shared = {name for name, owners in tracks.owners.items() if len(owners) > 1}
    assert shared
    assert all(limb.name.split()[0] in shared for limb in tracks.limbs)
    links = [body.name for body in scene.bodies if body.name.startswith("link")]
    for limb in tracks.limbs:
        away = [
            np.nanmedian(np.linalg.norm(limb.middle - scene.pose(name)[:, :2].numpy(), axis=1))
            for name in links
        ]
        assert min(away) < 0.03


def test_pieced_motion_breaks_only_where_something_may_strike():
    times = np.arange(17) / 16
    fall = 0.2 + 0.5 * GRAVITY * times**2
    bounced = np.where(fall > 0.7, 1.4 - fall, fall)  # turned about 0.7: no elastic bounce
    hit = int((fall > 0.7).argmax())
    speed = math.sqrt(2 * GRAVITY * 0.5)
    after = times - math.sqrt(2 * 0.5 / GRAVITY)
    bounced = np.where(after > 0, 0.7 - speed * after + 0.5 * GRAVITY * after**2, fall)
    path = np.stack([0.3 * times, bounced], axis=-1)
    everywhere, nowhere = np.ones(17, bool), np.zeros(17, bool)
    near = nowhere.copy()
    near[hit - 1 : hit + 1] = True
    gravity = [(0.0, GRAVITY)]
    assert pieced(times, path, gravity, [everywhere], near, 1)[0] < 0.003
    assert pieced(times, path, gravity, [everywhere], nowhere, 3)[0] > 0.05
    assert pieced(times, path, gravity, [everywhere], near, 0)[0] > 0.05
    straight = np.stack([0.3 * times, 0.4 + 0.2 * times], axis=-1)
    assert pieced(times, straight, gravity, [everywhere], nowhere, 3)[0] > 0.05


def test_a_jump_is_no_bounce():
    times = np.arange(17) / 16
    path = np.stack([0.3 * times, np.where(times > 0.5, 0.6, 0.5)], axis=-1)
    everywhere = np.ones(17, bool)
    assert pieced(times, path, [(0.0, 0.0)], [everywhere], everywhere, 1)[0] > 0.02


def test_templates_have_the_scene_s_areas():
    scene, _ = clip("collision")
    for name, template in templates(scene).items():
        (body,) = (body for body in scene.bodies if body.name == name)
        area = math.pi * body.parts[0].rounding ** 2
        assert template.areas[template.colours[0]] == pytest.approx(area, rel=0.02)
        assert np.abs(template.middle).max() < 1e-3


def test_grown_masks_have_one_pixel_more_on_every_side():
    mask = np.zeros((1, 7, 7), bool)
    mask[0, 3, 3] = True
    assert grown(mask).sum() == 9
    assert grown(mask)[0, 2:5, 2:5].all()
