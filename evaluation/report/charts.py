"""Charts for the report: SVG that reads on light and on dark pages, and without telling colours apart."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cluster.errors import InputError

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, told apart by colour-blind people; without black and yellow, lost on dark or light pages."""

MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
INK = "#7a7f87"
"""A grey with a contrast of about 4 : 1 on white and on near-black."""
_NUM_BINS = 60


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    y_is_percent: bool = False,
    x_ticks: Sequence[float] | None = None,
) -> str:
    """Draw lines, each with its own colour, dash and marker, and return the SVG.

    Args:
        series: Name to x and y values, equally many; at most six lines.
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        y_range: Lowest and highest y; fitted to the values unless given.
        y_is_percent: Whether y is a fraction of 1, to be labelled in percent.
        x_ticks: The labelled values of x; chosen from the values unless given.

    Raises:
        InputError: If there are no lines, too many to tell apart, or x and y differ in length.
    """
    _check_number(series, "lines")
    figure, axes = _blank(x_label, y_label, y_is_percent)
    for number, (name, (x, y)) in enumerate(series.items()):
        if len(x) != len(y):
            raise InputError(f"line {name!r} has {len(x)} x values and {len(y)} y values; give equally many")
        axes.plot(
            list(x),
            list(y),
            color=PALETTE[number],
            linestyle=DASHES[number],
            marker=MARKERS[number],
            markersize=5,
            markevery=max(1, len(x) // 12),
            linewidth=2,
            label=name,
        )
    if y_range is not None:
        axes.set_ylim(*y_range)
    if x_ticks is not None:
        axes.set_xticks(x_ticks)
    if len(series) > 1:
        _legend_above(figure)
    return _svg(figure)


def cmc_chart(cmc: Mapping[str, Sequence[float]], *, length: int = 20) -> str:
    """Draw cumulative matching curves, Rank-k in percent against k, and return the SVG.

    Args:
        cmc: Name of a method to its curve, fractions of 1 from rank 1 on; at most six, maybe of unequal lengths.
        length: Ranks to show, >= 1.

    Raises:
        InputError: If there are no curves or too many to tell apart, one is empty, or length is < 1.
    """
    if length < 1 or any(len(curve) == 0 for curve in cmc.values()):
        raise InputError(f"curves need a rank each and a length >= 1, got {length} for {', '.join(cmc)}")
    lines = {name: (range(1, len(curve[:length]) + 1), curve[:length]) for name, curve in cmc.items()}
    values = [value for _, y in lines.values() for value in y] or [0.0]
    y_range = max(0.0, min(values) - 0.05), min(1.005, max(values) + 0.05)  # no label above 100 %
    last = max((len(y) for _, y in lines.values()), default=1)
    step = 1 if last <= 10 else 5 if last <= 30 else 10
    ticks = sorted({1, *range(step, last + 1, step)})
    return line_chart(
        lines, x_label="rank k", y_label="Rank-k accuracy", y_range=y_range, y_is_percent=True, x_ticks=ticks
    )


def distance_distribution_chart(
    same: NDArray[np.floating], different: NDArray[np.floating], *, threshold: float | None = None
) -> str:
    """Draw how the distances of pairs of one identity and of different ones are distributed, and return the SVG.

    Both histograms share their bins, and the area under each is 1, however many pairs there are.

    Args:
        same: Distances of pairs of one identity, such as `sample_pair_distances` gives.
        different: Distances of pairs of different identities.
        threshold: A distance to mark, such as that of equal error.

    Raises:
        InputError: If one of them is empty, or a distance is not finite.
    """
    everything = np.concatenate([same, different])
    if len(same) == 0 or len(different) == 0 or not np.isfinite(everything).all():
        raise InputError(f"both distributions need finite distances, got {len(same)} and {len(different)} distances")
    edges = np.histogram_bin_edges(everything, _NUM_BINS)
    figure, axes = _blank("squared distance of unit features", "density", y_is_percent=False)
    kinds = ((same, "same identity, two cameras", 0.3, ""), (different, "different identities", 0, "////"))
    for number, (values, name, opacity, hatch) in enumerate(kinds):
        height, _ = np.histogram(values, edges, density=True)
        colour, dash = PALETTE[number], DASHES[number]
        axes.stairs(
            height, edges, fill=True, facecolor=(colour, opacity), edgecolor=(colour, 0.5), linewidth=0, hatch=hatch
        )
        axes.stairs(height, edges, color=colour, linestyle=dash, linewidth=2, label=name)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.5, linestyle=":", label=f"threshold {threshold:.2f}")
    _legend_above(figure)
    return _svg(figure)


def scatter_chart(xy: NDArray[np.floating], label: NDArray[np.integer], *, label_name: str = "identity") -> str:
    """Draw points in the plane, the twelve most frequent labels each in its own marker and colour, and return the SVG.

    Args:
        xy: [N, 2], such as `project` gives; the axes carry no unit and are not labelled.
        label: [N]; labels below 1 (junk, distractors) and rare ones are small and grey. Of equally frequent labels,
            the smaller comes first.
        label_name: What a label is; the legend says it.

    Raises:
        InputError: If there is no point, a point is not finite, or there are not as many labels.
    """
    if xy.shape != (len(label), 2) or len(label) == 0 or not np.isfinite(xy).all():
        raise InputError(f"points must be finite [N, 2] with N labels, got {list(xy.shape)} and {len(label)} labels")
    labels, counts = np.unique(label[label >= 1], return_counts=True)
    shown = np.sort(labels[np.argsort(-counts, kind="stable")[: 2 * len(PALETTE)]])
    figure, axes = _blank("", "", y_is_percent=False, height=4.6)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines["bottom"].set_visible(False)
    rest = ~np.isin(label, shown)
    if rest.any():
        name = f"{rest.sum():,} others"
        axes.plot(*xy[rest].T, "o", color=INK, alpha=0.5, markersize=3, markeredgewidth=0, label=name)
    for number, value in enumerate(shown):
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(PALETTE)]
        inside = colour if number < len(PALETTE) else "none"
        style = {"color": colour, "marker": marker, "markerfacecolor": inside, "markersize": 6}
        axes.plot(*xy[label == value].T, linestyle="none", label=f"{label_name} {value}", **style)
    axes.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def heat_map(
    values: NDArray[np.floating], row_labels: Sequence[str], column_labels: Sequence[str], *, x_label: str, y_label: str
) -> str:
    """Draw fractions of 1 as cells, from the top row down, with their percent inside, and return the SVG.

    Colours run from the lowest to the highest value; cells without a value (NaN) are left empty.

    Args:
        values: [R, C], at most twelve each way.
        row_labels: R names.
        column_labels: C names.
        x_label: What the columns are.
        y_label: What the rows are.

    Raises:
        InputError: If labels do not fit the values, there are too many to read, or no value is known.
    """
    wanted = (len(row_labels), len(column_labels))
    if values.shape != wanted or max(wanted) > 2 * len(PALETTE) or np.isnan(values).all():
        raise InputError(f"a heat map needs values {list(wanted)} as labelled, <= 12 each way, got {values.tolist()}")
    figure, axes = _blank(x_label, y_label, y_is_percent=False, height=1.2 + 0.42 * len(values))
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap="cividis")
    axes.invert_yaxis()
    axes.set_yticks(np.arange(wanted[0]) + 0.5, row_labels)
    axes.set_xticks(np.arange(wanted[1]) + 0.5, column_labels, rotation=30 if wanted[1] > 6 else 0)
    for row, column in np.argwhere(~np.isnan(values)):
        value = values[row, column]
        brightness = np.dot(mesh.cmap(mesh.norm(value))[:3], (0.299, 0.587, 0.114))  # as the eye weighs colours
        style = {"color": "black" if brightness > 0.46 else "white", "fontsize": 11 if wanted[1] <= 8 else 7}
        axes.text(column + 0.5, row + 0.5, f"{100 * value:.1f} %", ha="center", va="center", **style)
    return _svg(figure)


def _check_number(things: Mapping[str, object], what: str) -> None:
    if not 1 <= len(things) <= len(PALETTE):
        raise InputError(f"a chart shows 1 to {len(PALETTE)} {what}, got {len(things)}; split it into several charts")


def _blank(x_label: str, y_label: str, y_is_percent: bool, height: float = 3.6) -> tuple[Figure, Axes]:
    """Make axes without a background: only the grey of the text has to suit both a light and a dark page."""
    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_xlabel(x_label, color=INK, fontsize=11)
    axes.set_ylabel(y_label, color=INK, fontsize=11)
    axes.tick_params(colors=INK, labelsize=10, length=0)
    axes.grid(axis="y", color=INK, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK)
    if y_is_percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    return figure, axes


def _legend_above(figure: Figure) -> None:
    """Name the lines where none of them can pass."""
    figure.legend(frameon=False, labelcolor=INK, handlelength=3.2, loc="outside upper left", ncols=2)


def _svg(figure: Figure) -> str:
    """Return the SVG: text stays text, in the reader's own fonts, and equal charts are equal byte for byte."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "perennial", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()
