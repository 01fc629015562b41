"""``python -m pretrain prepare``: from raw video to clips."""

from typing import Annotated

import tyro

from cluster import session, storage
from cluster.console import console, print_result
from cluster.errors import InputError
from cluster.options import Flat
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import prepare_crops, prepare_videos


def prepare(
    videos: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    out: str,
    crops: str = "",
    workers: int = 0,
    config: Annotated[IngestConfig, Flat] = IngestConfig(),  # noqa: B008 - frozen
) -> None:
    """Turn raw video, or crops that exist already, into clips.

    Args:
        videos: Video files, folders or s3:// prefixes.
        out: The clips directory: a folder or an s3:// URL. A begun one with the same options is completed.
        crops: Instead of videos: a CSV with path,video,frame,time_seconds, one row per crop image.
        workers: Decoding processes; 0 takes what the machine or cluster has.
        config: How videos become clips.
    """
    out = storage.resolve(out)
    if bool(videos) == bool(crops):
        raise InputError("give either videos or --crops manifest.csv, and not both")
    try:
        if crops:
            report = prepare_crops(crops, out, config, workers=workers)
        else:
            report = prepare_videos(videos, out, config, workers=workers)
    finally:
        session.disconnect()
    for video in report["videos"]:
        if video["outcome"] != "done":
            console.print(f"{video['outcome']}: {video['location']}: {video['reason']}", markup=False)
    totals = report["totals"]
    if not totals["clips"]:
        console.print("no clips: report.json counts what was dropped and why; loosen --min-people, --min-height, ...")
    print_result({"out": out, **totals})
