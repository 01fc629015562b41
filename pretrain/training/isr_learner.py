"""One step of ISR: forward, match, loss, backward, agree, clip, update. Knows nothing of Ray."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pretrain.config.run import PretrainConfig
from pretrain.data import batch as batches
from pretrain.data.batch import Batch
from pretrain.distributed import collectives
from pretrain.losses.isr import LossTerms, batch_loss
from pretrain.models.encoder import Encoder
from pretrain.models.precision import autocast
from pretrain.training.health import (
    alignment,
    effective_rank,
    embedding_deviation,
    reliability_histogram,
    uniformity,
)
from pretrain.training.learner import Learner, require_finite
from pretrain.training.optimizer import make_optimizer
from pretrain.training.schedules import beta_after_warmup, warmup_cosine

REMEDY = "Lower optimizer.learning-rate or raise loss.temperature"


class IsrLearner(Learner):
    """Learns an encoder from matched crops of frame pairs."""

    config: PretrainConfig

    def __init__(self, config: PretrainConfig, *, total_steps: int, device: torch.device, wrapped: nn.Module) -> None:
        """Set up a run; see `Learner`."""
        optimizer = make_optimizer(wrapped, config.optimizer)
        super().__init__(config, total_steps=total_steps, device=device, wrapped=wrapped, optimizer=optimizer)
        if config.scale.compile:
            self.module.compile()  # in place, at its first call: names of parameters stay, any wrapper calls it

    @property
    def module(self) -> Encoder:
        """The encoder without any wrapper."""
        module = super().module
        assert isinstance(module, Encoder)
        return module

    def to_batch(self, columns: dict[str, Tensor]) -> Batch:
        """Augment the crops on the device; see `pretrain.data.batch.to_batch`."""
        return batches.to_batch(columns, self.device)

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Do one optimiser step.

        A GPU is kept busy: the crops are matched on the CPU while it embeds them for training, and whether numbers are
        finite is asked once, before the update.

        Args:
            batch: Frame pairs of this process.
            step: Number of the step, from 1.

        Returns:
            Metrics by name, detached scalars, equal on all processes.

        Raises:
            DivergedError: On every process, before the update, if an embedding, the loss or the gradient norm is
                not finite on any of them.
        """
        config = self.config
        rate = config.optimizer.learning_rate * warmup_cosine(
            step, total_steps=self.total_steps, warmup_fraction=config.optimizer.warmup_fraction
        )
        beta = beta_after_warmup(step, beta=config.loss.beta, warmup_steps=config.loss.beta_warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        clean = self._judge(batch) if config.loss.match_on == "clean" else None
        self.wrapped.train()
        with autocast(self.device, config.precision):
            embedding = self.wrapped(batch.images.to(self.device, non_blocking=True))
        judged, on_host = clean or (embedding.detach(), to_host(embedding.detach()))
        # What is not finite cannot be matched; this process keeps up with the others until all of them stop.
        known = np.nan_to_num(on_host(), posinf=0.0, neginf=0.0)
        terms = batch_loss(embedding, judged, batch, config.loss, beta=beta, on_host=known)
        self.optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel averages gradients over processes; the loss is a sum of their shares.
        (terms.loss * collectives.world_size()).backward()
        norm = nn.utils.clip_grad_norm_(self.wrapped.parameters(), config.optimizer.max_gradient_norm)
        sums = {"embedding": embedding.detach().sum(), "matched_embedding": judged.sum()}
        require_finite(step, REMEDY, **sums, loss=terms.total, gradient_norm=norm)
        self.optimizer.step()
        found = {
            "loss/total": terms.total,
            "pairs/count": terms.count,
            "pairs/similarity": terms.similarity_mean,
            "pairs/accuracy": terms.accuracy,
            "reliability/mean": terms.reliability_mean,
            "reliability/effective_share": terms.effective_share,
            "reliability/beta": torch.tensor(beta),
            "grad/norm": norm.detach(),
            "optimizer/learning_rate": torch.tensor(rate),
        }
        if batch.identities is not None and (batch.identities >= 0).any():
            found["pairs/precision"] = terms.precision
        if step % config.scale.log_every == 0 or step == self.total_steps:
            found |= _health(embedding.detach(), terms)
        return found

    @torch.no_grad()
    def _judge(self, batch: Batch) -> tuple[Tensor, Callable[[], NDArray[np.floating]]]:
        """Embed the clean crops as a user would: augmentation and batch statistics only blur who is who.

        Returns:
            The embeddings, and how to get them on the host.
        """
        self.module.eval()
        # A block of its own: autocast caches what it casts, and casts of this pass carry no gradient.
        with autocast(self.device, self.config.precision):
            judged = self.module(batch.clean.to(self.device, non_blocking=True))
        return judged, to_host(judged)


def to_host(values: Tensor) -> Callable[[], NDArray[np.floating]]:
    """Start to copy values without gradient to the host.

    Returns:
        Waits for the copy alone, not for what the device was given to do after it.
    """
    if values.device.type != "cuda":
        return values.cpu().numpy
    there = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    there.copy_(values, non_blocking=True)
    is_done = torch.cuda.Event()
    is_done.record(torch.cuda.current_stream(values.device))

    def wait() -> NDArray[np.floating]:
        is_done.synchronize()
        return there.numpy()

    return wait


def _health(embedding: Tensor, terms: LossTerms) -> dict[str, Tensor]:
    """What tells of collapse and of drowned pairs, on this process's batch; see `pretrain.training.health`."""
    histogram = reliability_histogram(terms.reliability).float() / max(1, len(terms.reliability))
    return {
        "embedding/effective_rank": effective_rank(embedding),
        "embedding/deviation": embedding_deviation(embedding),
        "embedding/alignment": alignment(*terms.matched),
        "embedding/uniformity": uniformity(embedding),
        **{f"reliability/share_from_{bin / len(histogram):.1f}": share for bin, share in enumerate(histogram)},
    }
