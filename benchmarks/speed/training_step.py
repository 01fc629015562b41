"""What matching, gathering and the loss cost on top of the encoder."""

import statistics
import time

import torch

from pretrain.config.run import PretrainConfig
from pretrain.data.batch import Batch
from pretrain.losses.isr import batch_loss
from pretrain.models.encoder import make_encoder
from pretrain.recipes import isr_tiny
from pretrain.training.isr_learner import IsrLearner

BUDGET = 0.05
REPEATS = 7
CROPS = 4
"""Crops of each frame."""


def loss_against_encoder(config: PretrainConfig | None = None) -> dict[str, float]:
    """Time of matching and loss, forward and backward, over forward and backward of the encoder alone."""
    config = config or isr_tiny()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    pairs, size = config.batch_pairs, config.model
    shape = (2 * pairs * CROPS, 3, size.height, size.width)
    images, clean = (torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator) for _ in range(2))
    seconds = 600 * torch.rand(pairs, dtype=torch.float64, generator=generator)
    places = torch.arange(pairs * CROPS)
    batch = Batch(
        images,
        clean,
        [CROPS] * pairs,
        [CROPS] * pairs,
        torch.arange(pairs) % 6,
        seconds,
        followed=(places, places),
    )
    encoder = make_encoder(config.model, seed=0).train()
    learner = IsrLearner(config, total_steps=1000, device=torch.device("cpu"), wrapped=encoder)
    learner.step(batch, 1)
    ratios: list[float] = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        embedding = encoder(images)
        embedding.backward(torch.ones_like(embedding))
        encode = time.perf_counter() - start
        leaf = embedding.detach().requires_grad_()
        start = time.perf_counter()
        batch_loss(leaf, leaf, batch, config.loss, beta=config.loss.beta).loss.backward()
        ratios.append((time.perf_counter() - start) / encode)
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
