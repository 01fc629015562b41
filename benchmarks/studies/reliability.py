"""Which weighting of matched pairs comes near to perfect weights.

Every arm learns from the same clips of a drawn street with the same order of pairs, and differs in the loss
alone. Some matches are wrong: ``infonce`` weighs all alike, ``oracle`` gives wrong ones weight 0 from the first step,
and the difference is the headroom that an estimate can win. An arm NAME-BETA is a reliability and its exponent, such as
``sim-2``; ``sim-2-mean`` divides by the number of pairs, ``sim-2-warmup0`` has so many steps of exponent 0 at first,
instead of the recipe's 60 (none for ``track``, which does not come from features). With ``--data FOLDER`` the clips are
of real sequences, see `benchmarks.studies.real_sequences`.
"""

import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.studies.clips import REAL, drawn_clips, drawn_name, real_clips, street_and_clips
from benchmarks.studies.reliability_picture import write_picture
from benchmarks.studies.study import Numbers, Place, Results, Study
from benchmarks.studies.tables import markdown, spread
from cluster import storage
from cluster.errors import InputError
from cluster.values import override, to_json
from pretrain.association.table import RELIABILITIES
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.clip_table import load_clip_table
from pretrain.recipes import isr_tiny
from pretrain.runs import train_here
from pretrain.training.record import read_metrics
from pretrain.validation.labelled import labelled_scores

BASE, ORACLE, INSTANCE = "infonce", "oracle", "instance"
FIXED: dict[str, dict[str, str]] = {
    INSTANCE: {"pairs.partner": "itself", "loss.beta": "0"},
    "cycas": {"loss.kind": "cycle"},
    BASE: {"loss.beta": "0"},
    ORACLE: {"loss.reliability": "oracle", "loss.beta": "1", "loss.beta_warmup_steps": "0"},
}
"""Changed settings by the name of the arm."""
ESTIMATES = [name for name in RELIABILITIES if "truth" not in RELIABILITIES.needs(name)]
BETAS = ("0.5", "1", "2", "4")
ARMS = (*FIXED, *(f"{reliability}-{beta}" for reliability in ESTIMATES for beta in BETAS))
PATTERN = re.compile(rf"({'|'.join(RELIABILITIES)}|[\w.]+:[\w.]+)-([0-9.]+)(-mean)?(?:-warmup([0-9]+))?")


def study(seeds: tuple[int, ...] = (0, 1, 2), arms: tuple[str, ...] = ARMS, data: str = "", epochs: int = 8) -> Study:
    """Make the study.

    Args:
        seeds: Seeds of street, weights and training.
        arms: Rows of the table, see above.
        data: Folder with the real sequences and their detector; then seeds are of weights and training alone.
        epochs: Passes over the clips.
    """
    data = storage.resolve(data) if data else ""
    configs = {arm: config_of(arm, seed=0, epochs=epochs, truth="truth.csv", is_real=bool(data)) for arm in arms}
    return Study(
        name="reliability-real" if data else "reliability",
        arms={arm: to_json(config) for arm, config in configs.items()},
        seeds=seeds,
        run=partial(_run, epochs, bool(data)),
        table=table,
        options={"epochs": epochs},
        prepare=({REAL: real_clips(data)} if data else {drawn_name(seed): drawn_clips(seed) for seed in seeds},),
        pictures=draw,
    )


def settings_of(arm: str) -> dict[str, str]:
    """Return what an arm changes of the recipe isr-tiny.

    Raises:
        InputError: If it is no name of an arm.
    """
    if arm in FIXED:
        return FIXED[arm]
    match = PATTERN.fullmatch(arm)
    if match is None:
        raise InputError(
            f"no arm {arm!r}; there are {', '.join(FIXED)} and NAME-BETA[-mean][-warmupSTEPS] with NAME "
            f"of {', '.join(RELIABILITIES)}, or a package.module:function"
        )
    reliability, beta, mean, warmup = match.groups()
    changed = {"loss.reliability": reliability, "loss.beta": beta}
    if mean:
        changed["loss.normalisation"] = "mean"
    comes_from_features = not {"boxes", "truth"} & set(RELIABILITIES.needs(reliability))
    if warmup or not comes_from_features:  # nothing need be waited for
        changed["loss.beta_warmup_steps"] = warmup or "0"
    return changed


def config_of(arm: str, *, seed: int, epochs: int, truth: str, is_real: bool = False) -> PretrainConfig:
    """Return the run of an arm."""
    base = replace(isr_tiny(), seed=seed, epochs=epochs, truth=truth, batch_pairs=16)
    base = scaled(base, cpus_per_worker=1, log_every=5)
    pairs = replace(base.pairs, min_interval_seconds=1.0, max_interval_seconds=3.0)
    return override(replace(base, pairs=pairs, pairs_per_clip=8 if is_real else 1), settings_of(arm))


def _run(epochs: int, is_real: bool, arm: str, seed: int, place: Place) -> Numbers:
    """Train and score an arm."""
    street, clips = street_and_clips(place, REAL if is_real else drawn_name(seed))
    config = config_of(arm, seed=seed, epochs=epochs, truth=f"{street}/truth.csv", is_real=is_real)
    began = time.perf_counter()
    learner, _ = train_here(config, load_clip_table(clips), place.folder)
    seconds = time.perf_counter() - began
    records = read_metrics(place.folder)
    quarter = max(1, len(records) // 4)
    names = {"precision": "pairs/precision", "effective_share": "reliability/effective_share", "loss": "loss/total"}
    return {
        **labelled_scores(street, learner.module.eval(), config),
        **{name: mean_of(records[-quarter:], key) for name, key in names.items()},
        "precision_at_first": mean_of(records[:quarter], "pairs/precision"),
        "steps": learner.total_steps,
        "seconds": round(seconds, 1),
        "history": [{"step": one["step"]} | {name: one.get(key) for name, key in names.items()} for one in records],
    }


def mean_of(records: Sequence[dict[str, Any]], key: str) -> float:
    """Return the mean of a metric over the records that have it."""
    known = [record[key] for record in records if key in record]
    assert known, f"the truth of a drawn street knows most crops, but no record has {key}"
    return statistics.mean(known)


def draw(results: Results, folder: str) -> None:
    """Draw exponent against mAP, if exponent 0 is there."""
    if BASE in results:
        mAP = {arm: [one["mAP"] for one in by_seed.values()] for arm, by_seed in results.items()}
        write_picture(f"{folder}/reliability", mAP)


def table(results: Results) -> str:
    """Format mean and standard deviation over the seeds, percent.

    The difference is that of the same seed's mAP to beta 0; the headroom is the share of the oracle's mean difference.
    Precision and effective share are means over a quarter of the steps.
    """
    columns = ("arm", "mAP", "Rank-1", "mAP - beta 0", "headroom", "right matches, first to last quarter")
    gains = {arm: _gains(results, by_seed) for arm, by_seed in results.items()}
    headroom = statistics.mean(gains[ORACLE]) if gains.get(ORACLE) else 0.0
    rows = []
    for arm, by_seed in results.items():
        found = list(by_seed.values())
        first, last, share = (
            statistics.mean(one[name] for one in found)
            for name in ("precision_at_first", "precision", "effective_share")
        )
        rows.append(
            [
                arm,
                spread([one["mAP"] for one in found]),
                spread([one["rank1"] for one in found]),
                spread(gains[arm]),
                f"{100 * statistics.mean(gains[arm]) / headroom:.0f} %" if gains[arm] and headroom > 0 else "-",
                f"{100 * first:.1f} to {100 * last:.1f}",
                f"{100 * share:.0f}",
            ]
        )
    return markdown([*columns, "effective share"], rows)


def _gains(results: Results, by_seed: Mapping[str, Numbers]) -> list[float]:
    base = results.get(BASE, {})
    return [found["mAP"] - base[seed]["mAP"] for seed, found in by_seed.items() if seed in base]
