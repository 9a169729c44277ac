"""Drawn motion in closed form, and files that are none."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videojam.motion.trajectory import (
    Camera,
    Drag,
    Trajectory,
    read_trajectory,
    trajectory_flow,
    trajectory_of,
)

H, W, F = 40, 60, 9


def flow_of(camera=Camera(), *drags):
    return trajectory_flow(Trajectory(camera, drags), F, H, W)


def carried(flow, x, y):
    """Where a point of the picture is at last, carried by the flow of the pixel under it."""
    for step in flow:
        dx, dy = step[:, round(y), round(x)].tolist()
        x, y = x + dx, y + dy
    return x, y


def test_a_pan_to_the_right_moves_the_picture_left():
    flow = flow_of(Camera(pan=(0.2, -0.1)))
    assert torch.allclose(flow[:, 0], torch.tensor(-0.2 * W / 8))
    assert torch.allclose(flow[:, 1], torch.tensor(0.1 * H / 8))


def test_a_zoom_makes_everything_as_many_times_larger():
    flow = flow_of(Camera(zoom=1.5)).double()
    centre = torch.tensor([(W - 1) / 2, (H - 1) / 2]).double()
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    away = torch.stack([x, y]) - centre[:, None, None]
    for step in flow:
        assert torch.allclose(step, (1.5 ** (1 / 8) - 1) * away, atol=1e-5)
    # A point that is carried by the exact flow at its own place ends 1.5 times as far out.
    p = torch.tensor([10.0, -4.0]).double()
    for _ in range(8):
        p = p + (1.5 ** (1 / 8) - 1) * p
    assert torch.allclose(p, 1.5 * torch.tensor([10.0, -4.0]).double())


def test_a_camera_that_rolls_clockwise_turns_the_picture_the_other_way():
    step = flow_of(Camera(roll=16))[0].double()
    angle = -math.radians(2)
    right, down = 20 - (W - 1) / 2, 30 - (H - 1) / 2
    turned = (
        math.cos(angle) * right - math.sin(angle) * down,
        math.sin(angle) * right + math.cos(angle) * down,
    )
    assert step[0, 30, 20] == pytest.approx(turned[0] - right, abs=1e-5)
    assert step[1, 30, 20] == pytest.approx(turned[1] - down, abs=1e-5)
    # y points down: to the right of the centre a picture that turns anticlockwise goes up.
    assert step[1, H // 2, W - 1] < -1


def test_a_dragged_disc_goes_along_its_path_and_leaves_the_rest_alone():
    path = ((0.25, 0.5), (0.75, 0.5), (0.75, 0.25))
    flow = flow_of(Camera(), Drag(0.2, path))
    for k in range(4):  # a half of the time for each part of the way
        assert torch.allclose(flow[k].amax((1, 2)), torch.tensor([0.5 * W / 4, 0.0]))
        assert torch.allclose(flow[4 + k].amin((1, 2)), torch.tensor([0.0, -0.25 * H / 4]))
    moving = flow[0].norm(dim=0) > 0
    assert moving.sum() == pytest.approx(math.pi * (0.2 * H) ** 2, rel=0.05)
    y, x = moving.nonzero().double().mean(0).tolist()
    assert (x, y) == pytest.approx((0.25 * W - 0.5, 0.5 * H - 0.5), abs=0.1)
    x, y = carried(flow, 0.25 * W - 0.5, 0.5 * H - 0.5)
    assert (x, y) == pytest.approx((0.75 * W - 0.5, 0.25 * H - 0.5), abs=1e-3)


def test_later_discs_are_in_front_and_all_before_the_camera():
    first = Drag(0.3, ((0.5, 0.5), (0.6, 0.5)))
    second = Drag(0.1, ((0.5, 0.5), (0.5, 0.6)))
    flow = flow_of(Camera(pan=(-0.1, 0)), first, second)[0]
    assert flow[:, H // 2, W // 2].tolist() == pytest.approx([0, 0.1 * H / 8], abs=1e-5)
    assert flow[:, H // 2, W // 2 - 8].tolist() == pytest.approx([0.1 * W / 8, 0], abs=1e-5)
    assert flow[:, 0, 0].tolist() == pytest.approx([0.1 * W / 8, 0], abs=1e-5)


@given(
    st.tuples(*[st.floats(-0.5, 0.5)] * 2), st.floats(0.5, 2), st.floats(-60, 60),
    st.integers(9, 33), st.sampled_from([(32, 32), (40, 64), (64, 40)]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_camera_that_goes_back_undoes_it(pan, zoom, roll, frames, size):
    """One step there and one back with the inverse move bring the centre's picture back."""
    there = trajectory_flow(Trajectory(Camera((0.0, 0.0), zoom, roll)), frames, *size, sigma=9.0)
    back = trajectory_flow(
        Trajectory(Camera((0.0, 0.0), 1 / zoom, -roll)), frames, *size, sigma=9.0
    )
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = torch.stack([x - (width - 1) / 2, y - (height - 1) / 2]).double()

    def matrix(flow):
        """(A - 1) of flow = (A - 1) (q - c), by least squares."""
        return torch.linalg.lstsq(away.flatten(1).T, flow[0].double().flatten(1).T).solution.T

    one = torch.eye(2).double()
    assert torch.allclose((one + matrix(there)) @ (one + matrix(back)), one, atol=1e-5)
    panned = trajectory_flow(Trajectory(Camera(pan, zoom, roll)), frames, *size, sigma=9.0)
    step = torch.tensor([pan[0] * width, pan[1] * height]) / (frames - 1)
    assert torch.allclose(there - panned, step.view(2, 1, 1).expand_as(there), atol=1e-4)


def test_what_colours_cannot_say_is_refused():
    with pytest.raises(ValueError, match=r"up to 30\.0 pixels a frame, .* of 10\.8 at most"):
        trajectory_flow(Trajectory(Camera(pan=(0.5, 0))), 2, H, W)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "a trajectory is .*, expected an object with camera or drags"),
        ({}, "without motion"),
        ({"camera": {}}, "without motion"),
        ({"zoom": 2}, "a trajectory has 'zoom', expected camera or drags"),
        ({"camera": {"pans": [1, 0]}}, "camera has 'pans', expected pan or zoom or roll"),
        ({"camera": {"pan": 1}}, "camera pan is 1, expected two numbers"),
        ({"camera": {"pan": [1, "a"]}}, "camera pan is 'a', expected a number"),
        ({"camera": {"pan": [math.nan, 0]}}, "camera pan is nan, expected a number"),
        ({"camera": {"zoom": 0}}, "camera zoom is 0, expected a number from 0.1 to 10"),
        ({"camera": {"roll": True}}, "camera roll is True"),
        ({"drags": {}}, "drags is {}, expected a list"),
        ({"drags": [{"radius": 1}]}, "drag 1 has no path"),
        ({"drags": [{"radius": 1, "path": [[0, 0]]}]}, "drag 1: path is .*, expected at least two"),
        ({"drags": [{"radius": -1, "path": [[0, 0], [1, 1]]}]}, "drag 1: radius is -1"),
        ({"drags": [{"radius": 1, "path": [[0, 0], [1]]}]}, "a point of its path is"),
    ],
)
def test_what_is_no_trajectory_is_said(content, message):
    with pytest.raises(ValueError, match=message):
        trajectory_of(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["camera", "drags", "pan", "zoom", "roll", "radius", "path", "x"]),
            inner,
            max_size=3,
        )
    ),
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_trajectory_or_refused(content):
    try:
        found = trajectory_of(content)
    except ValueError:
        return
    try:
        flow = trajectory_flow(found, 5, 16, 24)
    except ValueError as error:
        assert "pixels a frame" in str(error)
        return
    assert flow.shape == (4, 2, 16, 24) and flow.isfinite().all()


def test_files_are_read_and_named(tmp_path):
    file = tmp_path / "moves.json"
    drags = [{"radius": 0.1, "path": [[0, 0], [1, 0.5]]}]
    file.write_text(json.dumps({"camera": {"pan": [0.1, 0]}, "drags": drags}))
    assert read_trajectory(file) == Trajectory(
        Camera(pan=(0.1, 0.0)), (Drag(0.1, ((0.0, 0.0), (1.0, 0.5))),)
    )
    for bad, message in (("{", "cannot be read as JSON"), ("{}", "without motion")):
        file.write_text(bad)
        with pytest.raises(ValueError, match=rf"moves\.json.*{message}"):
            read_trajectory(file)
    with pytest.raises(ValueError, match=r"none\.json cannot be read"):
        read_trajectory(tmp_path / "none.json")
