"""The whole chain on a drawn street, from video to a report, for people without data or a GPU.

Everything is done through the functions behind the commands; nothing here is special to the demo but its sizes.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from cluster import session, storage
from cluster.claims import claim
from cluster.console import console
from cluster.values import fingerprint, to_json
from evaluation.datasets.registry import read_dataset
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder
from evaluation.embedding.pipeline import embed_dataset
from evaluation.features.parquet import write_features
from evaluation.features.table import Features
from evaluation.metrics.retrieval import RetrievalResult
from evaluation.scoring.scores import score, summarise
from pretrain.association.table import RELIABILITIES
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.truth import read_truth
from pretrain.demo.report import NAMES, Addition, Findings, write_demo_report
from pretrain.export import export, export_untrained
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import prepare_videos
from pretrain.models.directory import load_embedder
from pretrain.recipes import infonce_tiny, isr_tiny
from pretrain.runs import train
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_street
from pretrain.validation.auditor import GIVEN, Auditor


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig:
    """Sizes of the demo."""

    out: str = "out/demo"
    """Where everything goes: a local folder."""
    seed: int = 0
    """Seed of the street, of the weights and of the training."""
    size: Literal["full", "quick"] = "full"
    """full: minutes, and numbers as in benchmarks/README.md. quick: a check that all works; numbers mean nothing."""


def street_of(config: DemoConfig) -> StreetConfig:
    """The street of a demo."""
    if config.size == "quick":
        return StreetConfig(seed=config.seed, identities=24, test_identities=6, cameras=3, seconds=24, fps=5)
    return StreetConfig(seed=config.seed, identities=240, test_identities=40, cameras=6, seconds=240, fps=5)


def run_of(config: DemoConfig, base: PretrainConfig) -> PretrainConfig:
    """A training of the demo; both compared trainings differ in the loss alone."""
    run = scaled(replace(base, seed=config.seed), checkpoint_every=200)
    return scaled(replace(run, epochs=2, batch_pairs=4), log_every=1) if config.size == "quick" else run


Announce = Callable[[str], None]
Extension = Callable[[DemoConfig, str, Announce], Addition]
"""From the demo, its folder and a way to say what comes next to what it adds to the report."""

INGEST = IngestConfig(detector="motion", stride=1, clip_seconds=3.0, segment_seconds=60.0, min_height=48)
"""The demo's videos are small and have 5 frames per second."""


def run_demo(config: DemoConfig, extend: Extension | None = None) -> dict[str, Any]:
    """Run the chain and write `report.html` and `summary.json`.

    Args:
        config: The demo.
        extend: What goes on with the backbones, and adds to report and summary.

    Returns:
        The content of the summary.

    Raises:
        InputError: If the folder belongs to another demo.
    """
    out = os.path.abspath(config.out)
    claim_demo(out, config)
    if storage.exists(f"{out}/summary.json"):
        console.print(f"this demo is finished: {out}/report.html; remove {out} to run it again", markup=False)
        return storage.read_json(f"{out}/summary.json")
    started = time.perf_counter()
    step = _announcer(started)
    street, clips = f"{out}/street", f"{out}/clips"
    step("drawing a street: people who walk past cameras, as MP4 files")
    if not os.path.exists(f"{street}/truth.csv"):
        write_street(street_of(config), street, processes=2)
    session.connect()
    step("prepare: decoding, finding people by motion, cutting them out")
    ingested = prepare_videos([street], clips, INGEST)
    runs = {"infonce": run_of(config, infonce_tiny()), "isr": run_of(config, isr_tiny())}
    for name, run in runs.items():
        step(f"train {run.recipe}: pairs from neighbouring frames, no labels")
        train(run, clips, f"{out}/runs/{name}")
        export(f"{out}/runs/{name}", f"{out}/models/{name}")
    export_untrained(runs["isr"], f"{out}/models/random")
    step("evaluation: unseen people, across cameras")
    features = {name: _embed(name, out, street) for name in NAMES}
    results = {name: score(value) for name, value in features.items()}
    step("audit: mined pairs against the truth")
    auditors = {name: _audit(name, out, clips, street) for name in NAMES}
    addition = extend(config, out, step) if extend else Addition()
    seconds = time.perf_counter() - started
    summary = _summarise(config, results, auditors, ingested, seconds) | addition.summary
    findings = Findings(config.seed, out, results, features, auditors, ingested)
    write_demo_report(f"{out}/report.html", findings, addition)
    storage.write_json(f"{out}/summary.json", summary)
    console.print(f"\nreport: {out}/report.html ({seconds / 60:.1f} minutes)")
    return summary


def claim_demo(out: str, config: DemoConfig) -> None:
    """Refuse to mix two demos in one folder; the same demo goes on where it stopped."""
    parts = (street_of(config), run_of(config, isr_tiny()), run_of(config, infonce_tiny()), INGEST)
    mine = {"demo": [fingerprint(part) for part in parts], "street": to_json(street_of(config))}
    claim(out, mine, file="demo.json", what="demo")


def _announcer(started: float) -> Announce:
    def announce(text: str) -> None:
        console.print(f"[bold]{time.perf_counter() - started:5.0f} s[/bold]  {text}")

    return announce


def _embed(name: str, out: str, street: str) -> Features:
    location = f"{out}/models/{name}"
    make: Callable[[], Embedder] = HistogramEmbedder if name == "histogram" else lambda: load_embedder(location)
    features = embed_dataset(read_dataset(street), make, num_workers=session.usable_workers(), batch_size=64)
    write_features(f"{out}/features/{name}.parquet", features)
    return features


def _audit(name: str, out: str, clips: str, street: str) -> Auditor:
    embedder = HistogramEmbedder() if name == "histogram" else load_embedder(f"{out}/models/{name}")
    loss = isr_tiny().loss
    kind = loss.reliability if loss.reliability in RELIABILITIES.within(GIVEN) else "margin"
    auditor = Auditor(
        embedder,
        read_truth(f"{street}/truth.csv"),
        interval=1.0,
        reliability=kind,
        reliability_temperature=loss.reliability_temperature,
    )
    auditor.add_all(clips)
    return auditor


def _summarise(
    config: DemoConfig,
    results: dict[str, RetrievalResult],
    auditors: dict[str, Auditor],
    ingested: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    audits = {name: auditor.result() for name, auditor in auditors.items()}
    return {
        "retrieval": {name: summarise(result) for name, result in results.items()},
        "pairs": {
            name: {"precision": audit.precision, "recall": audit.recall, "reliability_auroc": audit.reliability_auroc}
            for name, audit in audits.items()
        },
        "clips": ingested["totals"],
        "seed": config.seed,
        "size": config.size,
        "seconds": round(seconds, 1),
    }
