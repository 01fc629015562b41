"""Ingestion on Ray Data: probe every input, then decode, detect and cut segment by segment on a pool of actors.

Each segment's clips are written by the actor that made them, under a name that depends on the segment alone, and then
its counts. So pixels never travel through the object store, a retried segment overwrites itself, and a second run of
the same command does only what is missing.

Rows of the segment dataset: video_id string; location string; first_frame int64, from 1; timestamps int64 [N]; origin
int64; time_base_seconds float64; fps float64; error string, empty if the video is usable.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray.data
from ray.data import ActorPoolStrategy, Dataset

from cluster import claims, session, storage
from cluster.console import progress_bar
from cluster.errors import InputError
from cluster.resources import READER, Demand, check_fits
from cluster.values import differences, from_json, to_json
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.decoders import make_decoder, probe, split
from pretrain.ingest.detectors.detector import make_detector
from pretrain.ingest.manifest import CropRow, read_manifest
from pretrain.ingest.report import write_report
from pretrain.ingest.sources import Source, find_videos
from pretrain.ingest.workers import ConvertCrops, ExtractSegment


def prepare_videos(inputs: Sequence[str], out: str, config: IngestConfig, *, workers: int = 0) -> dict[str, Any]:
    """Make a clips directory from videos and return its report.

    Args:
        inputs: Files, folders or URLs.
        out: The clips directory; one that was begun with the same configuration is completed.
        config: How videos become clips.
        workers: Decoding processes; 0 takes what the cluster has.

    Raises:
        InputError: If there is no video, the directory belongs to another configuration, or nothing could be read.
    """
    sources = find_videos(inputs)
    if config.detector_weights:
        config = replace(config, detector_weights=storage.resolve(config.detector_weights))
    # A detector that cannot be made should fail here, in one line, before anything is written.
    make_detector(config.detector, weights=config.detector_weights, min_height=config.min_height)
    make_decoder(config.decoder)
    locations = {source.video_id: source.location for source in sources}
    claim(out, config, locations)
    session.connect()
    pool = plan_workers(workers)
    rows = _drain(build_probe(sources, config, workers=pool), "probing", len(sources), lambda row: row["is_last"])
    todo = [row for row in rows if not row["error"]]
    broken = {row["video_id"]: row["error"] for row in rows if row["error"]}
    work = [{"name": segment_name(row["video_id"], row["first_frame"]), **row} for row in todo]
    run_segments(work, ExtractSegment, out, config, pool)
    return write_report(out, config, locations, {row["name"]: row["video_id"] for row in work}, broken)


def prepare_crops(manifest: str, out: str, config: IngestConfig, *, workers: int = 0) -> dict[str, Any]:
    """Make a clips directory from crops that exist already (see `pretrain.ingest.manifest`) and return its report."""
    manifest = storage.resolve(manifest)
    rows = read_manifest(manifest)
    locations = {row.video: manifest for row in rows}
    claim(out, config, locations)
    session.connect()
    pool = plan_workers(workers)
    parts: dict[tuple[str, int], list[CropRow]] = {}
    for row in rows:
        parts.setdefault((row.video, int(row.time_seconds // config.segment_seconds)), []).append(row)
    work = [
        {
            "name": segment_name(video, part),
            "video_id": video,
            "rows": json.dumps([_row_to_json(row) for row in members]),
        }
        for (video, part), members in sorted(parts.items())
    ]
    run_segments(work, ConvertCrops, out, config, pool)
    return write_report(out, config, locations, {row["name"]: row["video_id"] for row in work}, {})


def claim(out: str, config: IngestConfig, locations: dict[str, str]) -> None:
    """Take a directory for clips of one configuration, and of these inputs by video id.

    Raises:
        InputError: If it holds something else, clips of another configuration, or clips of inputs that are not among
            these: segments are found again by the video's id, and training reads every clip that is there.
    """
    claims.claim(out, to_json(config), what="clips directory", compare=_changes)
    inputs = storage.join(out, "inputs.json")
    earlier = storage.read_json(inputs) if storage.exists(inputs) else {}
    others = [f"{name} of {place}" for name, place in earlier.items() if locations.get(name) != place]
    if others:
        raise InputError(
            f"{out} holds clips of {len(others)} other inputs ({others[0]}); name these too, or use another --out"
        )
    storage.write_json(inputs, locations)
    storage.remove(storage.join(out, "attempts"))


def _changes(theirs: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    return differences(from_json(IngestConfig, theirs), from_json(IngestConfig, mine))


def plan_workers(workers: int) -> int:
    """Decide how many decoding processes to start, and refuse more than fit."""
    available = session.total_resources()
    count = workers or session.usable_workers()
    check_fits([Demand(what="decoding workers", count=count, cpus=1, remedy="--workers"), READER], available)
    return count


def segment_name(video_id: str, first: int) -> str:
    """Name a segment by its video and where it starts; the same in every run."""
    return f"{hashlib.sha256(video_id.encode()).hexdigest()[:16]}-{first:09d}"


def build_probe(sources: Sequence[Source], config: IngestConfig, *, workers: int) -> Dataset:
    """Build the lazy graph: one row per video in, one row per segment out, as many at a time as there are workers."""
    items = [{"video_id": source.video_id, "location": source.location} for source in sources]
    listing = ray.data.from_items(items, override_num_blocks=min(len(items), 256))
    return listing.flat_map(functools.partial(probe_row, segment_seconds=config.segment_seconds), concurrency=workers)


def probe_row(row: dict[str, Any], segment_seconds: float) -> list[dict[str, Any]]:
    """Probe one video; a video that cannot be used gives one row with the reason."""
    try:
        segments = split(row["video_id"], row["location"], probe(row["location"]), segment_seconds)
    except ValueError as error:
        empty = {
            "first_frame": 0,
            "timestamps": np.zeros(0, np.int64),
            "origin": 0,
            "time_base_seconds": 0.0,
            "fps": 0.0,
        }
        return [{**row, **empty, "error": str(error), "is_last": True}]
    return [
        {
            **row,
            "first_frame": segment.first_frame,
            "timestamps": segment.timestamps,
            "origin": segment.origin,
            "time_base_seconds": segment.time_base_seconds,
            "fps": segment.fps,
            "error": "",
            "is_last": segment is segments[-1],
        }
        for segment in segments
    ]


def run_segments(work: Sequence[dict[str, Any]], worker: type, out: str, config: IngestConfig, pool_size: int) -> None:
    """Run every segment that has no counts yet on a pool of actors, showing progress."""
    done = {storage.name_of(name).removesuffix(".json") for name in storage.list_files(storage.join(out, "segments"))}
    todo = [row for row in work if row["name"] not in done]
    if not todo:
        return
    size = min(pool_size, len(todo))
    summaries = ray.data.from_items(todo, override_num_blocks=len(todo)).map(
        worker,
        fn_constructor_kwargs={"out": out, "config": to_json(config)},
        compute=ActorPoolStrategy(size=size),
        num_cpus=1,
    )
    _drain(summaries, "cutting people out", len(todo), lambda _: True, lambda row: row["note"])


def _drain(
    dataset: Dataset,
    title: str,
    total: int,
    is_step: Callable[[dict[str, Any]], bool],
    note: Callable[[dict[str, Any]], str] = lambda _: "",
) -> list[dict[str, Any]]:
    """Execute a dataset, showing progress while rows arrive, and return the rows."""
    rows: list[dict[str, Any]] = []
    with progress_bar() as bar:
        task = bar.add_task(title, total=total, note="")
        for row in dataset.iter_rows():
            rows.append(row)
            bar.update(task, advance=1 if is_step(row) else 0, note=note(row))
    return rows


def _row_to_json(row: CropRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("location", "video", "frame", "time_seconds", "box", "score")}
