"""The report of the demo: what was found, in the order in which a reader asks."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.features.table import Features
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.report.charts import line_chart
from evaluation.report.examples import choose_queries, show_rankings
from evaluation.report.page import Figure, ImageGrid, Pair, Section, Table, Text, Tile, percent, write_report
from pretrain.training.record import read_metrics
from pretrain.validation.auditor import AuditedPair, Auditor, AuditResult

NAMES = {
    "random": "Random weights",
    "histogram": "Colour histogram",
    "infonce": "Plain InfoNCE (beta 0)",
    "isr": "ISR (reliability-guided)",
}
"""The compared methods, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the report shows."""

    seed: int
    """Chooses the queries that are shown."""
    out: str
    """The demo's folder, with the runs in it."""
    results: dict[str, RetrievalResult]
    """Retrieval by method."""
    features: dict[str, Features]
    """Features by method."""
    auditors: dict[str, Auditor]
    """Mined pairs by method."""
    ingested: dict[str, Any]
    """The report of ingestion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """What goes on after the backbones."""

    tiles: tuple[Tile, ...] = ()
    sections: tuple[Section, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)


def write_demo_report(location: str, found: Findings, addition: Addition) -> None:
    """Write the report as one HTML file."""
    write_report(
        location,
        "Perennial: from raw video to a backbone" + (", and on for years" if addition.sections else ""),
        "A drawn street, filmed by fixed cameras, is all that was given: no labels, no pretrained weights. "
        "The people below were never seen in training.",
        [*_sections(found), *addition.sections],
        tiles=[*_tiles(found.results, found.auditors), *addition.tiles],
    )


def _tiles(results: dict[str, RetrievalResult], auditors: dict[str, Auditor]) -> list[Tile]:
    isr, audit = results["isr"], auditors["isr"].result()
    return [
        Tile(label="ISR, mAP", value=percent(isr.mAP), detail=f"random weights: {percent(results['random'].mAP)}"),
        Tile(
            label="ISR, Rank-1",
            value=percent(isr.rank(1)),
            detail=f"colour histogram: {percent(results['histogram'].rank(1))}",
        ),
        Tile(
            label="plain InfoNCE, mAP",
            value=percent(results["infonce"].mAP),
            detail="the same training, all pairs weighted alike",
        ),
        Tile(
            label="mined pairs that are right",
            value=percent(audit.precision),
            detail=f"of {audit.pairs:,} pairs, one second apart",
        ),
    ]


def _sections(found: Findings) -> list[Section]:
    totals = found.ingested["totals"]
    audits = {name: auditor.result() for name, auditor in found.auditors.items()}
    return [
        Text(
            heading="What happened",
            paragraphs=(
                f"{totals['videos']} videos were decoded once; people were found by motion and cut out: "
                f"{totals['crops']:,} crops in {totals['clips']:,} clips. Two frames of a clip make a training sample: "
                "their crops are matched one to one, and matched crops are pulled together against everybody else's.",
                "Every number below is of one seed; the README has means over several. "
                "Loss weighting and settings are this project's own, as the paper's formulas are not public.",
            ),
        ),
        _retrieval_table(found.results),
        *_curves(found.out),
        _audit_table(audits),
        *_pair_grids(found.auditors["isr"]),
        show_rankings(
            {NAMES[name]: found.features[name] for name in ("histogram", "infonce", "isr")},
            choose_queries(found.results["isr"], 6, seed=found.seed),
            heading="Rank lists",
            caption="Queries chosen at random. Each row: the eight nearest gallery images of other cameras.",
        ),
    ]


def _retrieval_table(results: dict[str, RetrievalResult]) -> Table:
    any_result = results["isr"]
    return Table(
        heading="Finding unseen people across cameras",
        columns=("method", "mAP", "Rank-1", "Rank-5", "mINP"),
        rows=tuple(
            (NAMES[name], percent(result.mAP), percent(result.rank(1)), percent(result.rank(5)), percent(result.mINP))
            for name, result in results.items()
        ),
        highlight_row=list(results).index("isr"),
        caption=f"Market-1501 rule: {any_result.num_valid_queries} queries, {any_result.num_gallery} gallery images; "
        "images of the query's own camera do not count.",
    )


def _curves(out: str) -> list[Figure]:
    records = {NAMES[name]: read_metrics(f"{out}/runs/{name}") for name in ("isr", "infonce")}
    figures: list[Figure] = []
    for metric, heading, label in (
        ("loss/total", "Loss", "loss, nats"),
        ("reliability/mean", "Reliability of matched pairs", "mean reliability"),
        ("reliability/effective_share", "Effective share of the batch", "share"),
    ):
        series = {
            name: ([entry["step"] for entry in entries], _smooth([entry[metric] for entry in entries]))
            for name, entries in records.items()
        }
        figures.append(Figure(heading=heading, image=line_chart(series, x_label="step", y_label=label)))
    return figures


def _smooth(values: list[float], width: int = 5) -> list[float]:
    """Mean over neighbours, so that the batch-to-batch noise does not hide the course."""
    half = width // 2
    return [float(np.mean(values[max(0, i - half) : i + half + 1])) for i in range(len(values))]


def _audit_table(audits: dict[str, AuditResult]) -> Table:
    return Table(
        heading="Mined pairs against the truth",
        columns=("matching by", "right pairs", "found of all", "AUROC of reliability"),
        rows=tuple(
            (
                NAMES[name],
                percent(audit.precision),
                percent(audit.recall),
                "-" if audit.reliability_auroc is None else f"{audit.reliability_auroc:.2f}",
            )
            for name, audit in audits.items()
        ),
        highlight_row=list(audits).index("isr"),
        caption="Crops of frames one second apart, matched one to one. A pair is right if both crops belong to one "
        "true person; most wrong ones are people whom the motion detector found in one of the frames only, and who "
        "are matched all the same. 'Found of all' counts people whom the detector missed or dropped as lost.",
    )


def _pair_grids(auditor: Auditor) -> list[ImageGrid]:
    best, worst = auditor.extremes(24)
    return [
        ImageGrid(heading=heading, pairs=tuple(map(_pair, pairs)), caption=caption)
        for heading, pairs, caption in (
            ("Most reliable pairs", best, "These dominate the learning."),
            ("Least reliable pairs", worst, "Wrong matches should gather here; they weigh little."),
        )
    ]


def _pair(pair: AuditedPair) -> Pair:
    return Pair(
        left=pair.first, right=pair.second, caption=f"reliability {pair.reliability:.2f}", is_right=pair.is_right
    )
