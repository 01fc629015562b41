"""Who computes a run, and how often it is told: all that may change when a run goes on."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cluster.values import require

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleConfig:
    """Processes, machines and reports. What is learned does not depend on them; a run's identity is all the rest."""

    workers: int = 1
    """Training processes, one GPU each where there are GPUs."""
    min_workers: int = 0
    """If set: the run is elastic. It goes on with as few processes when machines are lost, and grows to `workers`
    again when there are more; every step still has the same samples. 0: exactly `workers`."""
    cpus_per_worker: int = 1
    """Logical CPUs of a training worker, and its threads where there is no GPU."""
    data_workers: int = 1
    """Processes that read and decode images, for each training worker and on its machine; each takes a CPU."""
    use_gpu: bool = False
    """One GPU for every training worker, and for every embedding one; there, products of matrices are in bf16."""
    compile: bool = False
    """Whether the encoder is compiled by torch.compile: a minute at the start, and faster steps on a GPU."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the last step always writes one."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints stay."""
    log_every: int = 10
    """Steps between lines of metrics."""
    max_failures: int = 3
    """Restarts of the training workers before the run gives up."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in (
            "workers",
            "cpus_per_worker",
            "data_workers",
            "checkpoint_every",
            "keep_checkpoints",
            "log_every",
        ):
            require(getattr(self, name) >= 1, name.replace("_", "-"), ">= 1", getattr(self, name))
        require(self.max_failures >= 0, "max-failures", ">= 0", self.max_failures)
        require(0 <= self.min_workers <= self.workers, "min-workers", f"in [0, {self.workers}]", self.min_workers)


def scaled(config: Config, **changes: Any) -> Config:
    """Return a run's configuration, of any kind, with some fields of its `scale` changed."""
    any_config: Any = config
    return replace(any_config, scale=replace(any_config.scale, **changes))


def identity(config: Config) -> Config:
    """Return a configuration, a frozen dataclass, without its `scale`, which may change when its run goes on."""
    any_config: Any = config
    return replace(any_config, scale=ScaleConfig())
