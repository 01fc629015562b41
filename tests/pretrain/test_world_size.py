"""A run is the same for any number of processes: from the clips on, three steps on one, two and four of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from pretrain.config.optimizer import OptimizerConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.batch import collate, to_batch
from pretrain.data.clip_table import load_clip_table
from pretrain.data.frame_pairs import LoadSamples
from pretrain.data.sampler import Share
from pretrain.distributed.batch_norm import synchronise_batch_norm
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.recipes import isr_tiny
from pretrain.training.isr_learner import IsrLearner
from tests.pretrain.ingest.films import write_clips_directory

pytestmark = pytest.mark.slow

STEPS = 3
CONFIG = replace(
    isr_tiny(),
    batch_pairs=6,  # not a multiple of four: two processes have one pair, two have two
    scale=ScaleConfig(log_every=1),
    model=ModelConfig(architecture="tiny", embedding_size=16, height=32, width=16),
    loss=replace(isr_tiny().loss, beta_warmup_steps=1),
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_fraction=0.0),
)
CPU = torch.device("cpu")


def trained(rank, world_size, clips):
    """Three steps of one process's share."""
    share = Share(rank=rank, processes=world_size, per_step=CONFIG.batch_pairs, first_step=0, total_steps=STEPS)
    load = LoadSamples(load_clip_table(clips), CONFIG.samples, share)
    # In double precision: of these clips, with few and similar people, single precision leaves three digits of a
    # gradient, and what is asked is whether the mathematics is the same.
    encoder = make_encoder(CONFIG.model, seed=0).double()
    if world_size > 1:
        encoder = DistributedDataParallel(synchronise_batch_norm(encoder))
    learner = IsrLearner(CONFIG, total_steps=STEPS, device=CPU, wrapped=encoder)
    metrics = []
    for step in range(STEPS):
        columns = collate(load(np.arange(step * share.size, (step + 1) * share.size)))
        found = learner.step(to_batch(columns, CPU), step + 1)
        metrics.append({name: found[name] for name in ("loss/total", "grad/norm", "pairs/count", "reliability/mean")})
    return {"metrics": metrics, "state": learner.module.state_dict()}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_clips_directory(tmp_path_factory.mktemp("clips")))


@pytest.fixture(scope="module")
def alone(clips):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield trained(0, 1, clips)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("world_size", [2, 4])
def test_steps_do_not_depend_on_how_many_processes_take_them(world_size, alone, clips, run_ranks):
    for found in run_ranks(trained, world_size, clips):
        torch.testing.assert_close(found["metrics"], alone["metrics"], rtol=1e-5, atol=1e-8)
        for name, value in alone["state"].items():
            torch.testing.assert_close(
                found["state"][name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
            )
