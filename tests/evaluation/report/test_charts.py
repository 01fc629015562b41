"""Charts are SVG with real text, equal for equal input, and refuse what nobody could read."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from evaluation.report.charts import (
    PALETTE,
    cmc_chart,
    distance_distribution_chart,
    heat_map,
    line_chart,
    scatter_chart,
)


def texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_line_chart_shows_labels_and_names():
    lines = {"ours": ([1, 2, 3], [0.2, 0.4, 0.5]), "theirs": ([1, 2, 3], [0.1, 0.2, 0.3])}
    svg = line_chart(lines, x_label="rank k", y_label="queries", y_range=(0, 1), y_is_percent=True)
    assert {"ours", "theirs", "rank k", "queries", "100 %"} <= set(texts(svg))
    assert svg == line_chart(lines, x_label="rank k", y_label="queries", y_range=(0, 1), y_is_percent=True)


def test_a_single_line_has_no_legend_and_strange_names_are_escaped():
    svg = line_chart({"a": ([1, 2], [3, 4])}, x_label="<x> & co", y_label="y")
    assert "a" not in texts(svg)
    assert "<x> & co" in texts(svg)


def test_unreadable_charts_are_refused():
    too_many = {str(n): ([1], [1]) for n in range(len(PALETTE) + 1)}
    with pytest.raises(ValueError, match="a chart shows 1 to 6 lines, got 7"):
        line_chart(too_many, x_label="x", y_label="y")
    with pytest.raises(ValueError, match="a chart shows 1 to 6 lines, got 0"):
        line_chart({}, x_label="x", y_label="y")
    with pytest.raises(ValueError, match="line 'a' has 2 x values and 1 y values"):
        line_chart({"a": ([1, 2], [1])}, x_label="x", y_label="y")


def test_cmc_chart_labels_whole_ranks_in_percent():
    curve = np.linspace(0.5, 1, 50).tolist()
    svg = cmc_chart({"ours": curve, "short": (0.2, 0.4)})
    assert {"ours", "short", "1", "5", "10", "15", "20", "60 %", "rank k", "Rank-k accuracy"} <= set(texts(svg))
    assert svg == cmc_chart({"ours": tuple(curve), "short": [0.2, 0.4]})
    assert svg == cmc_chart({"ours": curve[:20], "short": (0.2, 0.4)}), "only the first 20 ranks are drawn"
    assert set("123456789") | {"10"} <= set(texts(cmc_chart({"ours": curve}, length=10)))
    assert {"1", "10", "50"} <= set(texts(cmc_chart({"ours": curve}, length=50)))


def test_no_rank_is_labelled_above_all_queries():
    shown = [text for text in texts(cmc_chart({"perfect": [1.0] * 20})) if text.endswith("%")]
    assert "100 %" in shown
    assert max(float(text.removesuffix(" %")) for text in shown) == 100


def test_cmc_charts_need_curves():
    with pytest.raises(ValueError, match="curves need a rank each and a length >= 1, got 20 for a, b"):
        cmc_chart({"a": (0.1,), "b": ()})
    with pytest.raises(ValueError, match="got 0 for a"):
        cmc_chart({"a": (0.1,)}, length=0)
    with pytest.raises(ValueError, match="a chart shows 1 to 6 lines, got 0"):
        cmc_chart({})


def test_distributions_are_told_apart_without_colour():
    rng = np.random.default_rng(0)
    same, different = rng.normal(0.5, 0.2, 500), rng.normal(1.2, 0.2, 5000)
    svg = distance_distribution_chart(same, different, threshold=0.85)
    assert {"same identity, two cameras", "different identities", "threshold 0.85", "density"} <= set(texts(svg))
    assert "<pattern" in svg, "one is hatched"
    assert "stroke-dasharray" in svg, "and dashed"
    assert svg == distance_distribution_chart(same[::-1], different, threshold=0.85)
    assert svg == distance_distribution_chart(same, np.tile(different, 2), threshold=0.85), "a density, not a count"
    assert "threshold" not in distance_distribution_chart(same, different)


def test_distributions_need_finite_distances():
    with pytest.raises(ValueError, match="both distributions need finite distances, got 0 and 1"):
        distance_distribution_chart(np.ones(0), np.ones(1))
    with pytest.raises(ValueError, match="got 1 and 1 distances"):
        distance_distribution_chart(np.array([np.nan]), np.ones(1))


def test_scatter_names_the_most_frequent_labels_and_counts_the_others():
    label = np.concatenate([np.repeat(np.arange(1, 15), np.arange(20, 6, -1)), [-1] * 30, [0] * 40])
    xy = np.random.default_rng(0).normal(size=(len(label), 2))
    svg = scatter_chart(xy, label)
    others = 8 + 7 + 30 + 40  # two rare identities, junk, distractors
    assert texts(svg) == [f"{others} others", *(f"identity {n}" for n in range(1, 13))]
    assert svg == scatter_chart(xy, label)
    assert texts(scatter_chart(xy[:20], label[:20], label_name="camera")) == ["camera 1"]
    tied = np.arange(20, 0, -1)
    assert texts(scatter_chart(xy[:20], tied))[1:] == [f"identity {n}" for n in range(1, 13)]


def test_scatter_needs_finite_points_with_labels():
    with pytest.raises(ValueError, match=r"finite \[N, 2\] with N labels, got \[3, 2\] and 2 labels"):
        scatter_chart(np.ones((3, 2)), np.ones(2, int))
    with pytest.raises(ValueError, match=r"got \[1, 2\] and 1 labels"):
        scatter_chart(np.array([[np.inf, 0]]), np.ones(1, int))


def test_heat_map_writes_percent_into_cells_and_leaves_unknown_ones_empty():
    values = np.array([[0.0, np.nan, 0.413], [0.25, 1.0, 0.09]])
    labels = {"x_label": "<gallery>", "y_label": "queries"}
    svg = heat_map(values, ["a", "b"], ["one", "two", "three"], **labels)
    shown = texts(svg)
    assert {"a", "b", "one", "two", "three", "<gallery>", "queries"} <= set(shown)
    assert [text for text in shown if text.endswith(" %")] == ["0.0 %", "41.3 %", "25.0 %", "100.0 %", "9.0 %"]
    assert "nan" not in svg.lower()
    assert svg == heat_map(values, ["a", "b"], ["one", "two", "three"], **labels)
    assert "70.0 %" in texts(heat_map(np.array([[0.7]]), ["a"], ["b"], **labels)), "a single colour will do"


def test_heat_maps_need_values_that_fit_and_can_be_read():
    labels = {"x_label": "x", "y_label": "y"}
    names = [str(n) for n in range(13)]
    for values, rows in [(np.ones((2, 2)), "a"), (np.full((1, 1), np.nan), "a"), (np.ones((13, 13)), names)]:
        with pytest.raises(ValueError, match=r"a heat map needs values .* as labelled, <= 12 each way"):
            heat_map(values, rows, rows, **labels)
