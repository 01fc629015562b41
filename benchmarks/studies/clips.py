"""Clips of a drawn street, or of real sequences: what the pretraining studies learn from, and share."""

from functools import partial

from benchmarks.studies.real_sequences import copy_of, real_ingest
from benchmarks.studies.study import Place, Preparation
from cluster import storage
from cluster.values import to_json
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import claim, probe_row, segment_name
from pretrain.ingest.report import write_report
from pretrain.ingest.sources import find_videos
from pretrain.ingest.workers import ExtractSegment
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_street

INGEST = IngestConfig(detector="motion", stride=1, clip_seconds=3.0, segment_seconds=60.0, min_height=48)
"""As in the demo: the detector joins and splits people, and that noise is wanted."""
REAL = "real-clips"


def street_of(seed: int) -> StreetConfig:
    """The demo's street: about four people at once. With eight, most matches were wrong for the first 40 steps."""
    return StreetConfig(seed=seed, identities=240, test_identities=40, cameras=6, seconds=240, fps=5)


def drawn_name(seed: int) -> str:
    """Return under which name the clips of a drawn street are prepared."""
    return f"clips-{seed}"


def drawn_clips(seed: int) -> Preparation:
    """Return the drawing of a street and the cutting of its clips."""
    return Preparation({"street": to_json(street_of(seed)), "ingest": to_json(INGEST)}, partial(_draw, seed))


def real_clips(data: str) -> Preparation:
    """Return the copying of the real sequences and the cutting of their clips.

    Args:
        data: Folder with the sequences and their detector, a location.
    """
    return Preparation({"data": data, "ingest": to_json(real_ingest(data))}, partial(_copy, data))


def street_and_clips(place: Place, name: str) -> tuple[str, str]:
    """Return the folder of the videos, with truth and retrieval split, and that of the clips."""
    return f"{place.prepared(name)}/street", f"{place.prepared(name)}/clips"


def _draw(seed: int, place: Place) -> None:
    if not storage.exists(f"{place.folder}/street/truth.csv"):
        write_street(street_of(seed), f"{place.folder}/street")
    cut(f"{place.folder}/street", f"{place.folder}/clips", INGEST)


def _copy(data: str, place: Place) -> None:
    if not storage.exists(f"{place.folder}/street/truth.csv"):
        copy_of(data, f"{place.folder}/street")
    cut(f"{place.folder}/street", f"{place.folder}/clips", real_ingest(data))


def cut(videos: str, clips: str, ingest: IngestConfig) -> None:
    """Cut people out of videos, in this process, unless that is done."""
    locations = {source.video_id: source.location for source in find_videos([videos])}
    claim(clips, ingest, locations)
    if storage.exists(f"{clips}/report.json"):
        return
    extract = ExtractSegment(clips, to_json(ingest))
    members: dict[str, str] = {}
    for video, location in locations.items():
        for row in probe_row({"video_id": video, "location": location}, ingest.segment_seconds):
            name = segment_name(video, row["first_frame"])
            extract({"name": name, **row})
            members[name] = video
    write_report(clips, ingest, locations, members, {})
