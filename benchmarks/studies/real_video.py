"""Mined pairs on real video with true boxes: python -m benchmarks.studies.real_video --data ../shared/data."""

import dataclasses
from dataclasses import replace
from typing import Any, Literal

import tyro

from benchmarks.studies.tables import spread
from cluster import session, storage
from cluster.console import console, print_result
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder
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


def main(
    data: str,
    *,
    video: str = "PETS09-S2L1",
    out: str = "out/real-video",
    seeds: tuple[int, ...] = (0, 1, 2),
    detectors: tuple[Literal["boxes", "motion"], ...] = ("boxes", "motion"),
    epochs: int = 40,
) -> None:
    """Prepare a video, train on its clips, and measure the pairs that each embedding mines, one second apart.

    Args:
        data: Folder with NAME.mp4 and NAME.gt.csv.
        video: NAME.
        out: Working folder.
        seeds: Seeds of weights and training.
        detectors: Which boxes to use.
        epochs: Passes over the clips.
    """
    data, out = storage.resolve(data), storage.resolve(out)
    truth = f"{data}/{video}.gt.csv"
    lines = ["| boxes | matched by | pairs | precision | recall | AUROC of reliability |", "|---|---|---|---|---|---|"]
    results: dict[str, Any] = {}
    for detector in detectors:
        clips = f"{out}/{detector}/clips"
        prepare_videos([f"{data}/{video}.mp4"], clips, SETTINGS[detector])
        measured: dict[str, list[dict[str, Any]]] = {"colour histogram": [audit(clips, truth, HistogramEmbedder())]}
        for seed in seeds:
            config = scaled(replace(isr_tiny(), seed=seed, epochs=epochs, batch_pairs=16), log_every=20)
            run = f"{out}/{detector}/run-{seed}"
            train(config, clips, run)
            export(run, f"{run}-model")
            export_untrained(config, f"{run}-untrained")
            for name, model in (("untrained encoder", f"{run}-untrained"), ("trained on these clips", f"{run}-model")):
                measured.setdefault(name, []).append(audit(clips, truth, load_embedder(model)))
        results[detector] = measured
        for name, audits in measured.items():
            cells = (spread([entry[key] for entry in audits]) for key in ("precision", "recall", "reliability_auroc"))
            lines.append(f"| {detector} | {name} | {audits[0]['pairs']} | " + " | ".join(cells) + " |")
    session.disconnect()
    console.print("\n".join(lines), markup=False)
    storage.write_json(f"{out}/results.json", results)
    print_result({"out": f"{out}/results.json"})


def audit(clips: str, truth: str, embedder: Embedder) -> dict[str, Any]:
    """Audit clips with one embedding, one second apart."""
    auditor = Auditor(embedder, read_truth(truth), interval=1.0, reliability="margin", tau_r=0.1)
    auditor.add_all(clips)
    return dataclasses.asdict(auditor.result())


if __name__ == "__main__":
    tyro.cli(main)
