"""What the demo's report says of the stages."""

from collections.abc import Mapping
from typing import Any

from cluster import storage
from evaluation.compatibility.chart import table_chart
from evaluation.compatibility.sequence import SequenceResult
from evaluation.report.charts import line_chart
from evaluation.report.page import Figure, Section, Table, Text, Tile, percent
from lifelong.gallery.gallery import Gallery
from pretrain.demo.report import Addition

METHODS = {"finetune": "Fine-tuning", "lreid-bc": "LReID-BC"}
"""The compared methods, in the order of the table."""


def describe_stages(found: Mapping[str, SequenceResult], results: Mapping[str, dict[str, Any]], runs: str) -> Addition:
    """Make the sections of the lifelong part.

    Args:
        found: Scores by method.
        results: The same as plain values.
        runs: Folder with the run of each method.
    """
    bc, fine = found["lreid-bc"].stages[-1], found["finetune"].stages[-1]
    tiles = (
        Tile(
            label="after three domains, mAP",
            value=percent(bc.stored.mAP),
            detail=f"galleries never re-extracted; fine-tuning: {percent(fine.stored.mAP)}",
        ),
    )
    sections: tuple[Section, ...] = (
        Text(
            heading="Years later: three domains, one gallery",
            paragraphs=(
                "The backbone above is now trained with labels on three streets of different style, one after the "
                "other. Each stage extracts the gallery of its own domain once, with its own model, and no gallery is "
                "ever re-extracted: the newest model's queries search features of all models before it. "
                "Everybody's queries are put to all galleries together.",
                "Fine-tuning learns each new domain and is free to move its features away from the stored ones. "
                "LReID-BC is trained to keep them usable: its features of remembered people are drawn to the frozen "
                "features that the memory keeps. The paper's full formulas are not available to us; the form of the "
                "losses is this project's own design. One seed; the README has means over five, with every ablation.",
            ),
        ),
        _scores(found),
        Figure(
            heading="Stage by stage",
            image=line_chart(
                {
                    f"{METHODS[method]}, {what}": (
                        list(range(1, len(result.stages) + 1)),
                        [100 * getattr(stage, name).mAP for stage in result.stages],
                    )
                    for method, result in found.items()
                    for name, what in (("stored", "stored"), ("re_extracted", "re-extracted"))
                },
                x_label="stages learned",
                y_label="mAP, percent",
                x_ticks=range(1, len(found["lreid-bc"].stages) + 1),
            ),
            caption="The gap between the two lines of a method is what never re-extracting costs.",
        ),
        *(
            Figure(
                heading=f"{METHODS[method]}: new queries, old galleries",
                image=table_chart(result),
                caption="mAP on each domain with its own gallery alone. Below the diagonal, queries are newer than the "
                "gallery that they search.",
            )
            for method, result in found.items()
        ),
        _gallery(f"{runs}/lreid-bc"),
    )
    summary = {"lifelong": {method: result["stages"][-1] for method, result in results.items()}}
    return Addition(tiles=tiles, sections=sections, summary=summary)


def _scores(found: Mapping[str, SequenceResult]) -> Table:
    columns = ("after the last stage, mAP / Rank-1", "stored", "re-extracted", "no update", "first model")
    rows = []
    for method, result in found.items():
        last = result.stages[-1]
        scores = (last.stored, last.re_extracted, last.no_update, last.first_model)
        rows.append((METHODS[method], *(f"{percent(one.mAP)} / {percent(one.rank1)}" for one in scores)))
    return Table(
        heading="All queries, all galleries together",
        columns=columns,
        rows=tuple(rows),
        highlight_row=list(found).index("lreid-bc"),
        caption="Stored: queries by the newest model, each gallery by the model of its own stage. Re-extracted: "
        "both by the newest. No update: each domain's queries and gallery by its own stage's model. First "
        "model: everything by the first stage.",
    )


def _gallery(run: str) -> Table:
    shards = Gallery.open(storage.join(run, "gallery")).manifest.shards
    return Table(
        heading="The gallery that was never re-extracted",
        columns=("extracted by the model of", "model", "images", "SHA-256"),
        rows=tuple((shard.source, *shard.models, f"{shard.num_rows:,}", shard.sha256[:16]) for shard in shards),
        caption="Shards are written once. `python -m lifelong gallery verify` compares their bytes with these hashes.",
    )
