"""The ablations of the paper's Table 3 at inference, as rows of weights.

Each is a function (w1, w2) -> weights of branches, w1 = text scale, w2 = motion scale. In every
row a scale of 0 means no guidance by that condition; so the windows of GuidanceSettings, which
set a scale to 0 outside of them, mean the same in all modes.
"""

from collections.abc import Callable

from videojam.guidance.branches import Branch, Number, Weights, nonzero


def without_text_guidance(w1: Number, w2: Number) -> Weights:
    """w1 = 0: (1 + w2) u([x,d],y) - w2 u([x,0],y)."""
    return nonzero({Branch.JOINT: 1 + w2, Branch.NO_MOTION: -w2})


def without_inner_guidance(w1: Number, w2: Number) -> Weights:
    """w2 = 0, classifier-free guidance of the joint model: (1 + w1) u([x,d],y) - w1 u([x,d],0)."""
    return nonzero({Branch.JOINT: 1 + w1, Branch.NO_TEXT: -w1})


def without_flow(w1: Number, w2: Number) -> Weights:
    """d = 0 in every prediction: (1 + w1) u([x,0],y) - w1 u([x,0],0)."""
    return nonzero({Branch.NO_MOTION: 1 + w1, Branch.NEITHER: -w1})


def instruct_pix2pix(w1: Number, w2: Number) -> Weights:
    """u(0,0) + s_d (u([x,d],0) - u([x,0],0)) + s_y (u([x,d],y) - u([x,d],0)).

    s_d = 1 + w2 and s_y = 1 + w1 (the paper gives none): at w2 = 0 this is plain text guidance.
    """
    return nonzero({Branch.JOINT: 1 + w1, Branch.NO_TEXT: w2 - w1, Branch.NEITHER: -w2})


ABLATIONS: dict[str, Callable[[Number, Number], Weights]] = {
    "without_text_guidance": without_text_guidance,
    "without_inner_guidance": without_inner_guidance,
    "without_flow": without_flow,
    "instruct_pix2pix": instruct_pix2pix,
}
