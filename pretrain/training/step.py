"""One training step: forward, loss, backward, agree, clip, update. Knows nothing of Ray."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pretrain.config import OptimizerConfig, PretrainConfig
from pretrain.distributed import collectives
from pretrain.losses.isr import Batch, LossTerms, batch_loss
from pretrain.models.encoder import Encoder
from pretrain.models.precision import autocast
from pretrain.training.health import alignment, effective_rank, embedding_deviation, reliability_histogram, uniformity
from pretrain.training.schedules import beta_after_warmup, warmup_cosine

SPARED = ("cls_token", "pos_embed", "relative_position_bias_table")
"""Parameters of ViT and Swin that are added to values, as biases are, though they have several dimensions."""


def make_optimizer(
    model: nn.Module, config: OptimizerConfig, rates: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Make the optimiser; weight decay only on matrices and kernels: biases and norms are one-dimensional.

    On a GPU, one kernel updates many parameters.

    Args:
        model: Whose parameters learn.
        config: Kind, rate and decay.
        rates: By what the rate of some parameters is multiplied, by the start of their name; a group has it as
            ``rate``, for whoever sets ``lr`` at each step.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found = [rate for start, rate in (rates or {}).items() if name.removeprefix("module.").startswith(start)]
            is_decayed = parameter.ndim > 1 and name.rpartition(".")[2] not in SPARED
            groups.setdefault((found[0] if found else 1.0, is_decayed), []).append(parameter)
    made = [
        {"params": parameters, "weight_decay": config.weight_decay if is_decayed else 0.0, "rate": rate}
        for (rate, is_decayed), parameters in sorted(groups.items(), key=lambda group: not group[0][1])
    ]
    is_fused = all(parameter.is_cuda for parameters in groups.values() for parameter in parameters) or None
    if config.kind == "sgd":
        return torch.optim.SGD(made, lr=config.learning_rate, momentum=0.9, nesterov=True, fused=is_fused)
    return torch.optim.AdamW(made, lr=config.learning_rate, fused=is_fused)


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


def require_finite(step: int, remedy: str, **sums: Tensor) -> None:
    """Stop all processes together: one that stopped alone would leave the others waiting in a collective.

    Raises:
        FloatingPointError: On every process, if a sum is not finite on any of them.
    """
    bad = (~torch.isfinite(torch.stack(list(sums.values())))).any().float()
    if collectives.sum_over_ranks(bad).item() > 0:
        values = ", ".join(f"{name.replace('_', ' ')} {value.item()}" for name, value in sums.items())
        raise FloatingPointError(
            f"step {step}, rank {collectives.rank()}: {values} (not finite on some rank); "
            f"stopped before the update. {remedy}"
        )


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


REMEDY = "Lower optimizer.learning-rate or raise loss.tau"


class Learner:
    """Holds what a run changes: the encoder and the optimiser."""

    def __init__(self, config: PretrainConfig, *, total_steps: int, device: torch.device, wrapped: nn.Module) -> None:
        """Set up a run.

        Args:
            config: The run.
            total_steps: Steps of the whole run; drives the schedules.
            device: Where the encoder lives.
            wrapped: The encoder, or `DistributedDataParallel` around it.
        """
        self.config = config
        self.total_steps = total_steps
        self.device = device
        self.wrapped = wrapped
        self.optimizer = make_optimizer(wrapped, config.optimizer)
        if config.compile:
            self.module.compile()  # in place, at its first call: names of parameters stay, any wrapper calls it

    @property
    def module(self) -> Encoder:
        """The encoder without any wrapper."""
        module = getattr(self.wrapped, "module", self.wrapped)
        assert isinstance(module, Encoder)
        return module

    def progress(self) -> dict[str, float]:
        """Nothing: the schedule follows from the step."""
        return {}

    def go_on(self, progress: dict[str, float]) -> None:
        """Take up nothing."""
        assert not progress, "of another kind of learner"

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
            FloatingPointError: On every process, before the update, if an embedding, the loss or the gradient norm is
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
        if step % config.log_every == 0 or step == self.total_steps:
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
