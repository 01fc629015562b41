"""Sweeps over settings of a pretraining: each trial is a whole run in one process, judged on clips it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster import session, storage
from cluster.errors import InputError
from cluster.sweep.report import write_sweep
from cluster.sweep.search_space import draw_trials, read_space
from cluster.sweep.trials import Reporter, claim_sweep
from cluster.sweep.tune import Halving, require_applied, sweep
from cluster.values import override, require, to_json
from evaluation.datasets.registry import read_dataset
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import scaled
from pretrain.data.clip_table import load_clip_table
from pretrain.models.encoder import Encoder
from pretrain.runs import train_here
from pretrain.training.checkpoint import newest, read_state
from pretrain.training.record import read_metrics
from pretrain.validation.heldout import HeldOut, split_clips
from pretrain.validation.labelled import labelled_scores

LABEL_FREE = "heldout/mrr"
LABELLED = "mAP"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """How trials are judged, and which of them go on."""

    validate: str = ""
    """Labelled dataset, NAME:FOLDER, whose mAP decides. Empty: matched partners of held-out clips must find each other
    (mean reciprocal rank), which needs no labels."""
    heldout_share: float = 0.2
    """Share of each video's time, at its end, that no trial learns from."""
    gap_seconds: float = 10.0
    """People of one video this far apart in time are others; also left out between training and held-out clips."""
    reports: int = 9
    """How often a trial is judged; its settings of checkpoints are of no account."""
    halving: bool = True
    """Whether poor trials are stopped early (asynchronous successive halving)."""
    grace_reports: int = 1
    """Judgements before a trial may be stopped."""
    reduction_factor: float = 3.0
    """One in so many goes on at each rung."""
    samples: int = 8
    """Trials with drawn values, for each combination of listed ones."""
    max_concurrent: int = 0
    """Trials at once; 0: as many as fit."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        require(0 < self.heldout_share < 1, "heldout-share", "in (0, 1)", self.heldout_share)
        require(self.gap_seconds >= 0, "gap-seconds", ">= 0", self.gap_seconds)
        require(1 <= self.grace_reports <= self.reports, "grace-reports", "in [1, reports]", self.grace_reports)
        require(self.reduction_factor > 1, "reduction-factor", "> 1", self.reduction_factor)
        require(self.samples >= 1 and self.max_concurrent >= 0, "samples", ">= 1", self.samples)

    @property
    def metric(self) -> str:
        """By which trials are ordered, the largest first."""
        return LABELLED if self.validate else LABEL_FREE


class Trial:
    """One run with some settings."""

    def __init__(self, base: PretrainConfig, clips: str, config: SweepConfig) -> None:
        self.base, self.clips, self.config = base, clips, config

    def __call__(self, settings: dict[str, Any], reporter: Reporter) -> dict[str, float]:
        """Train, report at each judgement, and check that the checkpoint holds what was asked for."""
        training, heldout = split_clips(
            load_clip_table(self.clips), share=self.config.heldout_share, gap_seconds=self.config.gap_seconds
        )
        made = override(self.base, settings)
        steps = made.total_steps(len(training))
        made = scaled(made, checkpoint_every=max(1, steps // self.config.reports))
        judge = HeldOut(heldout, self.base, gap_seconds=self.config.gap_seconds)

        def look(step: int, encoder: Encoder) -> dict[str, float]:
            found = judge(step, encoder)
            if self.config.validate:
                found |= labelled_scores(self.config.validate, encoder, made)
            reporter.report(step, found)
            return found

        train_here(made, training, reporter.folder, look=look)
        checkpoint = newest(reporter.folder)
        assert checkpoint is not None, "a finished run has a checkpoint"
        with storage.local_copy(checkpoint) as folder:
            saved, _ = read_state(folder, PretrainConfig)
        require_applied(settings, to_json(saved))
        last = read_metrics(reporter.folder)[-1]
        return {name: value for name, value in last.items() if name != "step"}


def sweep_pretraining(
    base: PretrainConfig, clips: str, out: str, config: SweepConfig, *, over: Sequence[str], space: str = ""
) -> list[dict[str, Any]]:
    """Run a sweep, or what is missing of it, and write tables, a picture and ``best.json``.

    Args:
        base: The run, where nothing else is tried.
        clips: A clips directory.
        out: Where trials and results go.
        config: How trials are judged.
        over: What is tried, see `cluster.sweep.search_space.read_space`.
        space: A file of more of it.

    Returns:
        Settings, metrics and folder of each trial, the best first.

    Raises:
        InputError: If a setting is unknown or refused, the clips cannot be used, or `out` holds another sweep.
    """
    if config.validate:
        read_dataset(config.validate, any_counts=True)  # else a wrong folder fails every trial, after it has trained
    axes = read_space(over, space)
    trials = draw_trials(axes, samples=config.samples, seed=base.seed)
    training, _ = split_clips(load_clip_table(clips), share=config.heldout_share, gap_seconds=config.gap_seconds)
    # A wrong name or value is found before anything runs.
    steps = max(override(base, settings).total_steps(len(training)) for settings in trials)
    mine = {"config": to_json(base), "clips": clips, "sweep": to_json(config), "over": list(over), "space": space}
    claim_sweep(out, mine, writes=False)
    session.connect()
    claim_sweep(out, mine, writes=True)  # only what can start takes the folder
    halving = None
    if config.halving:
        grace = max(1, steps // config.reports) * config.grace_reports
        halving = Halving(max_steps=steps, grace_steps=grace, reduction_factor=config.reduction_factor)
    found = sweep(
        Trial(base, clips, config),
        trials,
        out,
        metric=config.metric,
        cpus=base.scale.cpus_per_worker,
        gpus=1 if base.scale.use_gpu else 0,
        halving=halving,
        max_concurrent=config.max_concurrent or None,
    )
    write_sweep(out, found, metric=config.metric, over=axes)
    return found


def with_best(config: PretrainConfig, location: str) -> PretrainConfig:
    """Return a configuration with the settings of a ``best.json``.

    Raises:
        InputError: If the file is none, or its settings are not of this configuration.
    """
    location = storage.resolve(location)
    if not storage.exists(location):
        raise InputError(f"{location} does not exist; --settings takes the best.json of python -m pretrain sweep")
    found = storage.read_json(location)
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise InputError(f"{location} has no settings; give the best.json of python -m pretrain sweep")
    return override(config, found["settings"])
