"""The account of an ingestion: every input with its outcome, and counts that add up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from cluster import storage
from cluster.errors import InputError
from cluster.values import to_json
from pretrain.ingest.clips import SCHEMA_VERSION
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.extract import COUNTS


def write_report(
    out: str, config: IngestConfig, locations: dict[str, str], segments: dict[str, str], broken: dict[str, str]
) -> dict[str, Any]:
    """Add up all segments, write `report.json` last, and return it.

    Every input is ``done``, ``partial`` (some segments failed) or ``quarantined`` (nothing of it is used).

    Raises:
        InputError: If no input could be read at all; the report is written all the same.
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
        raise InputError(
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
