"""What a sweep found, as people and programs read it: a table, a chart, JSON, and the settings that were best."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from cluster import storage
from cluster.sweep.search_space import Axis
from cluster.sweep.trials import Mode

INK = "#7a7f87"
"""A grey with a contrast of about 4 : 1 on white and on near-black."""
BLUE, ORANGE = "#0072B2", "#D55E00"
_LONGEST_LABEL = 14
_FILES = ("sweep.json", "results.md", "response.svg", "best.json")


def write_sweep(
    out: str, found: Sequence[Mapping[str, Any]], *, metric: str, mode: Mode = "max", over: Sequence[Axis]
) -> None:
    """Write ``sweep.json``, ``results.md``, ``response.svg`` and ``best.json``; those two not of failed trials alone.

    Args:
        out: Location of the sweep.
        found: What `cluster.sweep.tune.sweep` returned.
        metric: By which trials are ordered.
        mode: Whether larger or smaller is better.
        over: What was tried.
    """
    for name in _FILES:  # none of an earlier call stays beside those of this one
        storage.remove(storage.join(out, name))
    storage.write_json(storage.join(out, "sweep.json"), {"trials": list(found)})
    storage.write_bytes(storage.join(out, "results.md"), to_markdown(found, metric, mode).encode())
    if found and "metrics" in found[0]:
        best = found[0]
        storage.write_bytes(storage.join(out, "response.svg"), response_chart(found, metric, mode, over).encode())
        storage.write_json(
            storage.join(out, "best.json"),
            {
                "settings": best["settings"],
                "metric": metric,
                "mode": mode,
                "value": best["metrics"][metric],
                "trial": best["trial"],
            },
        )


def state_of(trial: Mapping[str, Any]) -> str:
    """Return ``finished``, ``stopped`` or ``failed``."""
    return "failed" if "error" in trial else "stopped" if "stopped_at" in trial else "finished"


def to_markdown(found: Sequence[Mapping[str, Any]], metric: str, mode: Mode) -> str:
    """Return the trials as a table, with what it means.

    Args:
        found: What `cluster.sweep.tune.sweep` returned.
        metric: By which trials are ordered.
        mode: Whether larger or smaller is better.
    """
    states = [state_of(trial) for trial in found]
    names = list(dict.fromkeys(name for trial in found for name in trial["settings"]))
    rows = [["rank", *names, metric, "steps", "state"], ["---:", *["---:"] * (len(names) + 2), "---"]]
    for rank, (trial, state) in enumerate(zip(found, states, strict=True), 1):
        settings = [_shown(trial["settings"].get(name, "")) for name in names]
        value = f"{trial['metrics'][metric]:.6g}" if "metrics" in trial else ""
        steps = f"{trial['steps']:,}" if "steps" in trial else ""
        said = f"{state}: {trial['error']}" if state == "failed" else state
        rows.append(["" if state == "failed" else str(rank), *settings, value, steps, said])
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("finished", "stopped", "failed"))
    about = (
        f"{_larger_is(mode)} is better. {len(found)} trials: {counts}. A stopped trial has the {metric} of the step at "
        "which it was stopped, and stands after those that finished."
    )
    return "\n".join([f"# Sweep by {metric}", "", about, "", *lines]) + "\n"


def response_chart(found: Sequence[Mapping[str, Any]], metric: str, mode: Mode, over: Sequence[Axis]) -> str:
    """Draw the metric of each trial against each setting, and return the SVG.

    Finished trials are filled circles, stopped ones crosses; the best has a ring and a line at its height.

    Args:
        found: What `cluster.sweep.tune.sweep` returned; those without metrics are left out.
        metric: By which trials are ordered.
        mode: Whether larger or smaller is better.
        over: What was tried; a panel of each.
    """
    figure = response_figure(found, metric, mode, over)
    FigureCanvasSVG(figure)
    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "perennial", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def response_figure(found: Sequence[Mapping[str, Any]], metric: str, mode: Mode, over: Sequence[Axis]) -> Figure:
    """Draw what `response_chart` returns, for other kinds of image."""
    shown = [trial for trial in found if "metrics" in trial]
    columns = len(over) if len(over) <= 2 else 2 if len(over) <= 4 else 3
    rows = math.ceil(len(over) / columns)
    width = 6.4 if columns == 1 else 4.4 * columns
    figure = Figure(figsize=(width, 1.0 + 3.0 * rows), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    figure.patch.set_alpha(0)
    many = f"{len(shown)} trial{'' if len(shown) == 1 else 's'}"
    figure.suptitle(f"{metric} of {many}, {_larger_is(mode).lower()} is better", color=INK, fontsize=12)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for number, panel in enumerate(panels):
        if number < len(over):
            _draw(panel, shown, metric, over[number])
            panel.set_ylabel(metric if number % columns == 0 else "", color=INK, fontsize=11)
        else:
            panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, labelcolor=INK, loc="outside lower center", ncols=3)
    return figure


def _draw(panel: Axes, shown: Sequence[Mapping[str, Any]], metric: str, axis: Axis) -> None:
    panel.patch.set_alpha(0)
    panel.set_xlabel(axis.name, color=INK, fontsize=11)
    panel.grid(axis="y", color=INK, alpha=0.25, linewidth=0.8)
    panel.set_axisbelow(True)
    for side, spine in panel.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK)
    places = _set_places(panel, axis)
    panel.tick_params(colors=INK, labelsize=9, length=0, which="both")
    value = shown[0]["metrics"][metric]
    panel.axhline(value, color=INK, linewidth=1, linestyle=":")
    styles = {
        "finished": {"marker": "o", "color": BLUE, "alpha": 0.75, "markeredgewidth": 0},
        "stopped": {"marker": "x", "color": ORANGE, "alpha": 0.9, "markeredgewidth": 1.5},
    }
    for state, style in styles.items():
        trials = [trial for trial in shown if state_of(trial) == state]
        x = [places(trial["settings"][axis.name]) for trial in trials]
        y = [trial["metrics"][metric] for trial in trials]
        if trials:
            panel.plot(x, y, linestyle="none", markersize=6, label=f"{state} ({len(trials)})", **style)
    ring = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgewidth": 1.8}
    best = places(shown[0]["settings"][axis.name])
    panel.plot([best], [value], linestyle="none", color=INK, label=f"best: {value:.4g}", **ring)


def _set_places(panel: Axes, axis: Axis) -> Any:
    """Set up the horizontal axis, and return the function from a value to its place there."""
    if axis.values:
        texts = [_shown(value) for value in axis.values]
        labels = [text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…" for text in texts]
        step = math.ceil(len(labels) / 20)
        is_long = sum(map(len, labels)) / step > 30
        panel.set_xticks(range(0, len(labels), step), labels[::step], rotation=90 if is_long else 0)
        panel.set_xlim(-0.5, len(labels) - 0.5)
        order = {str(value): number for number, value in enumerate(axis.values)}
        return lambda value: order[str(value)]
    if axis.kind == "loguniform":
        panel.set_xscale("log")
        ticks = log_ticks(axis.low, axis.high)
        panel.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        panel.set_xticks([], minor=True)
        room = (axis.high / axis.low) ** 0.05
        panel.set_xlim(axis.low / room, axis.high * room)
        return float
    room = 0.05 * (axis.high - axis.low)
    panel.set_xlim(axis.low - room, axis.high + room)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=axis.kind == "randint"))
    return float


def log_ticks(low: float, high: float) -> list[float]:
    """Return three to seven values to label on a logarithmic axis, the roundest that there are."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) >= 3:
            return inside[:: math.ceil(len(inside) / 7)]
    return [low, math.sqrt(low * high), high]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _larger_is(mode: Mode) -> str:
    return "Larger" if mode == "max" else "Smaller"
