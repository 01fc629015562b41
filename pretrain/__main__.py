"""Command line of pretraining: ``python -m pretrain COMMAND --help``."""

import dataclasses
import inspect
import sys
from typing import Annotated, Literal

import tyro

from cluster import session, storage
from cluster.console import command, console, print_result, progress_bar, run_cli
from evaluation.embedder import Embedder
from evaluation.histogram import HistogramEmbedder
from evaluation.images import encode_jpeg
from lifelong.demo.stages import run_stages
from pretrain.audit.auditor import Auditor
from pretrain.audit.contact_sheet import draw_contact_sheet
from pretrain.audit.truth import read_truth
from pretrain.config import PretrainConfig
from pretrain.demo.chain import DemoConfig, run_demo
from pretrain.ingest.clips import require_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import prepare_crops, prepare_videos
from pretrain.models.directory import load_embedder
from pretrain.models.export import export as export_run
from pretrain.recipes import RECIPES, find_recipe
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_labelled, write_street
from pretrain.train import train as train_run

PROGRAM = "python -m pretrain"
Flat = tyro.conf.arg(name="")
"""A nested configuration whose fields are options of the command itself."""


def street(
    *,
    out: str,
    labelled_only: bool = False,
    processes: int = 1,
    config: Annotated[StreetConfig, Flat] = StreetConfig(),  # noqa: B008 - frozen
) -> None:
    """Draw a street: videos of walking people with truth, and labelled splits of other people.

    Args:
        out: Where it goes: a folder, replaced if it is there, or an s3:// URL.
        labelled_only: Draw the labelled splits alone, without videos and truth.
        processes: Cameras drawn at the same time; the result is the same.
        config: The street.
    """
    out = storage.resolve(out)
    write = write_labelled if labelled_only else write_street
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=None, note="")
        counts = write(
            config,
            out,
            processes=processes,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print_result({"out": out, **counts})


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
        raise ValueError("give either videos or --crops manifest.csv, and not both")
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


def train(*, clips: str, out: str, config: Annotated[PretrainConfig, Flat]) -> None:
    """Pretrain an encoder on clips. The same command again resumes.

    Args:
        clips: A clips directory that python -m pretrain prepare has made.
        out: The run directory: a folder or an s3:// URL.
        config: The run.
    """
    clips, out = storage.resolve(clips), storage.resolve(out)
    try:
        final = train_run(config, clips, out)
    finally:
        session.disconnect()
    print_result({"out": out, **final})


def train_recipe(argv: list[str]) -> None:
    """Pretrain an encoder on clips, or resume: train RECIPE --clips DIR --out DIR."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {PROGRAM} train RECIPE --clips DIR --out DIR [options]   (train RECIPE --help shows them)\n")
        for name, recipe in RECIPES.items():
            print(f"  {name:<14}  {inspect.getdoc(recipe)}")
        sys.exit(0 if argv else 2)
    recipe = find_recipe(argv[0])

    def with_defaults(*, clips: str, out: str, config: Annotated[PretrainConfig, Flat] = recipe()) -> None:  # noqa: B008
        train(clips=clips, out=out, config=config)

    with_defaults.__doc__ = train.__doc__
    command(with_defaults, f"{PROGRAM} train {argv[0]}")(argv[1:])


def export(run: Annotated[str, tyro.conf.Positional], *, out: str, untrained: bool = False) -> None:
    """Write a run's newest weights as a model directory: model.safetensors, config.json, README.md.

    Args:
        run: A run directory.
        out: The model directory; replaced if it is there.
        untrained: Write the random weights that the run began with.
    """
    out = storage.resolve(out)
    print_result({"out": out, **export_run(storage.resolve(run), out, untrained=untrained)})


def audit(
    clips: Annotated[str, tyro.conf.Positional],
    *,
    truth: str,
    model: str = "",
    interval: float = 1.0,
    reliability: Literal["mutual", "sim", "margin"] = "margin",
    tau_r: float = 0.1,
    sheet: str = "",
) -> None:
    """Measure mined pairs against true identities: precision, recall, and what the reliability is worth.

    Args:
        clips: A clips directory.
        truth: CSV with [video,]frame,identity,left,top,width,height; frames count from 1.
        model: The model directory that does the matching; without it, a colour histogram does.
        interval: Time between the two frames of a pair, seconds.
        reliability: The estimate whose AUROC is measured.
        tau_r: Its temperature.
        sheet: Picture of the most and least reliable pairs; by default audit.jpg inside the clips directory.
    """
    clips = storage.resolve(clips)
    require_clips(clips)
    embedder: Embedder = load_embedder(model) if model else HistogramEmbedder()
    boxes = read_truth(storage.resolve(truth))
    auditor = Auditor(embedder, boxes, interval=interval, reliability=reliability, tau_r=tau_r)
    with progress_bar() as bar:
        task = bar.add_task("matching", total=None, note="")
        auditor.add_all(clips, on_progress=lambda done, total: bar.update(task, completed=done, total=total))
    result = auditor.result()
    picture = storage.resolve(sheet) if sheet else storage.join(clips, "audit.jpg")
    drawing = draw_contact_sheet(*auditor.extremes(24))
    storage.write_bytes(picture, encode_jpeg(drawing, max_height=len(drawing)))
    print_result({**dataclasses.asdict(result), "contact_sheet": picture})


def demo(*, config: Annotated[DemoConfig, Flat] = DemoConfig()) -> None:  # noqa: B008 - frozen
    """Run the whole chain on a drawn street and write a report.

    Args:
        config: The demo.
    """
    try:
        summary = run_demo(config, run_stages)
    finally:
        session.disconnect()
    print_result(summary)


COMMANDS = {
    "demo": command(demo, f"{PROGRAM} demo"),
    "street": command(street, f"{PROGRAM} street"),
    "prepare": command(prepare, f"{PROGRAM} prepare"),
    "train": train_recipe,
    "export": command(export, f"{PROGRAM} export"),
    "audit": command(audit, f"{PROGRAM} audit"),
}

if __name__ == "__main__":
    run_cli(PROGRAM, COMMANDS, sys.argv[1:])
