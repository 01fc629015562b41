"""What reading clips takes from training: Ray Train and Ray Data, against the very same steps from memory."""

import os
import statistics
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch

from cluster import session, storage
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.batch import to_batch
from pretrain.data.clip_table import load_clip_table
from pretrain.data.sampler import Share
from pretrain.data.source import StepBatches
from pretrain.ingest.clips import SCHEMA_VERSION, write_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.decoders import PyAvDecoder, probe, split
from pretrain.ingest.detectors.detector import make_detector
from pretrain.ingest.extract import extract_clips
from pretrain.models.encoder import make_encoder
from pretrain.recipes import isr_tiny
from pretrain.runs import train
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_street
from pretrain.training.isr_job import IsrJob
from pretrain.training.isr_learner import IsrLearner
from pretrain.training.record import read_metrics

BUDGET = 0.9
STEPS = 30
BLOCK = 5
"""Steps that are timed together. The first block of a run warms up and does not count."""
CAMERAS = 2


def drawn_clips(folder: str) -> str:
    """Draw a street, cut its people out with the free detector, and return the clips directory."""
    ingest = IngestConfig(detector="boxes", stride=2, min_height=48, clip_seconds=3.0)
    street = StreetConfig(identities=10, test_identities=0, cameras=CAMERAS, seconds=30, fps=5)
    write_street(street, f"{folder}/street")
    for camera in range(1, CAMERAS + 1):
        location = f"{folder}/street/camera{camera}.mp4"
        [segment] = split(f"camera{camera}.mp4", location, probe(location), ingest.segment_seconds)
        detector = make_detector("boxes", weights="", min_height=ingest.min_height)
        clips, _ = extract_clips(segment, PyAvDecoder(), detector, ingest)
        write_clips(f"{folder}/clips/clips/camera{camera}.parquet", clips)
    storage.write_json(f"{folder}/clips/report.json", {"schema_version": SCHEMA_VERSION, "videos": [], "totals": {}})
    return f"{folder}/clips"


def make_run(clips: str, *, workers: int) -> PretrainConfig:
    """Return the recipe isr-tiny, as short as is needed; one thread and one reader for each worker."""
    config = scaled(
        isr_tiny(), workers=workers, cpus_per_worker=1, data_workers=1, log_every=BLOCK, checkpoint_every=10 * STEPS
    )
    epochs = -(-STEPS * config.batch_pairs // len(load_clip_table(clips)))
    return replace(config, epochs=epochs)


def seconds_on_ray(config: PretrainConfig, clips: str) -> list[dict[str, float]]:
    """Train on Ray; return each block's seconds, share of waiting for samples, and images per second."""
    with tempfile.TemporaryDirectory() as out:
        train(config, clips, f"{out}/run")
        records: list[dict[str, Any]] = read_metrics(f"{out}/run")
    return [
        {
            "seconds": record["data/wait_seconds"] / record["data/wait_share"],
            "wait": record["data/wait_share"],
            "images_per_second": record["images_per_second"],
        }
        for record in records[1 : STEPS // BLOCK]
    ]


def seconds_from_memory(config: PretrainConfig, clips: str) -> list[dict[str, float]]:
    """Take the same steps in this process with all samples ready.

    Returns:
        For each block its seconds, its images, and the share of a core that this thread got.
    """
    torch.set_num_threads(config.scale.cpus_per_worker)
    table, device = load_clip_table(clips), torch.device("cpu")
    job = IsrJob(config=config, table=table, start="")
    encoder = make_encoder(config.model, seed=config.seed)
    learner = IsrLearner(config, total_steps=job.total_steps, device=device, wrapped=encoder)
    share = Share(rank=0, processes=1, per_step=job.per_step, first_step=0, total_steps=job.total_steps)
    made = StepBatches(job, share)
    batches = [made[step] for step in range(STEPS)]
    blocks: list[dict[str, float]] = []
    for first in range(0, STEPS, BLOCK):
        start, worked = time.perf_counter(), time.thread_time()
        for step in range(first, first + BLOCK):
            learner.step(to_batch(batches[step], device), step + 1)
        seconds = time.perf_counter() - start
        images = sum(len(batch["images"]) for batch in batches[first : first + BLOCK])
        blocks.append({"seconds": seconds, "images": images, "core": (time.thread_time() - worked) / seconds})
    return blocks[1:]


def clips_against_memory() -> dict[str, float]:
    """Images per second of `pretrain.runs` over those of the same steps from memory, one training thread both times.

    On Ray there is one process that reads beside it. From memory is measured before and after: a machine drifts. The
    augmentation is part of both, the report of a record now and then of neither. ``core_from_memory`` near 1 says that
    the machine was free; if it was not, the ratio says nothing, but the share of waiting does.
    """
    with tempfile.TemporaryDirectory() as folder:
        clips = drawn_clips(folder)
        config = make_run(clips, workers=1)
        before = seconds_from_memory(config, clips)
        try:
            found = seconds_on_ray(config, clips)
        finally:
            session.disconnect()
        after = seconds_from_memory(config, clips)
    ready = [(one["seconds"] + other["seconds"]) / 2 for one, other in zip(before, after, strict=True)]
    ratios = [memory / block["seconds"] for memory, block in zip(ready, found, strict=True)]
    rates = [block["images"] / seconds for block, seconds in zip(before, ready, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "images_per_second_from_memory": statistics.median(rates),
        "core_from_memory": statistics.median(block["core"] for block in before + after),
        "wait_share": statistics.median(block["wait"] for block in found),
        "cores": float(os.cpu_count() or 1),
    }
