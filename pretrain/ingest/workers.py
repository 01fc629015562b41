"""What runs in the decoding processes: one segment after another, clips or a reason for each. Knows nothing of Ray."""

import faulthandler
import json
from collections import Counter
from typing import Any

import numpy as np

from cluster import storage
from cluster.values import from_json
from pretrain.ingest.clips import write_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.decoders import Segment, make_decoder
from pretrain.ingest.detectors.detector import make_detector
from pretrain.ingest.extract import COUNTS, extract_clips
from pretrain.ingest.manifest import CropRow, clips_of_crops

MAX_ATTEMPTS = 3
"""A segment that ends its worker process this often is given up, and the job goes on."""


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
