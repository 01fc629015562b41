"""``python -m pretrain audit``: mined pairs against true identities."""

import dataclasses
from typing import Annotated

import tyro

from cluster import storage
from cluster.console import print_result, progress_bar
from cluster.extensions import metavar
from evaluation.datasets.images import encode_jpeg
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder
from pretrain.association.table import RELIABILITIES
from pretrain.data.truth import read_truth
from pretrain.ingest.clips import require_clips
from pretrain.models.directory import load_embedder
from pretrain.validation.auditor import GIVEN, Auditor
from pretrain.validation.contact_sheet import draw_contact_sheet


def audit(
    clips: Annotated[str, tyro.conf.Positional],
    *,
    truth: str,
    model: str = "",
    interval: float = 1.0,
    reliability: Annotated[str, tyro.conf.arg(metavar=metavar(RELIABILITIES.within(GIVEN)))] = "margin",
    reliability_temperature: float = 0.1,
    sheet: str = "",
) -> None:
    """Measure mined pairs against true identities: precision, recall, and what the reliability is worth.

    Args:
        clips: A clips directory.
        truth: CSV with [video,]frame,identity,left,top,width,height; frames count from 1.
        model: The model directory that does the matching; without it, a colour histogram does.
        interval: Time between the two frames of a pair, seconds.
        reliability: The estimate whose AUROC is measured.
        reliability_temperature: Its temperature.
        sheet: Picture of the most and least reliable pairs; by default audit.jpg inside the clips directory.
    """
    clips = storage.resolve(clips)
    picture = storage.resolve(sheet) if sheet else storage.join(clips, "audit.jpg")
    require_clips(clips)
    embedder: Embedder = load_embedder(model) if model else HistogramEmbedder()
    boxes = read_truth(storage.resolve(truth))
    auditor = Auditor(
        embedder, boxes, interval=interval, reliability=reliability, reliability_temperature=reliability_temperature
    )
    with progress_bar() as bar:
        task = bar.add_task("matching", total=None, note="")
        auditor.add_all(clips, on_progress=lambda done, total: bar.update(task, completed=done, total=total))
    result = auditor.result()
    drawing = draw_contact_sheet(*auditor.extremes(24))
    storage.write_bytes(picture, encode_jpeg(drawing, max_height=len(drawing)))
    print_result({**dataclasses.asdict(result), "contact_sheet": picture})
