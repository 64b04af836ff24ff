"""Charts put numbers where they belong, say them aloud, and let no text through as markup."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report import charts
from benchmarks.report.thinning import thinned

FINITE = st.floats(-1e6, 1e6)
HOSTILE = '"><script>alert(1)</script>'


def parsed(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(chart))


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def test_a_bar_places_value_interval_and_reference_on_one_axis() -> None:
    bar = parsed(charts.interval_bar(50.0, 40.0, 60.0, 30.0, (0.0, 100.0)))
    track, interval, reference, dot = list(bar)
    left, right = numbers(track, "x1", "x2")

    def at(value: float) -> float:
        return left + (right - left) * value / 100

    start, width = numbers(interval, "x", "width")
    assert start == pytest.approx(at(40), abs=0.06) and start + width == pytest.approx(at(60), abs=0.06)
    assert numbers(reference, "x1")[0] == pytest.approx(at(30), abs=0.06)
    assert numbers(dot, "cx")[0] == pytest.approx(at(50), abs=0.06)
    assert bar.attrib["aria-label"] == "50.00, 95 % interval 40.00 to 60.00, the mark stands at 30.00"


@given(FINITE, FINITE, FINITE, FINITE, FINITE)
def test_a_bar_never_leaves_its_picture(value: float, one: float, two: float, start: float, stop: float) -> None:
    low, high = sorted((one, two))
    bar = parsed(charts.interval_bar(value, low, high, one, (min(start, stop), max(start, stop))))
    width = float(bar.attrib["width"])
    for element in bar:
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(element.attrib.get(name, 0)) <= width


def test_columns_of_a_histogram_are_as_high_as_their_counts_and_stand_on_each_other() -> None:
    chart = parsed(charts.histogram([[1, 4], [1, 0]], [0, 0.5, 1], "share"))
    columns = [element for element in chart if "column" in element.attrib.get("class", "")]
    heights = [numbers(column, "height")[0] for column in columns]
    first, on_top, second, nothing = heights
    assert second == pytest.approx(4 * first, abs=0.3) and on_top == pytest.approx(first, abs=0.1) and nothing == 0
    tops = [numbers(column, "y")[0] for column in columns]
    assert tops[1] + heights[1] == pytest.approx(tops[0], abs=0.11), "the second part stands on the first"
    assert "Histogram of 6 by share; most lie from 0.5 to 1" in chart.attrib["aria-label"]


def test_two_histograms_on_one_axis_have_comparable_columns() -> None:
    def height(most: int) -> float:
        chart = parsed(charts.histogram([[5]], [0, 1], "x", most))
        return next(numbers(each, "height")[0] for each in chart if "column" in each.attrib.get("class", ""))

    assert height(10) == pytest.approx(height(5) / 2, abs=0.1)


def test_curves_go_from_left_to_right_and_up_for_larger_values() -> None:
    chart = parsed(charts.lines([("loss", [0, 10, 20], [3.0, 1.0, 2.0])], "step", "loss"))
    (curve,) = (element for element in chart if element.tag.endswith("polyline"))
    points = [tuple(map(float, point.split(","))) for point in curve.attrib["points"].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x0 < x1 < x2 and x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 < y2 < y1, "SVG counts from the top"
    assert "loss: 3 to 2" in chart.attrib["aria-label"]


def test_a_curve_with_holes_is_drawn_without_them_and_an_empty_one_not_at_all() -> None:
    chart = parsed(charts.lines([("a", [1, 2, 3], [1.0, math.nan, math.inf]), ("b", [], [])], "step", "loss"))
    curves = [element.attrib["points"] for element in chart if element.tag.endswith("polyline")]
    assert len(curves[0].split()) == 1 and curves[1] == ""
    assert str(charts.lines([("a", [1], [math.nan])], "step", "loss")) == ""


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=8))
def test_every_curve_lies_inside_its_chart(values: list[float]) -> None:
    chart = parsed(charts.lines([("x", list(range(len(values))), values)], "step", "loss"))
    for element in chart.iter():
        for point in element.attrib.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT


def test_the_axis_of_counts_has_whole_numbers() -> None:
    chart = parsed(charts.histogram([[1, 2]], [0, 1, 2], "x"))
    ticks = [element.text for element in chart if element.attrib.get("text-anchor") == "end"]
    assert ticks[:3] == ["0", "1", "2"]


def test_a_heat_map_is_darker_where_the_share_is_larger() -> None:
    chart = parsed(charts.heat_map([[1.0, 0.0], [0.25, 0.75]], ["cat", "dog"], "confusions"))
    cells = {
        element[0].text: float(element.attrib["fill-opacity"]) for element in chart if element.tag.endswith("rect")
    }
    assert cells["cat taken for cat: 100.0 %"] == 1
    assert cells["cat taken for dog: 0.0 %"] < cells["dog taken for cat: 25.0 %"] < cells["dog taken for dog: 75.0 %"]


@pytest.mark.parametrize(
    "chart",
    [
        charts.share_bar(0.5, HOSTILE),
        charts.histogram([[1]], [0, 1], HOSTILE),
        charts.columns([1.0], [HOSTILE], HOSTILE),
        charts.lines([(HOSTILE, [1.0, 2.0], [1.0, 2.0])], HOSTILE, HOSTILE),
        charts.heat_map([[1.0]], [HOSTILE], HOSTILE),
    ],
)
def test_text_stays_text(chart: str) -> None:
    assert "<script" not in chart
    assert not [element for element in parsed(chart).iter() if "script" in element.tag]


def test_a_long_curve_is_thinned_to_means_and_a_short_one_is_not() -> None:
    places, values = thinned(list(range(1000)), [float(at % 2) for at in range(1000)], 100)
    assert len(places) == 100 and places[0] == 4.5 and set(values) == {0.5}
    assert thinned([1.0, 2.0], [3.0, 4.0]) == ([1.0, 2.0], [3.0, 4.0])
    assert len(thinned(list(range(101)), [0.0] * 101, 100)[0]) <= 100
