"""What of the encoder's speed is left in a whole training step, on a GPU: ``python benchmarks/speed/gpu_rows.py``.

A machine with torch, torchvision, numpy and scipy is enough: nothing is installed, and neither Ray nor a clips
directory is needed. Crops are noise, four of each frame; on a GPU everything is in bfloat16 and channels last.

For each kind of step, images per second:

- ``encoder``: forward, backward and update of the encoder alone, the crops on the device.
- ``step``: `pretrain.training.isr_learner.IsrLearner.step`, so matching, loss, clipping and checks as well; with
  clean crops judged in a pass of their own, or with the augmented ones judged, which costs no pass.
- ``step from the host``: the same, from crops in the host's memory, which are moved and augmented in each step.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])  # the folder of this file otherwise

import numpy as np
import torch

from benchmarks.provenance import Watch
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig
from pretrain.data.augment import apply_changes, draw_changes
from pretrain.data.batch import Batch
from pretrain.data.config import PairConfig
from pretrain.losses.config import LossConfig
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.models.precision import autocast
from pretrain.training.isr_learner import IsrLearner

TARGET = 0.95
"""Of ``step from the host`` over ``encoder`` with the augmented crops judged."""
ROUNDS = 3
"""How often all kinds are measured, in turn: what the machine does meanwhile hits all alike."""
WARM_UP = 3
"""Steps before; the first compiles, if anything is compiled."""
CROPS = 4
"""Crops of each frame."""
MATCH_ON = ("augmented", "clean")

Step = Callable[[], object]


def make_learner(options: argparse.Namespace, match_on: str, *, is_compiled: bool) -> IsrLearner:
    """Make a learner of the default recipe's kind."""
    config = PretrainConfig(
        recipe="gpu-rows",
        batch_pairs=options.batch // (2 * CROPS),
        scale=ScaleConfig(use_gpu=options.device == "cuda", compile=is_compiled),
        model=ModelConfig(architecture=options.architecture, height=options.height, width=options.width),
        loss=LossConfig(match_on=match_on),  # pyright: ignore[reportArgumentType] - one of MATCH_ON
    )
    device = torch.device(options.device)
    return IsrLearner(config, total_steps=100_000, device=device, wrapped=make_encoder(config.model, seed=0).to(device))


def make_crops(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Make crops in the host's memory, pinned for a GPU as a run's are, and draw how they are augmented."""
    shape = (options.batch, 3, options.height, options.width)
    clean = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    changes = draw_changes(PairConfig(), options.batch, height=options.height, width=options.width, rng=rng)
    return clean.pin_memory() if options.device == "cuda" else clean, torch.from_numpy(changes)


def make_batch(images: torch.Tensor, clean: torch.Tensor) -> Batch:
    """Join two views of the same crops to a batch; six videos, at times far apart."""
    pairs = len(images) // (2 * CROPS)
    seconds = 600 * torch.rand(pairs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    counts, places = [CROPS] * pairs, torch.arange(pairs * CROPS)
    return Batch(images, clean, counts, counts, torch.arange(pairs) % 6, seconds, followed=(places, places))


def encoder_step(learner: IsrLearner, images: torch.Tensor) -> Step:
    """Return a step of the encoder alone."""

    def step() -> None:
        learner.wrapped.train()
        with autocast(learner.device):
            embedding = learner.wrapped(images)
        learner.optimizer.zero_grad(set_to_none=True)
        embedding.backward(torch.ones_like(embedding))
        learner.optimizer.step()

    return step


def whole_step(learner: IsrLearner, make: Callable[[], Batch]) -> Step:
    """Return a whole step, with the batch made in it."""
    count = iter(range(1, learner.total_steps + 1))
    return lambda: learner.step(make(), next(count))


def steps_of(options: argparse.Namespace, *, is_compiled: bool) -> dict[str, Step]:
    """Return all kinds of steps by name."""
    host, changes = make_crops(options)
    device = torch.device(options.device)
    there = host.to(device)
    ready = make_batch(apply_changes(there, changes), there)

    def from_host() -> Batch:
        moved = host.to(device, non_blocking=True)
        return make_batch(apply_changes(moved, changes), moved)

    steps = {"encoder": encoder_step(make_learner(options, "augmented", is_compiled=is_compiled), there)}
    for match_on in MATCH_ON:
        learner = make_learner(options, match_on, is_compiled=is_compiled)
        steps[f"step, {match_on} judged"] = whole_step(learner, lambda: ready)
        learner = make_learner(options, match_on, is_compiled=is_compiled)
        steps[f"step from the host, {match_on} judged"] = whole_step(learner, from_host)
    return steps


def seconds_of(step: Step, number: int, device: str) -> float:
    """Time some steps, until the device has done them."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(number):
        step()
    wait()
    return time.perf_counter() - start


def measure(options: argparse.Namespace, *, is_compiled: bool) -> dict[str, dict[str, float]]:
    """Return images per second of each kind of step, and what that is of the encoder's."""
    steps = steps_of(options, is_compiled=is_compiled)
    for step in steps.values():
        seconds_of(step, WARM_UP, options.device)
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            seconds = seconds_of(step, options.steps, options.device)
            rates[name].append(options.batch * options.steps / seconds)
    found: dict[str, dict[str, float]] = {}
    for name, rate in rates.items():
        ratios = [own / encoder for own, encoder in zip(rate, rates["encoder"], strict=True)]
        found[name] = {
            "images_per_second": statistics.median(rate),
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
    return found


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512, help=f"crops of a step, a multiple of {2 * CROPS}")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed together")
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--compile", choices=("yes", "no", "both"), help="both on a GPU, no on a CPU, if not given")
    options = parser.parse_args(arguments)
    if options.batch < 1 or options.batch % (2 * CROPS):
        parser.error(f"--batch must be a multiple of {2 * CROPS}, got {options.batch}")
    options.compile = options.compile or ("both" if options.device == "cuda" else "no")
    return options


def main(arguments: list[str]) -> None:
    """Measure, and print JSON."""
    options, watch = read_options(arguments), Watch()
    kinds = {"plain": False, "compiled": True}
    chosen = {"both": ("plain", "compiled"), "yes": ("compiled",), "no": ("plain",)}[options.compile]
    rows = {name: measure(options, is_compiled=kinds[name]) for name in chosen}
    found = {
        "provenance": watch.provenance(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "options": vars(options),
        "target": TARGET,
        "rows": rows,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
