"""A training in this process, without Ray: for sweeps and studies, where starting workers would take longer than it.

It takes the very steps that Ray Train's workers take together, and leaves the same record and the same checkpoints.
"""

from typing import Any

import torch

from pretrain.data.sampler import Share
from pretrain.data.source import read_here
from pretrain.training.checkpoint import publish, restore
from pretrain.training.job import Job
from pretrain.training.learner import Learner
from pretrain.training.loop import Look, take_steps
from pretrain.training.record import MetricsLog
from pretrain.training.run_folder import record_folder


class LocalReporter:
    """Writes the record and the checkpoints of a run in this process."""

    def __init__(self, log: MetricsLog, out: str, *, keep: int) -> None:
        self.log, self.out, self.keep = log, out, keep
        self.records: list[dict[str, Any]] = []
        self._saved = 0

    def report(self, record: dict[str, Any], learner: Learner | None) -> None:
        """Keep a record, and write a checkpoint after it."""
        self.records.append(record)
        self.log.write(record)
        if learner is not None:
            publish(self.out, learner, record["step"], records=self.records[self._saved :], keep=self.keep)
            self._saved = len(self.records)


def run_here(job: Job, out: str, *, look: Look | None = None) -> tuple[Learner, list[dict[str, Any]]]:
    """Run or resume a training in this process.

    Args:
        job: The training; its number of workers is of no account.
        out: The run directory.
        look: Judges the network before each checkpoint.

    Returns:
        The learner as it ended, and the records that were made by this call.
    """
    scale = job.config.scale
    torch.set_num_threads(scale.cpus_per_worker)
    device = torch.device("cuda" if scale.use_gpu else "cpu")
    learner = job.make_learner(device, lambda module: module.to(device))
    step = restore(out, learner)
    with record_folder(out) as folder, MetricsLog(folder) as log:
        reporter = LocalReporter(log, out, keep=scale.keep_checkpoints)
        if step < learner.total_steps:
            share = Share(rank=0, processes=1, per_step=job.per_step, first_step=step, total_steps=learner.total_steps)
            batches = read_here(job, share, device, readers=scale.data_workers)
            take_steps(learner, batches, scale, reporter, step=step, look=look)
    return learner, reporter.records
