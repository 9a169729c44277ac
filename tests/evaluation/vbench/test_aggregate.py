"""The aggregates are VBench's formula, and the paper's tables follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import videojam
from videojam.cli.main import main
from videojam.evaluation.report.published import checks, published
from videojam.evaluation.vbench.aggregate import (
    DIMENSIONS,
    GROUPS,
    PAPER_DIMENSIONS,
    aggregate_vbench,
)

SIX = dict(zip(PAPER_DIMENSIONS, (0.5, 0.6, 0.93, 0.96, 0.98, 0.8), strict=True))
ALL = {name: 0.4 for name in DIMENSIONS} | SIX


def test_it_is_a_public_name():
    assert videojam.aggregate_vbench is aggregate_vbench


def test_the_six_dimensions_by_hand():
    found = aggregate_vbench(SIX)
    subject, background = (0.93 - 0.1462) / 0.8538, (0.96 - 0.2615) / 0.7385
    assert found["appearance"] == pytest.approx((0.5 + 0.6 + subject + background) / 4)
    assert found["motion"] == pytest.approx(((0.98 - 0.706) / 0.2915 + 0.5 * 0.8) / 1.5)
    assert found.keys() == {"appearance", "motion"}


def test_all_fifteen_published_rows_give_the_published_aggregates():
    found = checks()
    assert len(found) == 2 * 15
    assert max(abs(check.difference) for check in found) < 0.35
    assert sum(abs(check.difference) > 0.15 for check in found) == 1


def test_the_command_prints_the_largest_difference(capsys):
    main(["evaluate", "paper-tables"])
    said = capsys.readouterr().out
    assert "largest difference: 0.29 points (motion of RunWay Gen3, Table 5)" in said
    assert "15 rows" in said
    assert "| +VideoJAM | 51.2 | 55.9 | 93.0 | 96.1 | 99.0 | 82.3 |" in said


def test_the_published_tables_are_whole():
    tables = published()
    assert [*tables] == [*"1234567"]
    assert [len(tables[n].rows) for n in "1234567"] == [5, 7, 5, 4, 7, 4, 4]
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows.values())
    assert tables["1"].rows["PyramidFlow"] == [76.6, 83.6, 82.8, 73.1, 89.6]


def test_totals_need_all_their_dimensions():
    found = aggregate_vbench(ALL)
    assert found["total"] == pytest.approx(0.8 * found["quality"] + 0.2 * found["semantic"])
    seven = aggregate_vbench(SIX | {"temporal_flickering": 0.9})
    assert "quality" in seven
    assert "total" not in seven
    # Every quality dimension at the top of its range is 1, dynamic degree counts half.
    top = {name: DIMENSIONS[name].high for name in GROUPS["quality"]}
    assert aggregate_vbench(top)["quality"] == pytest.approx(1)
    assert aggregate_vbench(top | {"dynamic_degree": 0.0})["quality"] == pytest.approx(
        1 - 0.5 / 6.5
    )


@given(missing=st.sampled_from(PAPER_DIMENSIONS))
def test_a_missing_dimension_is_refused(missing):
    scores = {name: value for name, value in SIX.items() if name != missing}
    with pytest.raises(ValueError, match=f"scores of {missing} are missing"):
        aggregate_vbench(scores)


@given(missing=st.sampled_from(GROUPS["semantic"]))
def test_some_semantic_dimensions_are_refused(missing):
    scores = {name: value for name, value in ALL.items() if name != missing}
    with pytest.raises(ValueError, match=missing):
        aggregate_vbench(scores)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (SIX | {"dynamic_degree": 88.6}, "divide percentages by 100"),
        (SIX | {"dynamic_degree": float("nan")}, "divide percentages by 100"),
        (SIX | {"dynamics": 0.5}, "no dimension dynamics"),
        ({}, "are missing beside none"),
        (SIX | {"Dynamic Degree": 0.5}, "came twice"),
    ],
)
def test_other_input_is_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        aggregate_vbench(scores)


@given(
    st.dictionaries(st.sampled_from([*DIMENSIONS, "x"]), st.floats(-1, 2) | st.just(float("nan")))
)
def test_random_input_gives_a_number_or_a_reason(scores):
    try:
        found = aggregate_vbench(scores)
    except ValueError as error:
        assert len(str(error)) > 20
        return
    assert {"appearance", "motion"} <= found.keys()


def test_names_as_vbench_writes_them():
    spaced = {name.replace("_", " ").title(): value for name, value in SIX.items()}
    assert aggregate_vbench(spaced) == aggregate_vbench(SIX)
