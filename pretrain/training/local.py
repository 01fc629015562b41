"""A run in this process, without Ray: for sweeps and studies, where starting workers would take longer than training.

It takes the very steps that Ray Train's workers take together.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cluster import storage
from cluster.values import to_json
from pretrain.config import PretrainConfig
from pretrain.data.feed import to_batch
from pretrain.data.frame_pairs import ClipTable, LoadSamples, collate, total_steps
from pretrain.data.sampler import Share
from pretrain.models.encoder import Encoder, make_encoder
from pretrain.models.initial import read_initial
from pretrain.models.precision import dtype_of
from pretrain.training import checkpoint
from pretrain.training.record import MetricsLog, record_of
from pretrain.training.run_folder import record_folder, refuse_other_run
from pretrain.training.step import Learner

Look = Callable[[int, Encoder], Mapping[str, float]]


class StepBatches(Dataset[dict[str, Tensor]]):
    """The batch of each remaining step."""

    def __init__(self, table: ClipTable, config: PretrainConfig, share: Share) -> None:
        self.table, self.config, self.share = table, config, share
        self._load: LoadSamples | None = None

    def __len__(self) -> int:
        return self.share.total_steps - self.share.first_step

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        # Made here, in the process that reads: open files do not travel.
        self._load = self._load or LoadSamples(self.table, to_json(self.config), self.share)
        size = self.share.size
        return collate(self._load({"id": np.arange(position * size, (position + 1) * size)}))


def train_here(
    config: PretrainConfig, table: ClipTable, out: str, *, look: Look | None = None
) -> tuple[Learner, list[dict[str, Any]]]:
    """Run or resume a training in this process.

    Args:
        config: The run; its number of workers is of no account.
        table: The clips.
        out: The run directory; checkpoints are ``out/checkpoints/STEP``.
        look: Called before each checkpoint with the step and the encoder in evaluation mode; what it returns becomes
            part of the record.

    Returns:
        The learner as it ended, and the records that were made by this call.
    """
    torch.set_num_threads(config.cpus_per_worker)
    tensors, model = read_initial(config.start, config.model, seed=config.seed)
    config = replace(config, model=model)
    mine = {"config": to_json(config), "num_clips": len(table)}
    refuse_other_run(out, config, mine)
    storage.write_json(storage.join(out, "config.json"), mine)
    device = torch.device("cuda" if config.use_gpu else "cpu")
    encoder = make_encoder(config.model, seed=config.seed)
    encoder.load_state_dict(tensors)
    learner = Learner(
        config,
        total_steps=total_steps(config, table),
        device=device,
        wrapped=encoder.to(device, dtype_of(config.precision)),
    )
    step = _restore(out, learner)
    records: list[dict[str, Any]] = []
    with record_folder(out) as folder:
        log = MetricsLog(folder)
        for columns in _batches(config, table, step, learner.total_steps):
            step += 1
            metrics = learner.step(to_batch(columns, device), step)
            is_saving = step % config.checkpoint_every == 0 or step == learner.total_steps
            if is_saving or step % config.log_every == 0:
                if is_saving and look:
                    metrics = {**metrics, **look(step, learner.module.eval())}
                records.append(record_of(step, metrics))
                log.write(records[-1])
            if is_saving:  # after the record: what is done again is recorded again, what is not must be there
                _save(out, learner, step, keep=config.keep_checkpoints)
    return learner, records


def newest(out: str) -> str | None:
    """Return the newest complete checkpoint of a run in one process; None if there is none."""
    files = storage.list_files(storage.join(out, "checkpoints"), ("state.json",))
    folders = [location.rpartition("/")[0] for location in files]
    # A name that begins with a dot is of a folder that was never finished.
    return max((folder for folder in folders if not storage.name_of(folder).startswith(".")), default=None)


def _batches(config: PretrainConfig, table: ClipTable, step: int, total: int) -> Iterator[dict[str, Tensor]]:
    share = Share(rank=0, processes=1, per_step=config.batch_pairs, first_step=step, total_steps=total)
    readers = config.data_workers if config.use_gpu else 0
    yield from DataLoader(
        StepBatches(table, config, share),
        batch_size=None,
        num_workers=readers,
        pin_memory=config.use_gpu,
        multiprocessing_context="spawn" if readers else None,
    )


def _restore(out: str, learner: Learner) -> int:
    location = newest(out)
    if location is None:
        return 0
    with storage.local_copy(location) as folder:
        return checkpoint.load_checkpoint(folder, learner)


def _save(out: str, learner: Learner, step: int, *, keep: int) -> None:
    """Write a checkpoint, whole or not at all, and remove those that are too old."""
    location = storage.join(out, "checkpoints", f"{step:09d}")
    with storage.folder_to_publish(location, replaces="state.json") as folder:
        checkpoint.save_checkpoint(folder, learner, step)
    found = {name.rpartition("/")[0] for name in storage.list_files(storage.join(out, "checkpoints"))}
    for old in sorted(found)[:-keep]:
        storage.remove(old)
