"""The picture of `benchmarks.studies.reliability`: exponent against mAP, a line for each reliability."""

import io
import re
import statistics
from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from cluster import storage
from evaluation.report.charts import DASHES, INK, MARKERS, PALETTE

LEVELS = {"oracle": "perfect weights (oracle)", "infonce": "beta 0 (InfoNCE)"}
"""Arms without an exponent, drawn as horizontal lines."""
SIDESTEP = 0.04
"""Lines stand so far beside each other, or their error bars would hide each other."""


def write_picture(location: str, mAP: Mapping[str, Sequence[float]]) -> None:
    """Write LOCATION.svg and LOCATION.png: mean mAP; bars are the spread over the seeds of the difference to beta 0.

    The streets of two seeds differ by more than any two arms do on one of them.

    Args:
        location: Without the ending.
        mAP: Of every arm, by seed, fractions of 1; `infonce` is one. Arms of other normalisation or warm-up are left
            out.
    """
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "reliability"}):
        figure = Figure(figsize=(7.5, 4.8), layout="constrained")
        _draw(figure.add_subplot(), mAP)
        for kind, canvas in (("svg", FigureCanvasSVG(figure)), ("png", FigureCanvasAgg(figure))):
            data = io.BytesIO()
            canvas.print_figure(data, format=kind, dpi=120)
            storage.write_bytes(f"{location}.{kind}", data.getvalue())


def curves_of(mAP: Mapping[str, Sequence[float]]) -> dict[str, dict[float, Sequence[float]]]:
    """Sort plain NAME-BETA arms by reliability and exponent."""
    curves: dict[str, dict[float, Sequence[float]]] = {}
    for arm, values in mAP.items():
        match = re.fullmatch(r"(track|sim|margin|mutual|mean|conf)-([0-9.]+)", arm)
        if match:
            curves.setdefault(match[1], {})[float(match[2])] = values
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def _draw(axes: Axes, mAP: Mapping[str, Sequence[float]]) -> None:
    curves = curves_of(mAP)
    betas = sorted({0.0}.union(*curves.values()))
    for number, (name, curve) in enumerate(curves.items()):
        points = {0.0: mAP["infonce"]} | curve
        aside = SIDESTEP * (number - (len(curves) - 1) / 2)
        axes.errorbar(
            [betas.index(beta) + aside for beta in points],
            [100 * statistics.mean(values) for values in points.values()],
            yerr=[_spread(values, mAP["infonce"]) for values in points.values()],
            color=PALETTE[number],
            linestyle=DASHES[number],
            marker=MARKERS[number],
            capsize=3,
            label=name,
        )
    for number, (arm, title) in enumerate(LEVELS.items()):
        if arm in mAP:
            level = 100 * statistics.mean(mAP[arm])
            axes.axhline(level, color=INK, linestyle=DASHES[number], linewidth=1.2, label=title)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_xlabel("beta, the exponent of the reliability")
    axes.set_ylabel("mAP of people never filmed (%)")
    axes.spines[["top", "right"]].set_visible(False)
    seeds = max(map(len, mAP.values()))
    title = f"{seeds} seed{'s' if seeds > 1 else ''}; bars: standard deviation of the difference to beta 0"
    axes.set_title(title, fontsize="small", color=INK)
    axes.legend(fontsize="small", ncols=2)


def _spread(values: Sequence[float], base: Sequence[float]) -> float:
    """Standard deviation of the paired differences, percent."""
    differences = [value - other for value, other in zip(values, base, strict=True)]
    return 100 * statistics.stdev(differences) if len(differences) > 1 else 0.0
