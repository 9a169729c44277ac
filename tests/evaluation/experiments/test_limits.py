"""Scores by how much moves and by contacts."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from videojam.evaluation.clips.judged import Row
from videojam.evaluation.experiments import limits
from videojam.evaluation.metrics.moving_share import moving_share
from videojam.evaluation.report.tables import thirds
from videojam.lab.clips import Lab, lab_clips

LAB = Lab(frames=9, fps=8.0, height=32, width=32, seed=7)


@given(st.dictionaries(st.integers(0, 99), st.floats(allow_infinity=False), max_size=20))
def test_thirds_part_what_has_a_value_by_its_value(values):
    parts = thirds(values)
    known = {k for k, v in values.items() if not math.isnan(v)}
    assert set.union(*parts) == known
    assert sum(map(len, parts)) == len(known)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for low, high in itertools.pairwise(parts):
        if low and high:
            assert max(values[k] for k in low) <= min(values[k] for k in high)


def test_captions_are_parted_by_what_the_simulator_knows():
    count = 40
    parts = limits.groups(LAB, count)
    *by_share, touching, apart = parts.values()
    assert set.union(*by_share) == touching | apart == {*range(count)}
    assert not touching & apart
    assert [len(part) for part in by_share] == [13, 13, 14]
    scenes, drawn = lab_clips(LAB, range(count))
    assert touching == {k for k, scene in enumerate(scenes) if scene.contacts}
    share = [moving_share(flow, LAB.fps) for flow in drawn.flow]
    assert max(share[k] for k in by_share[0]) <= min(share[k] for k in by_share[2])
    assert 0 < len(touching) < count


def test_means_and_differences_are_of_the_captions_of_a_part():
    def rows(name, values):
        return [Row(name, "basic", "", k, 0, {"coherence": v}) for k, v in enumerate(values)]

    both = {"a": rows("a", [1.0] * 10 + [0.0] * 10), "b": rows("b", [0.5] * 20)}
    parts = {"first": {*range(10)}, "last": {*range(10, 20)}, "none": set[int]()}
    means, gaps = limits.limits(both, [("a", "b")], parts, "coherence")
    assert means["a"]["first"].mean == 1
    assert means["a"]["last"].mean == 0
    assert gaps["a - b"]["first"].mean == 0.5
    assert gaps["a - b"]["last"].mean == -0.5
    assert gaps["a - b"]["none"] is None
    text = limits.text(means, gaps, parts, "coherence")
    assert "first: 10, last: 10, none: 0" in text
