"""Command line of pretraining: ``python -m pretrain COMMAND --help``."""

import dataclasses
import sys
from typing import Annotated

import tyro

from cluster import session, storage
from cluster.console import command, console, print_result, progress_bar, run_cli
from cluster.errors import InputError
from cluster.extensions import metavar
from evaluation.datasets.images import encode_jpeg
from evaluation.embedding.embedder import Embedder
from evaluation.embedding.histogram import HistogramEmbedder
from lifelong.demo.stages import run_stages
from pretrain.association.table import RELIABILITIES
from pretrain.data.truth import read_truth
from pretrain.demo.chain import DemoConfig, run_demo
from pretrain.export import export as export_model
from pretrain.ingest.clips import require_clips
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import prepare_crops, prepare_videos
from pretrain.models.directory import load_embedder
from pretrain.models.formats.files import Format
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_labelled, write_street
from pretrain.train_command import PROGRAM, Flat, of_recipe, sweep, train
from pretrain.validation.auditor import GIVEN, Auditor
from pretrain.validation.contact_sheet import draw_contact_sheet


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


def export(
    source: Annotated[str, tyro.conf.Positional], *, out: str, untrained: bool = False, formats: tuple[Format, ...] = ()
) -> None:
    """Write a run's newest weights, or a model, as a model directory: model.safetensors, config.json, README.md.

    Args:
        source: A run directory, or a model directory.
        out: The model directory; replaced if it is there.
        untrained: Write the random weights that the run began with.
        formats: Further files for other people's code, each compared with the model before anything is written.
            backbone: its tensors under torchvision's or timm's names. onnx: model.onnx. torch-export: model.pt2.
    """
    out = storage.resolve(out)
    description = export_model(storage.resolve(source), out, untrained=untrained, formats=formats)
    for name, difference in description.get("checked", {}).items():
        console.print(f"{name}: embeddings differ from the model's by {difference:.2g} at most", markup=False)
    print_result({"out": out, **description})


def audit(
    clips: Annotated[str, tyro.conf.Positional],
    *,
    truth: str,
    model: str = "",
    interval: float = 1.0,
    reliability: Annotated[str, tyro.conf.arg(metavar=metavar(RELIABILITIES.within(GIVEN)))] = "margin",
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
    picture = storage.resolve(sheet) if sheet else storage.join(clips, "audit.jpg")
    require_clips(clips)
    embedder: Embedder = load_embedder(model) if model else HistogramEmbedder()
    boxes = read_truth(storage.resolve(truth))
    auditor = Auditor(embedder, boxes, interval=interval, reliability=reliability, tau_r=tau_r)
    with progress_bar() as bar:
        task = bar.add_task("matching", total=None, note="")
        auditor.add_all(clips, on_progress=lambda done, total: bar.update(task, completed=done, total=total))
    result = auditor.result()
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
    "train": of_recipe(train, "train"),
    "sweep": of_recipe(sweep, "sweep"),
    "export": command(export, f"{PROGRAM} export"),
    "audit": command(audit, f"{PROGRAM} audit"),
}

if __name__ == "__main__":
    run_cli(PROGRAM, COMMANDS, sys.argv[1:])
