"""Charts for the report: SVG that reads on light and on dark pages, and without telling colours apart."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, told apart by colour-blind people; without black and yellow, lost on dark or light pages."""

MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
INK = "#7a7f87"
"""A grey with a contrast of about 4 : 1 on white and on near-black."""


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    y_is_percent: bool = False,
) -> str:
    """Draw lines, each with its own colour, dash and marker, and return the SVG.

    Args:
        series: Name to x and y values, equally many; at most six lines.
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        y_range: Lowest and highest y; fitted to the values unless given.
        y_is_percent: Whether y is a fraction of 1, to be labelled in percent.

    Raises:
        ValueError: If there are no lines, too many to tell apart, or x and y differ in length.
    """
    _check_number(series, "lines")
    figure, axes = _blank(x_label, y_label, y_is_percent)
    for number, (name, (x, y)) in enumerate(series.items()):
        if len(x) != len(y):
            raise ValueError(f"line {name!r} has {len(x)} x values and {len(y)} y values; give equally many")
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
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=INK, handlelength=3.2)
    return _svg(figure)


def bar_chart(values: Mapping[str, float], *, y_label: str, y_is_percent: bool = False) -> str:
    """Draw one bar per name, with its value written above, and return the SVG.

    Args:
        values: Name to height; at most six bars.
        y_label: What the height is, with its unit.
        y_is_percent: Whether heights are fractions of 1, to be labelled in percent.

    Raises:
        ValueError: If there are no bars, or too many to tell apart.
    """
    _check_number(values, "bars")
    figure, axes = _blank("", y_label, y_is_percent)
    bars = axes.bar(list(values), list(values.values()), color=PALETTE[: len(values)], width=0.6)
    texts = [f"{100 * value:.1f} %" if y_is_percent else f"{value:g}" for value in values.values()]
    axes.bar_label(bars, texts, padding=3, color=INK, fontsize=11, fontweight="bold")
    axes.margins(y=0.14)
    return _svg(figure)


def _check_number(things: Mapping[str, object], what: str) -> None:
    if not 1 <= len(things) <= len(PALETTE):
        raise ValueError(f"a chart shows 1 to {len(PALETTE)} {what}, got {len(things)}; split it into several charts")


def _blank(x_label: str, y_label: str, y_is_percent: bool) -> tuple[Figure, Axes]:
    """Make axes without a background: only the grey of the text has to suit both a light and a dark page."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
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


def _svg(figure: Figure) -> str:
    """Return the SVG: text stays text, in the reader's own fonts, and equal charts are equal byte for byte."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "perennial", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()
