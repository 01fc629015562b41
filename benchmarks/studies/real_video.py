"""Mined pairs on real video with true boxes, one second apart, by what each embedding mines.

The video is prepared with its true boxes and with a detector; an encoder learns from the clips, and mines them anew.
"""

import dataclasses
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from benchmarks.studies.study import Numbers, Place, Preparation, Results, Study
from benchmarks.studies.tables import markdown, spread
from cluster import session, storage
from cluster.values import to_json
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.truth import read_truth
from pretrain.export import export, export_untrained
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import prepare_videos
from pretrain.models.directory import load_embedder
from pretrain.recipes import isr_tiny
from pretrain.runs import train
from pretrain.validation.auditor import Auditor

SETTINGS: dict[str, IngestConfig] = {
    "boxes": IngestConfig(detector="boxes", stride=1, min_height=48),
    "motion": IngestConfig(detector="motion", stride=1, min_height=48),
}
HISTOGRAM, UNTRAINED, TRAINED = "colour histogram", "untrained encoder", "trained on these clips"


def study(
    data: str,
    video: str = "PETS09-S2L1",
    seeds: tuple[int, ...] = (0, 1, 2),
    arms: tuple[Literal["boxes", "motion"], ...] = ("boxes", "motion"),
    epochs: int = 40,
) -> Study:
    """Make the study.

    Args:
        data: Folder with NAME.mp4 and NAME.gt.csv.
        video: NAME.
        seeds: Seeds of weights and training.
        arms: Which boxes to use.
        epochs: Passes over the clips.
    """
    where = storage.join(storage.resolve(data), video)
    return Study(
        name="real-video",
        arms={
            arm: {"ingest": to_json(SETTINGS[arm]), "run": to_json(config_of(seed=0, epochs=epochs))} for arm in arms
        },
        seeds=seeds,
        run=partial(_run, where, epochs),
        table=table,
        options={"video": video, "epochs": epochs},
        prepare=(
            {
                _clips(video, arm): Preparation(
                    {"video": where, "ingest": to_json(SETTINGS[arm])}, partial(_prepare, where, arm)
                )
                for arm in arms
            },
        ),
        is_parallel=False,
    )


def _clips(video: str, arm: str) -> str:
    return f"{video}-{arm}"


def _prepare(where: str, arm: str, place: Place) -> None:
    try:
        prepare_videos([f"{where}.mp4"], place.folder, SETTINGS[arm])
    finally:
        session.disconnect()


def config_of(*, seed: int, epochs: int) -> PretrainConfig:
    """Return the training on a video's clips."""
    return scaled(replace(isr_tiny(), seed=seed, epochs=epochs, batch_pairs=16), log_every=20)


def _run(where: str, epochs: int, arm: str, seed: int, place: Place) -> Numbers:
    """Train on the clips, and audit what three embeddings mine; the histogram's is the same for all seeds."""
    clips, truth = place.prepared(_clips(storage.name_of(where), arm)), f"{where}.gt.csv"
    config = config_of(seed=seed, epochs=epochs)
    run, untrained, model = (f"{place.folder}/{name}" for name in ("run", "untrained", "model"))
    try:
        train(config, clips, run)
    finally:
        session.disconnect()
    export(run, model)
    export_untrained(config, untrained)
    return {
        HISTOGRAM: audit(clips, truth, HistogramEmbedder()),
        UNTRAINED: audit(clips, truth, load_embedder(untrained)),
        TRAINED: audit(clips, truth, load_embedder(model)),
    }


def audit(clips: str, truth: str, embedder: Embedder) -> dict[str, Any]:
    """Audit clips with one embedding, one second apart."""
    auditor = Auditor(embedder, read_truth(truth), interval=1.0, reliability="margin", reliability_temperature=0.1)
    auditor.add_all(clips)
    return dataclasses.asdict(auditor.result())


def table(results: Results) -> str:
    """Format mean and standard deviation over the seeds, percent; the histogram has none."""
    rows = []
    for arm, by_seed in results.items():
        for name in (HISTOGRAM, UNTRAINED, TRAINED):
            audits = [one[name] for one in by_seed.values() if name in one]
            audits = audits[:1] if name == HISTOGRAM else audits
            cells = (spread([one[key] for one in audits]) for key in ("precision", "recall", "reliability_auroc"))
            rows.append([arm, name, str(audits[0]["pairs"]), *cells])
    return markdown(["boxes", "matched by", "pairs", "precision", "recall", "AUROC of reliability"], rows)
