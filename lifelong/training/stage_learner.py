"""One step of a stage: forward, gather, terms by name, backward, agree, clip, update. Knows nothing of Ray."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lifelong.data.feed import COLUMNS, Batch
from lifelong.losses.compatibility import previous_stage_only
from lifelong.models.network import LifelongModel, Outputs
from lifelong.stages.config import StageConfig
from lifelong.training.batch_view import Bank, BatchView, Past
from lifelong.training.objective import stage_terms, weighted_sum
from pretrain.distributed import collectives
from pretrain.models.precision import at_least_single, autocast, dtype_of
from pretrain.training.learner import Learner, require_finite
from pretrain.training.optimizer import make_optimizer
from pretrain.training.schedules import AdaptiveSchedule, late_decay, warmup_cosine

REMEDY = "Lower optimizer.learning-rate or a weight of loss"


class StageLearner(Learner):
    """Holds what a stage changes, the network and the optimiser, and what it may not change: the past."""

    config: StageConfig

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
        steps_per_epoch: float = 1.0,
        before_epoch: Callable[[int, LifelongModel], None] | None = None,
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
            steps_per_epoch: How long a pass of the sampler is, for schedules that count epochs.
            before_epoch: Called at the end of each epoch but the last, with the number of the next, from 0, and the
                network.
        """
        optimizer = make_optimizer(wrapped, config.optimizer, {"encoder.": config.encoder_rate})
        super().__init__(config, total_steps=total_steps, device=device, wrapped=wrapped, optimizer=optimizer)
        self.stage = stage
        self.steps_per_epoch = steps_per_epoch
        self.before_epoch = before_epoch or (lambda epoch, model: None)
        self._adaptive = AdaptiveSchedule(max(1, self._epoch(total_steps) + 1))
        self._epoch_loss, self._epoch_start = torch.zeros((), device=device), 0
        needs = config.loss.needs()
        uses_teacher = teacher is not None and config.loss.uses_teacher
        self.teacher = teacher.to(device).eval().requires_grad_(False) if teacher and uses_teacher else None
        self.past = Past(
            bank=_on(bank, config, device) if bank is not None and "bank" in needs else None,
            frozen_CD=self.module.classifier.detach().clone() if teacher and "classifier before" in needs else None,
            part_head=self.teacher.part_head if self.teacher else None,
        )

    @property
    def module(self) -> LifelongModel:
        """The network without any wrapper."""
        module = super().module
        assert isinstance(module, LifelongModel)
        return module

    def to_batch(self, columns: dict[str, Tensor]) -> Batch:
        """Name a batch's columns."""
        return Batch(**{name: columns[name] for name in COLUMNS})

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
            DivergedError: On every process, before the update, if a number is not finite on any of them.
        """
        config = self.config
        rate = config.optimizer.learning_rate * self._factor(step)
        rate *= config.later_rate if self.stage > 1 else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self._set_modes()
        images = batch.images.to(self.device, non_blocking=True)
        [counts] = collectives.counts_over_ranks(self.device, len(images))
        with autocast(self.device, config.precision):
            outputs = _gather(self.wrapped(images), counts)
        before = self._look_back(images, counts)
        label = collectives.gather_with_gradient(batch.label.to(self.device), counts)
        is_replay = collectives.gather_with_gradient(batch.is_replay.to(self.device).long(), counts).bool()
        require_finite(step, REMEDY, embedding=outputs.embedding_BD.detach().sum())
        view = BatchView(
            outputs=outputs,
            before=before,
            label_B=label,
            is_replay_B=is_replay,
            past=self.past,
            model=self.module,
            config=config.loss,
        )
        terms = stage_terms(view)
        total = weighted_sum(terms, config.loss)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = self._clip()
        require_finite(step, REMEDY, loss=total.detach(), gradient_norm=norm)
        self.optimizer.step()
        self._end_step(step, total.detach())
        accuracy = (outputs.logit_BC.detach().argmax(dim=1) == label).float().mean()
        return {
            "loss/total": total.detach(),
            **{f"loss/{name}": value.detach() for name, value in terms.items()},
            "identity/accuracy": accuracy,
            "grad/norm": norm.detach(),
            "optimizer/learning_rate": torch.tensor(rate),
        }

    def progress(self) -> dict[str, float]:
        """Return what the adaptive schedule has found out, and the loss of the epoch so far."""
        if self.config.schedule != "adaptive":
            return {}
        return {**self._adaptive.state, "epoch_loss": float(self._epoch_loss), "epoch_start": self._epoch_start}

    def go_on(self, progress: dict[str, float]) -> None:
        """Take up what `progress` returned."""
        if progress:
            own = ("epoch_loss", "epoch_start")
            self._epoch_loss = torch.tensor(progress["epoch_loss"], device=self.device)
            self._epoch_start = int(progress["epoch_start"])
            self._adaptive.restore({name: value for name, value in progress.items() if name not in own})
            self._shorten()

    def _epoch(self, step: int) -> int:
        """Return the epoch of a step, from 0."""
        return int((step - 1) / self.steps_per_epoch)

    def _factor(self, step: int) -> float:
        """Return the share of the peak learning rate."""
        config = self.config
        if config.schedule == "adaptive":
            return self._adaptive.factor
        if config.schedule == "late-decay":
            return late_decay(self._epoch(step), total_epochs=max(2, self._epoch(self.total_steps) + 1))
        return warmup_cosine(step, total_steps=self.total_steps, warmup_fraction=config.optimizer.warmup_fraction)

    def _set_modes(self) -> None:
        self.wrapped.train()
        when = self.config.freeze_batch_norm
        if when == "always" or (when == "later" and self.stage > 1):
            _freeze_batch_norm(self.module.encoder)

    def _clip(self) -> Tensor:
        """Scale gradients down, those of the encoder apart from those of the heads if asked; return the whole norm."""
        limit = self.config.optimizer.max_gradient_norm
        parameters = dict(self.module.named_parameters())
        is_apart = self.config.clip == "apart"
        groups = [
            [value for name, value in parameters.items() if name.startswith("encoder.") == side or not is_apart]
            for side in ((True, False) if is_apart else (True,))
        ]
        return torch.stack([nn.utils.clip_grad_norm_(group, limit) for group in groups]).norm()

    def _end_step(self, step: int, loss: Tensor) -> None:
        """At the end of an epoch: adapt the schedule, and say that another epoch begins."""
        self._epoch_loss += loss
        if self._epoch(step + 1) == self._epoch(step):
            return
        if self.config.schedule == "adaptive":
            self._adaptive.end_epoch(float(self._epoch_loss) / (step - self._epoch_start))
            self._shorten()
        self._epoch_loss, self._epoch_start = torch.zeros_like(self._epoch_loss), step
        if step < self.total_steps:
            self.before_epoch(self._epoch(step + 1), self.module)

    def _shorten(self) -> None:
        """End the stage where the adaptive schedule says."""
        self.total_steps = min(self.total_steps, math.ceil(self._adaptive.last_epoch * self.steps_per_epoch))

    @torch.no_grad()
    def _look_back(self, images: Tensor, counts: list[int]) -> Outputs | None:
        """What the last model says of the same images, in evaluation mode."""
        if self.teacher is None:
            return None
        # A block of its own: autocast caches what it casts, and casts of this pass carry no gradient.
        uses_batch = self.config.teacher_statistics == "batch"
        with autocast(self.device, self.config.precision), _batch_statistics(self.teacher, wanted=uses_batch):
            return _gather(self.teacher(images), counts)


def _gather(found: dict[str, Tensor], counts: list[int]) -> Outputs:
    whole = {name: collectives.gather_with_gradient(at_least_single(part), counts) for name, part in found.items()}
    return Outputs.of(whole)


def _freeze_batch_norm(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


@contextmanager
def _batch_statistics(module: nn.Module, *, wanted: bool) -> Iterator[None]:
    """Let batch norm use the batch's statistics, and leave its own as they are."""
    norms = [part for part in module.modules() if wanted and isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for part in norms:
        part.training, part.track_running_stats = True, False
    try:
        yield
    finally:
        for part in norms:
            part.training, part.track_running_stats = False, True


def _on(bank: Bank, config: StageConfig, device: torch.device) -> Bank:
    kept = torch.ones(len(bank.label_M), dtype=torch.bool)
    if config.loss.bank == "previous":
        kept = previous_stage_only(bank.stage_M)
    feature_MD = bank.feature_MD.to(dtype_of(config.precision))
    return Bank(*(value[kept].to(device) for value in (feature_MD, bank.label_M, bank.stage_M)))
