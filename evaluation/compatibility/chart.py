"""The table of models by galleries as a chart."""

from evaluation.compatibility.sequence import ScoreTable, SequenceResult
from evaluation.report.charts import heat_map


def table_chart(result: SequenceResult, *, of: ScoreTable | None = None) -> str:
    """Draw mAP by the model of the queries and the model of the gallery, and return the SVG.

    Args:
        result: What `evaluate_stages` returned.
        of: One of its tables; that of stored galleries unless given.

    Raises:
        ValueError: If there are more stages than a chart can show.
    """
    return heat_map(
        (of or result.table).mAP,
        result.names,
        result.names,
        x_label="gallery by the model of",
        y_label="queries by the model of",
    )
