"""One step of a stage: forward, gather, terms by name, backward, agree, clip, update. Knows nothing of Ray."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lifelong.config import StageConfig
from lifelong.losses.compatibility import previous_stage_only
from lifelong.training.model import LifelongModel, Outputs
from lifelong.training.objective import Bank, Past, stage_terms, weighted_sum
from pretrain import collectives
from pretrain.schedules import warmup_cosine
from pretrain.step import autocast, make_optimizer, require_finite

REMEDY = "Lower optimizer.learning-rate or a weight of loss"


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of this process."""

    images: Tensor
    """uint8 [B, 3, H, W], augmented."""
    label: Tensor
    """int64 [B], row of the classifier."""
    is_replay: Tensor
    """bool [B], whether an image comes from the memory."""


class StageLearner:
    """Holds what a stage changes, the network and the optimiser, and what it may not change: the past."""

    def __init__(
        self,
        config: StageConfig,
        *,
        stage: int,
        total_steps: int,
        device: torch.device,
        wrapped: nn.Module,
        teacher: LifelongModel | None = None,
        bank: Bank | None = None,
    ) -> None:
        """Set up a stage.

        Args:
            config: Of the stage.
            stage: Its number, from 1.
            total_steps: Of the stage; drives the schedule.
            device: Where the network lives.
            wrapped: The `LifelongModel` as the stage begins, or `DistributedDataParallel` around it.
            teacher: The last stage's network; it is frozen here. None in the first stage.
            bank: Features of earlier stages.
        """
        self.config = config
        self.stage = stage
        self.total_steps = total_steps
        self.device = device
        self.wrapped = wrapped
        self.optimizer = make_optimizer(wrapped, config.optimizer)
        uses_teacher = teacher is not None and config.loss.uses_teacher
        self.teacher = teacher.to(device).eval().requires_grad_(False) if teacher and uses_teacher else None
        self.past = Past(
            bank=_on(bank, config, device) if bank is not None and config.loss.compatibility else None,
            frozen_CD=self.module.classifier.detach().clone() if teacher and config.loss.influence else None,
            part_head=self.teacher.part_head if self.teacher else None,
        )

    @property
    def module(self) -> LifelongModel:
        """The network without any wrapper."""
        module = getattr(self.wrapped, "module", self.wrapped)
        assert isinstance(module, LifelongModel)
        return module

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Do one optimiser step.

        Every process computes the loss of the whole batch from everybody's outputs, so that hardest pairs and relations
        do not depend on how many processes there are; gradients return to the process that an output came from, and
        their mean over processes, which `DistributedDataParallel` takes, is the gradient of that loss.

        Args:
            batch: Images of this process.
            step: Number of the step, from 1.

        Returns:
            Metrics by name, detached scalars, equal on all processes.

        Raises:
            FloatingPointError: On every process, before the update, if a number is not finite on any of them.
        """
        config = self.config
        rate = config.optimizer.learning_rate * warmup_cosine(
            step, total_steps=self.total_steps, warmup_fraction=config.optimizer.warmup_fraction
        )
        rate *= config.later_rate if self.stage > 1 else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.wrapped.train()
        if config.freeze_batch_norm and self.stage > 1:
            for module in self.wrapped.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        images = batch.images.to(self.device, non_blocking=True)
        counts = collectives.counts_over_ranks(len(images), self.device)
        with autocast(self.device):
            outputs = _gather(self.wrapped(images), counts)
        before = self._look_back(images, counts)
        label = collectives.gather_with_gradient(batch.label.to(self.device), counts)
        is_replay = collectives.gather_with_gradient(batch.is_replay.to(self.device).long(), counts).bool()
        require_finite(step, REMEDY, embedding=outputs.embedding_BD.detach().sum())
        terms = stage_terms(outputs, before, label, is_replay, self.past, self.module.part_head, config.loss)
        total = weighted_sum(terms, config.loss)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.wrapped.parameters(), config.optimizer.max_gradient_norm)
        require_finite(step, REMEDY, loss=total.detach(), gradient_norm=norm)
        self.optimizer.step()
        accuracy = (outputs.logit_BC.detach().argmax(dim=1) == label).float().mean()
        return {
            "loss/total": total.detach(),
            **{f"loss/{name}": value.detach() for name, value in terms.items()},
            "identity/accuracy": accuracy,
            "grad/norm": norm.detach(),
            "optimizer/learning_rate": torch.tensor(rate),
        }

    @torch.no_grad()
    def _look_back(self, images: Tensor, counts: list[int]) -> Outputs | None:
        """What the last model says of the same images, in evaluation mode."""
        if self.teacher is None:
            return None
        # A block of its own: autocast caches what it casts, and casts of this pass carry no gradient.
        with autocast(self.device):
            return _gather(self.teacher(images), counts)


def _gather(parts: tuple[Tensor, ...], counts: list[int]) -> Outputs:
    return Outputs(*(collectives.gather_with_gradient(part.float(), counts) for part in parts))


def _on(bank: Bank, config: StageConfig, device: torch.device) -> Bank:
    kept = torch.ones(len(bank.label_M), dtype=torch.bool)
    if config.loss.bank == "previous":
        kept = previous_stage_only(bank.stage_M)
    return Bank(*(value[kept].to(device) for value in (bank.feature_MD, bank.label_M, bank.stage_M)))
