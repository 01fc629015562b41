"""Charts are SVG with real text, equal for equal input, and refuse what nobody could read."""

import xml.etree.ElementTree as ElementTree

import pytest

from evaluation.charts import PALETTE, bar_chart, line_chart


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_line_chart_shows_labels_and_names():
    lines = {"ours": ([1, 2, 3], [0.2, 0.4, 0.5]), "theirs": ([1, 2, 3], [0.1, 0.2, 0.3])}
    svg = line_chart(lines, x_label="rank k", y_label="queries", y_range=(0, 1), y_is_percent=True)
    assert {"ours", "theirs", "rank k", "queries", "100 %"} <= set(texts(svg))
    assert svg == line_chart(lines, x_label="rank k", y_label="queries", y_range=(0, 1), y_is_percent=True)


def test_a_single_line_has_no_legend_and_strange_names_are_escaped():
    svg = line_chart({"a": ([1, 2], [3, 4])}, x_label="<x> & co", y_label="y")
    assert "a" not in texts(svg)
    assert "<x> & co" in texts(svg)


def test_bar_chart_writes_its_values():
    assert {"a", "b", "41.3 %", "9.0 %"} <= set(
        texts(bar_chart({"a": 0.413, "b": 0.09}, y_label="mAP", y_is_percent=True))
    )
    assert "0.25" in texts(bar_chart({"a": 0.25}, y_label="loss"))


def test_unreadable_charts_are_refused():
    too_many = {str(n): 1.0 for n in range(len(PALETTE) + 1)}
    with pytest.raises(ValueError, match="a chart shows 1 to 6 bars, got 7"):
        bar_chart(too_many, y_label="y")
    with pytest.raises(ValueError, match="a chart shows 1 to 6 lines, got 0"):
        line_chart({}, x_label="x", y_label="y")
    with pytest.raises(ValueError, match="line 'a' has 2 x values and 1 y values"):
        line_chart({"a": ([1, 2], [1])}, x_label="x", y_label="y")
