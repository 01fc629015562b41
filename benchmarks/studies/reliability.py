"""Which weighting of matched pairs comes near to perfect weights: python -m benchmarks.studies.reliability.

Every arm learns from the same clips of a drawn street with the same order of pairs, and differs in the loss
alone. Some matches are wrong: ``infonce`` weighs all alike, ``oracle`` gives wrong ones weight 0 from the first step,
and the difference is the headroom that an estimate can win. An arm NAME-BETA is a reliability and its exponent, such as
``sim-2``; ``sim-2-mean`` divides by the number of pairs, ``sim-2-warmup0`` has so many steps of exponent 0 at first,
instead of the recipe's 60 (none for ``track``, which does not come from features). With ``--data ../shared/data`` the
clips are of real sequences, see `benchmarks.studies.real_sequences`.
"""

import multiprocessing
import re
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import tyro

from benchmarks.studies.real_sequences import copy_of, real_ingest
from benchmarks.studies.reliability_picture import write_picture
from benchmarks.studies.tables import spread
from cluster import storage
from cluster.console import console, print_result
from cluster.values import fingerprint, override, to_json
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.clip_table import load_clip_table
from pretrain.ingest.config import IngestConfig
from pretrain.ingest.pipeline import claim, probe_row, segment_name
from pretrain.ingest.report import write_report
from pretrain.ingest.sources import find_videos
from pretrain.ingest.workers import ExtractSegment
from pretrain.recipes import isr_tiny
from pretrain.runs import train_here
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_street
from pretrain.sweep import labelled_scores
from pretrain.training.record import read_metrics

BASE, ORACLE, INSTANCE = "infonce", "oracle", "instance"
FIXED: dict[str, dict[str, str]] = {
    INSTANCE: {"pairs.partner": "itself", "loss.beta": "0"},
    "cycas": {"loss.kind": "cycle"},
    BASE: {"loss.beta": "0"},
    ORACLE: {"loss.reliability": "oracle", "loss.beta": "1", "loss.beta_warmup_steps": "0"},
}
"""Changed settings by the name of the arm."""
RELIABILITIES = ("track", "sim", "margin", "mutual", "mean", "conf")
BETAS = ("0.5", "1", "2", "4")
ARMS = (*FIXED, *(f"{reliability}-{beta}" for reliability in RELIABILITIES for beta in BETAS))
PATTERN = re.compile(rf"({'|'.join((*RELIABILITIES, ORACLE))})-([0-9.]+)(-mean)?(?:-warmup([0-9]+))?")

INGEST = IngestConfig(detector="motion", stride=1, clip_seconds=3.0, segment_seconds=60.0, min_height=48)
"""As in the demo: the detector joins and splits people, and that noise is wanted."""


def street_of(seed: int) -> StreetConfig:
    """The demo's street: about four people at once. With eight, most matches were wrong for the first 40 steps."""
    return StreetConfig(seed=seed, identities=240, test_identities=40, cameras=6, seconds=240, fps=5)


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    arms: tuple[str, ...] = ARMS,
    out: str = "out/reliability",
    data: str = "",
    processes: int = 2,
    epochs: int = 8,
) -> None:
    """Run every arm on every seed; write ``results.json``, ``results.md`` and the picture, and print the table.

    Args:
        seeds: Seeds of street, weights and training.
        arms: Rows of the table, see above.
        out: Streets and runs go below it; finished ones are kept.
        data: Folder with the real sequences and their detector; then seeds are of weights and training alone.
        processes: Runs at the same time, one thread each.
        epochs: Passes over the clips.
    """
    began = time.perf_counter()
    out, data = storage.resolve(out), storage.resolve(data) if data else ""
    for arm in arms:
        settings_of(arm)  # a wrong name fails here
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        where = [f"{out}/data/real"] if data else [f"{out}/data/{seed}" for seed in seeds]
        list(pool.map(make_clips, where, seeds, [data] * len(where)))
        jobs = [(out, seed, arm, epochs, bool(data)) for seed in seeds for arm in arms]
        found = list(pool.map(_run, *zip(*jobs, strict=True)))
    results: dict[str, dict[int, dict[str, Any]]] = {arm: {} for arm in arms}
    for (_, seed, arm, *_), result in zip(jobs, found, strict=True):
        results[arm][seed] = result
    text = table(results)
    console.print(text, markup=False)
    final = {"seeds": list(seeds), "epochs": epochs, "results": results, "table": text}
    storage.write_json(storage.join(out, "results.json"), final)
    storage.write_bytes(storage.join(out, "results.md"), f"{text}\n".encode())
    if BASE in results:
        write_picture(storage.join(out, "reliability"), {arm: mAP_of(by_seed) for arm, by_seed in results.items()})
    print_result({"seconds": round(time.perf_counter() - began), "out": storage.join(out, "results.json")})


def settings_of(arm: str) -> dict[str, str]:
    """Return what an arm changes of the recipe isr-tiny.

    Raises:
        ValueError: If it is no name of an arm.
    """
    if arm in FIXED:
        return FIXED[arm]
    match = PATTERN.fullmatch(arm)
    if match is None:
        raise ValueError(
            f"no arm {arm!r}; there are {', '.join(FIXED)} and NAME-BETA[-mean][-warmupSTEPS] with NAME "
            f"of {', '.join(RELIABILITIES)}"
        )
    reliability, beta, mean, warmup = match.groups()
    changed = {"loss.reliability": reliability, "loss.beta": beta}
    if mean:
        changed["loss.normalisation"] = "mean"
    if warmup or reliability in (ORACLE, "track"):  # what does not come from features need not wait for them
        changed["loss.beta_warmup_steps"] = warmup or "0"
    return changed


def config_of(arm: str, *, seed: int, epochs: int, truth: str, is_real: bool = False) -> PretrainConfig:
    """Return the run of an arm."""
    base = replace(isr_tiny(), seed=seed, epochs=epochs, truth=truth, batch_pairs=16)
    base = scaled(base, cpus_per_worker=1, log_every=5)
    pairs = replace(base.pairs, min_interval_seconds=1.0, max_interval_seconds=3.0)
    return override(replace(base, pairs=pairs, pairs_per_clip=8 if is_real else 1), settings_of(arm))


def make_clips(where: str, seed: int, data: str) -> None:
    """Draw a street, or copy the real sequences, and cut their people out, in this process, unless that is done."""
    videos, clips, ingest = f"{where}/street", f"{where}/clips", real_ingest(data) if data else INGEST
    if not storage.exists(f"{videos}/truth.csv"):
        copy_of(data, videos) if data else write_street(street_of(seed), videos)
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


def _run(out: str, seed: int, arm: str, epochs: int, is_real: bool) -> dict[str, Any]:
    """Train and score an arm, unless that is done."""
    where, run = f"{out}/data/{'real' if is_real else seed}", f"{out}/runs/{arm}/{seed}"
    street = f"{where}/street"
    config = config_of(arm, seed=seed, epochs=epochs, truth=f"{street}/truth.csv", is_real=is_real)
    if storage.exists(f"{run}/scores.json"):
        found = storage.read_json(f"{run}/scores.json")
        if found["config"] != fingerprint(config):
            raise ValueError(f"{run} holds a run with other settings; remove it or give another --out")
        return found
    began = time.perf_counter()
    learner, _ = train_here(config, load_clip_table(f"{where}/clips"), run)
    seconds = time.perf_counter() - began
    records = read_metrics(run)
    quarter = max(1, len(records) // 4)
    names = {"precision": "pairs/precision", "effective_share": "reliability/effective_share", "loss": "loss/total"}
    found = {
        **labelled_scores(street, learner.module.eval(), config),
        **{name: mean_of(records[-quarter:], key) for name, key in names.items()},
        "precision_at_first": mean_of(records[:quarter], "pairs/precision"),
        "steps": learner.total_steps,
        "seconds": round(seconds, 1),
        "history": [{"step": one["step"]} | {name: one.get(key) for name, key in names.items()} for one in records],
        "config": fingerprint(config),
    }
    storage.write_json(f"{run}/scores.json", found)
    return found


def mean_of(records: Sequence[dict[str, Any]], key: str) -> float:
    """Return the mean of a metric over the records that have it."""
    known = [record[key] for record in records if key in record]
    assert known, f"the truth of a drawn street knows most crops, but no record has {key}"
    return statistics.mean(known)


def mAP_of(by_seed: dict[int, dict[str, Any]]) -> list[float]:  # noqa: N802 - as the score is written
    """Return an arm's mAP by seed."""
    return [result["mAP"] for result in by_seed.values()]


def table(results: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Format mean and standard deviation over the seeds, percent.

    The difference is that of the same seed's mAP to beta 0; the headroom is the share of the oracle's mean difference.
    Precision and effective share are means over a quarter of the steps.
    """
    columns = ("mAP", "Rank-1", "mAP - beta 0", "headroom", "right matches, first to last quarter", "effective share")
    lines = [f"| arm | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    gains = {arm: _gains(results, arm) for arm in results}
    headroom = statistics.mean(gains[ORACLE]) if gains.get(ORACLE) else 0.0
    for arm, by_seed in results.items():
        found = list(by_seed.values())
        first, last, share = (
            statistics.mean(one[name] for one in found)
            for name in ("precision_at_first", "precision", "effective_share")
        )
        cells = [
            spread([one["mAP"] for one in found]),
            spread([one["rank1"] for one in found]),
            spread(gains[arm]) if gains[arm] else "-",
            f"{100 * statistics.mean(gains[arm]) / headroom:.0f} %" if gains[arm] and headroom > 0 else "-",
            f"{100 * first:.1f} to {100 * last:.1f}",
            f"{100 * share:.0f}",
        ]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gains(results: dict[str, dict[int, dict[str, Any]]], arm: str) -> list[float]:
    base = results.get(BASE, {})
    return [found["mAP"] - base[seed]["mAP"] for seed, found in results[arm].items() if seed in base]


if __name__ == "__main__":
    tyro.cli(main)
