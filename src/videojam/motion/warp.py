"""Following pixels along optical flow: backward warp, occlusion, end-point error.

Pixel centres lie at whole numbers, 0 to W - 1 and H - 1, and the picture is the rectangle between
the outermost ones, where nothing has to be made up. A flow of whole pixels therefore copies pixels
and zero flow changes nothing, bit for bit. grid_sample is not that exact: it computes the position
back from [-1, 1].
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Sundaram, Brox & Keutzer 2010: relative and absolute tolerance of a round trip.
_RELATIVE = 0.01
_ABSOLUTE_PX2 = 0.5


def backward_warp(
    frames_next: Float[Tensor, "n c h w"], flow: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, "n c h w"]:
    """warped_k(p) = I_{k+1}(p + f_k(p)), bilinear: frame k in the colours of frame k + 1.

    frames_next: frames 1 to n of n + 1, or any other field on their pixels.
    flow: pixels, from frame k to k + 1. Samples beyond the picture take its border; see inside().
    Raises ValueError if the two are not on the same pixels.
    """
    n, _, h, w = frames_next.shape
    if tuple(flow.shape) != (n, 2, h, w):
        raise ValueError(
            f"flow has shape {tuple(flow.shape)}, but {n} frames of {h} x {w} pixels need "
            f"{(n, 2, h, w)}; give one field for each frame warped, at the size of the frames"
        )
    # Frame by frame, so that the intermediates of a long clip fit in memory.
    return torch.stack([_warp(*pair) for pair in zip(frames_next, flow, strict=True)])


def _warp(image: Tensor, flow: Tensor) -> Tensor:
    h, w = image.shape[-2:]
    whole = flow.float().floor()
    share_x, share_y = (flow.float() - whole).to(image.dtype)
    x, y = _grid(flow) + whole
    x0, x1 = (at.clamp(0, w - 1).long() for at in (x, x + 1))
    y0, y1 = (at.clamp(0, h - 1).long() for at in (y, y + 1))
    top = torch.lerp(image[:, y0, x0], image[:, y0, x1], share_x)
    bottom = torch.lerp(image[:, y1, x0], image[:, y1, x1], share_x)
    return torch.lerp(top, bottom, share_y)


def inside(flow: Float[Tensor, "n 2 h w"]) -> Bool[Tensor, "n h w"]:
    """True where p + f(p) is in the picture: 0 <= x <= W - 1 and 0 <= y <= H - 1.

    An estimator's noise may put border pixels of a still clip outside, by a hundredth of a pixel.
    """
    h, w = flow.shape[-2:]
    x, y = (_grid(flow) + flow.float()).unbind(1)
    return (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)


def occlusion(
    flow_forward: Float[Tensor, "n 2 h w"], flow_backward: Float[Tensor, "n 2 h w"]
) -> Bool[Tensor, "n h w"]:
    """|f + b'|^2 > 0.01 (|f|^2 + |b'|^2) + 0.5, b'(p) = b(p + f(p)) (Sundaram et al. 2010).

    flow_forward: f, from frame k to k + 1. flow_backward: b, from frame k + 1 to k.
    Returns, on the pixels of frame k, True where frame k + 1 does not show them: they do not come
    back to where they were, or leave the picture. Raises ValueError if the shapes differ.
    """
    back = backward_warp(flow_backward, flow_forward)
    round_trip = (flow_forward + back).square().sum(1)
    lengths = flow_forward.square().sum(1) + back.square().sum(1)
    return (round_trip > _RELATIVE * lengths + _ABSOLUTE_PX2) | ~inside(flow_forward)


def visible(
    flow: Float[Tensor, "n 2 h w"], occluded: Bool[Tensor, "n h w"] | None = None
) -> Bool[Tensor, "n h w"]:
    """The pixels that the flow can be followed from: they stay in the picture, unoccluded.

    Raises ValueError if the two are not on the same pixels.
    """
    if occluded is None:
        return inside(flow)
    expected = (flow.shape[0], *flow.shape[2:])
    if tuple(occluded.shape) != expected:
        raise ValueError(
            f"the occlusion mask has shape {tuple(occluded.shape)}, but flow of shape "
            f"{tuple(flow.shape)} needs {expected}; make it by occlusion() from this flow"
        )
    return inside(flow) & ~occluded


def flow_length(flow: Float[Tensor, "n 2 h w"]) -> Float[Tensor, "n h w"]:
    """|f(p)| in pixels. Tensor.norm over an axis of two takes a hundred times as long on a CPU."""
    return torch.hypot(*flow.unbind(1))


def end_point_error(
    a: Float[Tensor, "n 2 h w"],
    b: Float[Tensor, "n 2 h w"],
    mask: Bool[Tensor, "n h w"] | None = None,
) -> Float[Tensor, "n"]:
    """EPE_k = mean over p of |a_k(p) - b_k(p)|, in pixels, of each field.

    mask: True at the pixels that count; a field without any has NaN.
    Raises ValueError if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"the flows have shapes {tuple(a.shape)} and {tuple(b.shape)}; give two flows of the "
            "same frames"
        )
    error = flow_length(a - b)
    if mask is None:
        return error.mean(dim=(1, 2))
    if mask.shape != error.shape:
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, but flow of shape {tuple(a.shape)} needs "
            f"{tuple(error.shape)}; give one value for each pixel"
        )
    return (error * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))


def _grid(flow: Tensor) -> Tensor:
    """(2, H, W): x and y of every pixel."""
    h, w = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([x, y]).to(flow.device, torch.float32)
