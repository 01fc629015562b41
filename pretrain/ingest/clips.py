"""The clips directory: what ingestion writes and training reads.

Layout::

    OUT/config.json             what the clips were made with; a second run must agree
    OUT/inputs.json             the inputs by video id; a second run must name them too
    OUT/clips/NAME.parquet      the clips of one segment, one row group each, so that any clip can be read alone
    OUT/segments/NAME.json      counts of one segment, written after its clips: present means done
    OUT/report.json             written last: schema version, totals, and every input with its outcome

One row is a clip:

========== ================== ==================================================================
column     dtype              meaning
========== ================== ==================================================================
clip_id    string             stable hash of video id and frame range
video_id   string             the video's name inside this directory
fps        float64            frame rate of the video, 1/s
frames     list of struct     ``frame_index`` int64, from 1; ``time_seconds`` float64, from the
                              video's first frame; ``crops``
crops      list of struct     ``jpeg`` binary; ``left top width height`` float32, pixels of the
                              video (left and top NaN if unknown); ``score`` float32 in [0, 1]
========== ================== ==================================================================
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import InputError
from cluster.versions import check_version

SCHEMA_VERSION = 1
"""Goes up whenever a reader of the old version would misunderstand the new."""

CROP = pa.struct(
    [
        ("jpeg", pa.binary()),
        ("left", pa.float32()),
        ("top", pa.float32()),
        ("width", pa.float32()),
        ("height", pa.float32()),
        ("score", pa.float32()),
    ]
)
FRAME = pa.struct([("frame_index", pa.int64()), ("time_seconds", pa.float64()), ("crops", pa.list_(CROP))])
SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("fps", pa.float64()),
        ("frames", pa.list_(FRAME)),
    ]
)


def make_clip(video_id: str, fps: float, frames: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a row from frames in order of time."""
    key = f"{video_id}:{frames[0]['frame_index']}:{frames[-1]['frame_index']}"
    clip_id = hashlib.sha256(key.encode()).hexdigest()[:16]
    return {"clip_id": clip_id, "video_id": video_id, "fps": fps, "frames": list(frames)}


def write_clips(location: str, clips: Sequence[dict[str, Any]]) -> None:
    """Write the clips of one segment as one Parquet file, atomically."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="NONE") as writer:  # JPEG does not shrink further
        for clip in clips:
            writer.write_table(pa.Table.from_pylist([clip], schema=SCHEMA))
    storage.write_bytes(location, buffer.getvalue())


@dataclass(frozen=True, slots=True)
class ClipAddress:
    """Where one clip is, and what it is called."""

    clip_id: str
    """Stable name of the clip."""
    video_id: str
    """The video it comes from."""
    location: str
    """The Parquet file."""
    row_group: int
    """Its row group in that file."""


def require_clips(directory: str) -> dict[str, Any]:
    """Check that a directory holds finished clips of this version and return its report.

    Raises:
        InputError: If it is missing, unfinished, or of another schema version.
    """
    report_location = storage.join(directory, "report.json")
    if not storage.exists(report_location):
        raise InputError(
            f"{directory} holds no finished clips (no report.json); "
            f"run: python -m pretrain prepare VIDEOS --out {directory}"
        )
    report = storage.read_json(report_location)
    version = report.get("schema_version", 0) if isinstance(report, dict) else 0
    check_version(f"the clips directory {directory}", version, SCHEMA_VERSION)
    return report


def list_clips(directory: str) -> list[ClipAddress]:
    """List all clips of a directory in a fixed order, reading no pixels.

    Raises:
        InputError: If there are none, or the directory is not a finished one of this version.
    """
    require_clips(directory)
    addresses: list[ClipAddress] = []
    for location in storage.list_files(storage.join(directory, "clips"), (".parquet",)):
        with storage.open_for_reading(location) as stream:
            table = pq.ParquetFile(stream).read(columns=["clip_id", "video_id"])
        names = zip(table["clip_id"].to_pylist(), table["video_id"].to_pylist(), strict=True)
        addresses += [ClipAddress(clip, video, location, row) for row, (clip, video) in enumerate(names)]
    if not addresses:
        raise InputError(
            f"{directory} holds no clips: no two people were seen together; look at its report.json for why"
        )
    return addresses


class ClipReader:
    """Reads single clips; keeps the last few files open, because neighbours in a work list share them."""

    def __init__(self, keep_open: int = 16) -> None:
        self._keep_open = keep_open
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()

    def read(self, location: str, row_group: int) -> dict[str, Any]:
        """Read one clip as a row of the schema above."""
        if location not in self._files:
            system, path = storage.arrow_filesystem(location)
            self._files[location] = pq.ParquetFile(system.open_input_file(path), pre_buffer=True)
            if len(self._files) > self._keep_open:
                _, oldest = self._files.popitem(last=False)
                oldest.close()
        self._files.move_to_end(location)
        return self._files[location].read_row_group(row_group).to_pylist()[0]
