"""What a GPU must do right, and how fast: ``python benchmarks/speed/gpu_checks.py``.

Needs torch, torchvision, timm, OpenCV, SciPy, safetensors, pyarrow and fsspec, tyro and rich, and no Ray. Each check is
run by itself: one that fails leaves its error in the JSON, and the command ends with 1.

- ``nccl``: three steps under `DistributedDataParallel` with NCCL's one rank, and the same without.
- ``resume``: six steps with fused AdamW, and three, a checkpoint, and three more in a new learner. What two equal runs
  differ by is beside it: kernels on a GPU sum in no fixed order.
- ``precision``: 50 steps in bfloat16 and in float32 from the same weights and batches.
- ``embedding``: images per second of `BackboneEmbedder`, of its model alone, and of that in bfloat16.
- ``retrieval``: mAP with and without re-ranking, distances on the GPU against the CPU's.
- ``qaconv``: scores on the GPU against the CPU's, and pairs per second.
- ``street``: with ``--clips`` and ``--street``: ISR from those clips, and what it finds of unseen people.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])  # the folder of this file otherwise

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from benchmarks.provenance import Watch
from pretrain.config.run import PretrainConfig
from pretrain.config.scale import ScaleConfig, scaled
from pretrain.data.batch import Batch
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.models.precision import Precision, autocast
from pretrain.training.checkpoint import load_checkpoint, save_checkpoint
from pretrain.training.isr_learner import IsrLearner

CROPS, PEOPLE = 4, 48
"""Crops of a frame, and how many people there are."""
STEPS = 50
Found = dict[str, Any]


def people_batch(options: argparse.Namespace, step: int) -> Batch:
    """Make frame pairs of drawn people: blocks of colours of their own, with noise; they can be told apart."""
    draw = torch.Generator().manual_seed(1000 + step)
    height, width, pairs = options.height, options.width, options.batch // (2 * CROPS)
    looks = torch.rand((PEOPLE, 3, 8, 4), generator=torch.Generator().manual_seed(0))
    who = torch.stack([torch.randperm(PEOPLE, generator=draw)[:CROPS] for _ in range(pairs)])

    def view() -> Tensor:
        found = torch.nn.functional.interpolate(looks[who.flatten()], (height, width)) + 0.3 * torch.randn(
            (pairs * CROPS, 3, height, width), generator=draw
        )
        return (255 * found.clamp(0, 1)).to(torch.uint8)

    first, second = view(), view()
    both = torch.cat([first, second])
    counts, places = [CROPS] * pairs, torch.arange(pairs * CROPS)
    videos, seconds = torch.arange(pairs) % 6, 600 * torch.rand(pairs, dtype=torch.float64, generator=draw)
    return Batch(both, both, counts, counts, videos, seconds, followed=(places, places))


def learner_of(
    options: argparse.Namespace, *, precision: Precision = "auto", wrap: Callable[[Any], Any] | None = None
) -> IsrLearner:
    """Make a learner with AdamW."""
    config = PretrainConfig(
        recipe="gpu-checks",
        batch_pairs=options.batch // (2 * CROPS),
        precision=precision,
        scale=ScaleConfig(use_gpu=options.device == "cuda"),
        model=ModelConfig(architecture=options.architecture, height=options.height, width=options.width),
    )
    device = torch.device(options.device)
    encoder = make_encoder(config.model, seed=0).to(device)
    wrapped = wrap(encoder) if wrap else encoder
    return IsrLearner(config, total_steps=STEPS, device=device, wrapped=wrapped)


def losses_of(learner: IsrLearner, options: argparse.Namespace, *, steps: range) -> list[float]:
    """Take steps, and return their losses."""
    return [learner.step(people_batch(options, step), step)["loss/total"].item() for step in steps]


def largest_gap(one: list[float], other: list[float]) -> float:
    """Return by how much two records of losses differ at most."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def check_nccl(options: argparse.Namespace) -> Found:
    """Compare a wrapped network, its messages going through the backend, with the network alone."""
    backend = "nccl" if options.device == "cuda" else "gloo"
    alone = losses_of(learner_of(options, precision="float32"), options, steps=range(1, 4))
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            wrapped = learner_of(options, precision="float32", wrap=DistributedDataParallel)
            together = losses_of(wrapped, options, steps=range(1, 4))
        finally:
            dist.destroy_process_group()
    gap = largest_gap(alone, together)
    return {"backend": backend, "losses": together, "largest_gap": gap, "passed": gap < 1e-2}


def check_resume(options: argparse.Namespace) -> Found:
    """Compare a run with the same run that was stopped in its middle."""
    through = learner_of(options)
    expected = losses_of(through, options, steps=range(1, 7))
    again = losses_of(learner_of(options), options, steps=range(1, 7))
    first, second = learner_of(options), learner_of(options)
    losses = losses_of(first, options, steps=range(1, 4))
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(folder, first, 3)
        step = load_checkpoint(folder, second)
    losses += losses_of(second, options, steps=range(4, 7))
    moments = [
        (parameter.stride(), state["exp_avg"].stride())
        for parameter, state in second.optimizer.state.items()
        if state["exp_avg"].shape == parameter.shape
    ]
    noise, gap = largest_gap(expected, again), largest_gap(expected, losses)
    return {
        "fused": second.optimizer.defaults.get("fused"),
        "step": step,
        "losses": losses,
        "largest_gap": gap,
        "gap_of_equal_runs": noise,
        "strides_alike": all(one == other for one, other in moments),
        "passed": step == 3 and gap < max(4 * noise, 1e-2),
    }


def check_precision(options: argparse.Namespace) -> Found:
    """Compare losses in bfloat16 with those in float32."""
    found = {
        precision: losses_of(learner_of(options, precision=precision), options, steps=range(1, STEPS + 1))
        for precision in ("auto", "float32")
    }
    ends = {name: statistics.mean(losses[-10:]) for name, losses in found.items()}
    gap = abs(ends["auto"] - ends["float32"])
    return {
        "first_loss": found["float32"][0],
        "mean_of_last_10": ends,
        "largest_gap": largest_gap(found["auto"], found["float32"]),
        "passed": gap < 0.1 * found["float32"][0],
    }


def check_embedding(options: argparse.Namespace) -> Found:
    """Measure images per second, from arrays of the model's size to features on the host."""
    from pretrain.models.embedder import BackboneEmbedder

    config = ModelConfig(architecture=options.architecture, height=options.height, width=options.width)
    device, count = torch.device(options.device), 8 * options.batch
    encoder = make_encoder(config, seed=0).to(device).eval()
    embedder = BackboneEmbedder(encoder, config, "bench")
    images = list(np.random.default_rng(0).integers(0, 256, (count, options.height, options.width, 3), np.uint8))
    there = torch.from_numpy(np.stack(images[:128])).permute(0, 3, 1, 2).to(device)

    def alone(precision: Precision) -> None:
        with torch.inference_mode(), autocast(device, precision):
            for _ in range(count // 128 or 1):
                encoder(there)

    steps: dict[str, Callable[[], object]] = {
        "embedder": lambda: embedder.embed(images),
        "model alone, float32": lambda: alone("float32"),
        "model alone, bfloat16": lambda: alone("auto"),
    }
    rates = {name: count / seconds_of(step, options.device) for name, step in steps.items()}
    ratio = rates["embedder"] / rates["model alone, float32"]
    return {"images_per_second": rates, "ratio_of_float32": ratio, "passed": True}


def seconds_of(step: Callable[[], object], device: str, *, repeats: int = 3) -> float:
    """Return the median time of a step, after one that does not count."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    taken = []
    for _ in range(repeats + 1):
        wait()
        start = time.perf_counter()
        step()
        wait()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def check_retrieval(options: argparse.Namespace) -> Found:
    """Compare scores from distances of the device with those of the CPU's."""
    from benchmarks.speed.retrieval import make_labels
    from evaluation.features.table import Features
    from evaluation.metrics.protocols import MARKET
    from evaluation.scoring.problem import make_problem
    from evaluation.scoring.ranking import CosineMatcher, RankingConfig
    from evaluation.scoring.scores import score

    queries, gallery = (3368, 15913) if options.device == "cuda" else (60, 400)
    rng = np.random.default_rng(0)
    labels = make_labels(rng, num_queries=queries, num_gallery=gallery, num_identities=gallery // 20, num_cameras=6)
    identity = np.concatenate([labels.query_identity, labels.gallery_identity])
    looks = np.random.default_rng(1).standard_normal((identity.max() + 1, 256), np.float32)
    total = queries + gallery
    features = Features(
        feature=looks[identity] + 3 * rng.standard_normal((total, 256), np.float32),
        identity=identity,
        camera=np.concatenate([labels.query_camera, labels.gallery_camera]),
        time_seconds=np.full(total, np.nan),
        path=np.array([f"{row}.jpg" for row in range(total)], object),
        split=np.repeat(np.array(["query", "gallery"], object), [queries, gallery]),
        model_fingerprint=np.full(total, "bench", object),
    )
    problem = make_problem(features, MARKET)
    found: Found = {"queries": queries, "gallery": gallery}
    for name, ranking in {"plain": RankingConfig(), "re-ranked": RankingConfig(rerank=True)}.items():
        for device in dict.fromkeys(("cpu", options.device)):
            start = time.perf_counter()
            result = score(problem, matcher=CosineMatcher(problem.images, device), ranking=ranking)
            found[f"{name}, {device}"] = {"mAP": result.mAP, "seconds": time.perf_counter() - start}
    gaps = [
        abs(found[f"{name}, cpu"]["mAP"] - found[f"{name}, {options.device}"]["mAP"]) for name in ("plain", "re-ranked")
    ]
    return {**found, "largest_gap": max(gaps), "passed": max(gaps) < 1e-4}


def check_qaconv(options: argparse.Namespace) -> Found:
    """Compare scores of the device with those of the CPU."""
    from evaluation.qaconv.head import QAConvHead
    from evaluation.qaconv.scores import Precision as MapPrecision
    from evaluation.qaconv.scores import raw_scores

    count = 512 if options.device == "cuda" else 8
    draw = np.random.default_rng(0)
    maps = draw.normal(size=(count, 192, 128)).astype(np.float32)
    maps /= np.linalg.norm(maps, axis=2, keepdims=True)
    head = QAConvHead.uniform(192)
    few = maps[:8]
    expected = raw_scores(few, few, head)
    found: Found = {}
    tolerances: dict[MapPrecision, float] = {"float32": 2e-3, "bfloat16": 1e-2}
    for dtype, tolerance in tolerances.items():
        got = raw_scores(few, few, head, dtype=dtype, device=options.device)
        seconds = seconds_of(
            lambda d=dtype: raw_scores(maps, maps, head, dtype=d, device=options.device), options.device
        )
        found[dtype] = {
            "largest_gap": float(np.abs(got - expected).max()),
            "pairs_per_second": count**2 / seconds,
            "passed": bool(np.abs(got - expected).max() < tolerance),
        }
    return {**found, "passed": all(one["passed"] for one in found.values())}


def check_street(options: argparse.Namespace) -> Found:
    """Learn from clips, and find unseen people; the encoder with its first weights is beside it."""
    from pretrain.data.clip_table import load_clip_table
    from pretrain.recipes import find_recipe
    from pretrain.runs import train_here
    from pretrain.validation.labelled import labelled_scores

    base = find_recipe("isr-tiny")()
    model = replace(base.model, architecture=options.architecture, height=options.height, width=options.width)
    model = replace(model, embedding_size=512)
    optimizer = replace(base.optimizer, learning_rate=options.learning_rate)
    config = replace(base, recipe="street-on-a-gpu", epochs=options.epochs, model=model, optimizer=optimizer)
    config = scaled(
        config,
        use_gpu=options.device == "cuda",
        data_workers=options.data_workers,
        cpus_per_worker=2,
        log_every=10,
        checkpoint_every=100_000,
    )
    device = torch.device(options.device)
    first = labelled_scores(options.street, make_encoder(config.model, seed=config.seed).to(device).eval(), config)
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        learner, records = train_here(config, load_clip_table(options.clips), out)
        seconds = time.perf_counter() - start
    start = time.perf_counter()
    scores = labelled_scores(options.street, learner.module.eval(), config)
    embedding_seconds = time.perf_counter() - start
    names = ("step", "loss/total", "pairs/similarity", "pairs/accuracy", "images_per_second", "data/wait_share")
    last = records[-1]
    return {
        "first": first,
        "scores": scores,
        "steps": learner.total_steps,
        "seconds": seconds,
        "embedding_seconds": embedding_seconds,
        "last_record": {name: value for name, value in last.items() if isinstance(value, (int, float))},
        "course": [
            {name: one[name] for name in names if name in one} for one in records[:: max(1, len(records) // 10)]
        ],
        "passed": scores["mAP"] > first["mAP"],
    }


CHECKS: dict[str, Callable[[argparse.Namespace], Found]] = {
    "nccl": check_nccl,
    "resume": check_resume,
    "precision": check_precision,
    "embedding": check_embedding,
    "retrieval": check_retrieval,
    "qaconv": check_qaconv,
    "street": check_street,
}


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", nargs="+", choices=tuple(CHECKS), help="all if not given; street needs clips")
    parser.add_argument("--batch", type=int, default=256, help=f"crops of a step, a multiple of {2 * CROPS}")
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--clips", default="", help="clips directory of a drawn street")
    parser.add_argument("--street", default="", help="folder of that street's retrieval split")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--data-workers", type=int, default=12)
    options = parser.parse_args(arguments)
    if options.batch < 1 or options.batch % (2 * CROPS):
        parser.error(f"--batch must be a multiple of {2 * CROPS}, got {options.batch}")
    if bool(options.clips) != bool(options.street):
        parser.error("--clips and --street go together")
    options.checks = options.checks or [name for name in CHECKS if name != "street" or options.clips]
    return options


def main(arguments: list[str]) -> int:
    """Run the checks, print JSON, and return the exit code."""
    options, watch = read_options(arguments), Watch()
    found: dict[str, Found] = {}
    for name in options.checks:
        start = time.perf_counter()
        try:
            found[name] = CHECKS[name](options)
        except Exception as error:  # the others are still worth their time on a machine that is lent for minutes
            traceback.print_exc()
            found[name] = {"passed": False, "error": f"{type(error).__name__}: {error}"}
        found[name]["check_seconds"] = round(time.perf_counter() - start, 1)
        print(f"{name}: {'passed' if found[name]['passed'] else 'FAILED'}", file=sys.stderr)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(
        json.dumps(
            {"provenance": watch.provenance(), "device": device, "options": vars(options), "checks": found}, indent=2
        )
    )
    return 0 if all(one["passed"] for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
