"""Tables of benchmarks, in Markdown."""

import math
import statistics
from collections.abc import Sequence


def spread(values: Sequence[float | None]) -> str:
    """Format fractions as mean and standard deviation in percent, leaving out unknown ones; one has no deviation."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return "-"
    mean = f"{100 * statistics.mean(known):.1f}"
    return f"{mean} ± {100 * statistics.stdev(known):.1f}" if len(known) > 1 else mean


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    rule = "|" + "---|" * len(columns)
    return "\n".join(rule if number == 1 else f"| {' | '.join(cells)} |" for number, cells in enumerate(lines))
