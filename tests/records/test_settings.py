"""Settings of a folder and of today: a difference is named by its place, a new default is none."""

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from videojam.records.settings import defaults_of, differences

LEAVES = st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2)
NESTED = st.dictionaries(
    st.sampled_from("abc"), LEAVES | st.dictionaries(st.sampled_from("abc"), LEAVES), max_size=3
)


@given(NESTED)
def test_nothing_differs_from_itself(settings):
    assert differences(settings, settings) == []


@given(NESTED)
def test_what_an_older_version_did_not_name_was_as_by_default(now):
    assert differences({}, now, defaults=now) == []
    assert differences(now, {}, defaults=now) == [], "nor one that is gone"
    named = {key for key, value in now.items() if value is not None}
    assert {difference.split(":")[0] for difference in differences({}, now)} == named


@given(NESTED, NESTED)
def test_either_side_may_lack_a_setting(before, now):
    """What differs one way differs the other way."""
    one, other = differences(before, now), differences(now, before)
    assert [line.split(":")[0] for line in one] == [line.split(":")[0] for line in other]


def test_defaults_are_nested_as_settings_are():
    usual = {"objective": {"dropout": 0.1, "shift": 1}}
    assert differences({"objective": {"shift": 1}}, usual, usual) == []
    other = {"objective": {"dropout": 0.2, "shift": 1}}
    assert differences({"objective": {"shift": 1}}, other, usual) == [
        "objective.dropout: 0.1 there, 0.2 now"
    ]


def test_the_innermost_setting_is_named_with_both_values():
    before = {"base": {"steps": 10, "objective": {"text": 0.1}}, "sizes": [1]}
    now = {"base": {"steps": 10, "objective": {"text": 0.2}}, "sizes": [2], "new": True}
    assert differences(before, now) == [
        "base.objective.text: 0.1 there, 0.2 now",
        "new: None there, True now",
        "sizes: [1] there, [2] now",
    ]
    assert differences(before, now, {"new": True, "base": {"objective": {"text": 0.2}}})[1:] == [
        "sizes: [1] there, [2] now"
    ]


@dataclass
class Inner:
    rate: float = 0.5


@dataclass
class Outer:
    must: int
    inner: Inner = field(default_factory=Inner)
    folder: Path = Path("out")
    sizes: tuple[int, ...] = (1, 2)


def test_defaults_are_those_of_the_dataclass_as_json_has_them():
    assert defaults_of(Outer) == {"inner": {"rate": 0.5}, "folder": "out", "sizes": [1, 2]}
