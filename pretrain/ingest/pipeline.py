"""Ingestion on Ray Data: probe every input, then decode, detect and cut segment by segment on a pool of actors.

Each segment's clips are written by the actor that made them, under a name that depends on the segment alone, and then
its counts. So pixels never travel through the object store, a retried segment overwrites itself, and a second run of
the same command does only what is missing.

Rows of the segment dataset: video_id string; location string; first_frame int64, from 1; timestamps int64 [N]; origin
int64; time_base_seconds float64; fps float64; error string, empty if the video is usable.
"""

import faulthandler
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray.data
from ray.data import ActorPoolStrategy, Dataset

from cluster import session, storage
from cluster.console import progress_bar
from cluster.resources import READER, Demand, check_fits
from pretrain.config import IngestConfig, differences, from_json, to_json
from pretrain.ingest.clips import SCHEMA_VERSION, write_clips
from pretrain.ingest.decoders import Segment, make_decoder, probe, split
from pretrain.ingest.detectors import make_detector
from pretrain.ingest.extract import COUNTS, extract_clips
from pretrain.ingest.manifest import CropRow, clips_of_crops, read_manifest
from pretrain.ingest.sources import Source, find_videos

MAX_ATTEMPTS = 3
"""A segment that ends its worker process this often is given up, and the job goes on."""


def prepare_videos(inputs: Sequence[str], out: str, config: IngestConfig, *, workers: int = 0) -> dict[str, Any]:
    """Make a clips directory from videos and return its report.

    Args:
        inputs: Files, folders or URLs.
        out: The clips directory; one that was begun with the same configuration is completed.
        config: How videos become clips.
        workers: Decoding processes; 0 takes what the cluster has.

    Raises:
        ValueError: If there is no video, the directory belongs to another configuration, or nothing could be read.
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
    rows = _drain(build_probe(sources, config), "probing", len(sources), lambda row: row["is_last"])
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
        ValueError: If it holds something else, clips of another configuration, or clips of inputs that are not among
            these: segments are found again by the video's id, and training reads every clip that is there.
    """
    location, inputs = storage.join(out, "config.json"), storage.join(out, "inputs.json")
    if storage.exists(location):
        changed = differences(from_json(IngestConfig, storage.read_json(location)), config)
        if changed:
            raise ValueError(
                f"{out} holds clips made with another configuration ({'; '.join(changed)}); "
                "use the same options, or another --out"
            )
        earlier = storage.read_json(inputs) if storage.exists(inputs) else {}
        others = [f"{name} of {place}" for name, place in earlier.items() if locations.get(name) != place]
        if others:
            raise ValueError(
                f"{out} holds clips of {len(others)} other inputs ({others[0]}); name these too, or use another --out"
            )
    elif storage.list_files(out):
        raise ValueError(f"{out} holds other files and no config.json of a clips directory; give an empty --out")
    else:
        storage.write_json(location, to_json(config))
    storage.write_json(inputs, locations)
    storage.remove(storage.join(out, "attempts"))


def plan_workers(workers: int) -> int:
    """Decide how many decoding processes to start, and refuse more than fit."""
    available = session.total_resources()
    count = workers or session.usable_workers()
    check_fits([Demand(what="decoding workers", count=count, cpus=1, remedy="--workers"), READER], available)
    return count


def segment_name(video_id: str, first: int) -> str:
    """Name a segment by its video and where it starts; the same in every run."""
    return f"{hashlib.sha256(video_id.encode()).hexdigest()[:16]}-{first:09d}"


def build_probe(sources: Sequence[Source], config: IngestConfig) -> Dataset:
    """Build the lazy graph: one row per video in, one row per segment out."""
    items = [{"video_id": source.video_id, "location": source.location} for source in sources]
    listing = ray.data.from_items(items, override_num_blocks=min(len(items), 256))
    return listing.flat_map(functools.partial(probe_row, segment_seconds=config.segment_seconds))


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


class SegmentWorker:
    """Runs segments one after another in its own process, and leaves counts or a reason behind for each."""

    def __init__(self, out: str, config: dict[str, Any]) -> None:
        self.out = out
        self.config = from_json(IngestConfig, config)

    def clips(self, row: dict[str, Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
        """Make the clips of one segment."""
        raise NotImplementedError

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do one segment; the clips are complete before its counts appear."""
        name, video_id, error = row["name"], row["video_id"], ""
        clips: list[dict[str, Any]] = []
        counts: Counter[str] = Counter()
        if self._attempt(name) > MAX_ATTEMPTS:
            error = f"ended the decoding process {MAX_ATTEMPTS} times (crash, or no end within the time limit)"
        else:
            # Runs in a C thread, so it also ends a decoder that spins while it holds the interpreter's lock.
            faulthandler.dump_traceback_later(self.config.segment_timeout_seconds, exit=True)
            try:
                clips, counts = self.clips(row)
            except ValueError as reason:
                error = str(reason)
            finally:
                faulthandler.cancel_dump_traceback_later()
        if clips:
            write_clips(storage.join(self.out, "clips", f"{name}.parquet"), clips)
        result = {"video_id": video_id, "error": error, "counts": {key: counts[key] for key in COUNTS}}
        storage.write_json(storage.join(self.out, "segments", f"{name}.json"), result)
        return {"name": name, "note": f"{video_id}: {counts['crops']} crops"}

    def _attempt(self, name: str) -> int:
        location = storage.join(self.out, "attempts", name)
        attempt = 1 + (int(storage.read_bytes(location)) if storage.exists(location) else 0)
        storage.write_bytes(location, str(attempt).encode())
        return attempt


class ExtractSegment(SegmentWorker):
    """Decodes, detects and cuts one segment of a video after another."""

    def __init__(self, out: str, config: dict[str, Any]) -> None:
        super().__init__(out, config)
        self.decoder = make_decoder(self.config.decoder)
        self.detector = make_detector(
            self.config.detector, weights=self.config.detector_weights, min_height=self.config.min_height
        )

    def clips(self, row: dict[str, Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
        """Make the clips of one segment."""
        segment = Segment(
            video_id=row["video_id"],
            location=row["location"],
            first_frame=row["first_frame"],
            timestamps=np.asarray(row["timestamps"], dtype=np.int64),
            origin=row["origin"],
            time_base_seconds=row["time_base_seconds"],
            fps=row["fps"],
        )
        return extract_clips(segment, self.decoder, self.detector, self.config)


class ConvertCrops(SegmentWorker):
    """Turns crop images of a manifest into clips."""

    def clips(self, row: dict[str, Any]) -> tuple[list[dict[str, Any]], Counter[str]]:
        """Make the clips of one part of a video."""
        rows = [CropRow(**{**item, "box": item["box"] and tuple(item["box"])}) for item in json.loads(row["rows"])]
        return clips_of_crops(rows, self.config)


def _row_to_json(row: CropRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("location", "video", "frame", "time_seconds", "box", "score")}


def write_report(
    out: str, config: IngestConfig, locations: dict[str, str], segments: dict[str, str], broken: dict[str, str]
) -> dict[str, Any]:
    """Add up all segments, write `report.json` last, and return it.

    Every input is ``done``, ``partial`` (some segments failed) or ``quarantined`` (nothing of it is used).

    Raises:
        ValueError: If no input could be read at all; the report is written all the same.
    """
    members: dict[str, list[dict[str, Any]]] = {video_id: [] for video_id in locations}
    for name, video_id in segments.items():
        members[video_id].append(storage.read_json(storage.join(out, "segments", f"{name}.json")))
    videos = [
        _video_entry(video_id, locations[video_id], results, broken.get(video_id, ""))
        for video_id, results in members.items()
    ]
    outcomes = Counter(video["outcome"] for video in videos)
    totals = {
        "videos": len(videos),
        **{outcome: outcomes[outcome] for outcome in ("done", "partial", "quarantined")},
        **_sum(video["counts"] for video in videos),
    }
    report = {"schema_version": SCHEMA_VERSION, "config": to_json(config), "totals": totals, "videos": videos}
    storage.write_json(storage.join(out, "report.json"), report)
    storage.remove(storage.join(out, "attempts"))
    if outcomes["quarantined"] == len(videos):
        first = videos[0]
        raise ValueError(
            f"none of the {len(videos)} inputs could be used; {first['location']}: {first['reason']}; "
            f"all reasons are in {storage.join(out, 'report.json')}"
        )
    return report


def _video_entry(video_id: str, location: str, results: list[dict[str, Any]], broken: str) -> dict[str, Any]:
    failed = [result["error"] for result in results if result["error"]]
    if broken or len(failed) == len(results):
        outcome, reason = "quarantined", broken or failed[0]
    elif failed:
        outcome, reason = "partial", f"{len(failed)} of {len(results)} segments failed: {failed[0]}"
    else:
        outcome, reason = "done", ""
    return {
        "video_id": video_id,
        "location": location,
        "outcome": outcome,
        "reason": reason,
        "segments": len(results),
        "counts": _sum(result["counts"] for result in results),
    }


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return {key: total[key] for key in COUNTS}
