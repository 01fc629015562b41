"""QAConv: pairs per second on the CPU against the plain form, and what a shortlist saves and loses."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.pooling import pool
from evaluation.qaconv.scores import Precision, raw_scores, score_chunks
from evaluation.qaconv.shortlist import agreement, shortlist_chunks
from pretrain.models.config import ModelConfig
from pretrain.models.encoder import make_encoder
from pretrain.street.cameras import make_camera
from pretrain.street.config import StreetConfig, generator
from pretrain.street.people import make_person
from pretrain.street.scene import Scene
from pretrain.street.walks import retrieval_walks

SPEED_BUDGET = 4.0
AGREEMENT_BUDGET = 0.99
PAIRS_BUDGET = 100.0
REPEATS = 15
LOCATIONS, CHANNELS = 192, 128
"""Of the published maps at 384x128."""

CANDIDATES = 100
QUERIES = 200
PEOPLE, TRAINING_PEOPLE = 330, 150
"""330 people give a gallery of 11,000 to 13,000 crops before five cameras."""
TRAINING_SEED = 100
STEPS = 300
HEIGHT, WIDTH = 64, 32
MAP_HEIGHT, MAP_LOCATIONS = 8, 32


def speed_against_einsum(dtype: Precision, *, queries: int = 1, candidates: int = 100) -> dict[str, float]:
    """Pairs per second of `raw_scores` over those of einsum, max and concatenation, as the authors' code does it."""
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(n, LOCATIONS, CHANNELS)).astype(np.float32) for n in (queries, candidates))
    for maps in (query, gallery):
        maps /= np.linalg.norm(maps, axis=2, keepdims=True)
    head = QAConvHead.uniform(LOCATIONS)
    query_PCS, gallery_GCR = (torch.from_numpy(maps).transpose(1, 2).contiguous() for maps in (query, gallery))
    weight = torch.from_numpy(np.concatenate(head.weights))

    def plain() -> Tensor:
        S = torch.einsum("pcs,gcr->pgrs", query_PCS, gallery_GCR)
        return torch.cat((S.max(dim=2)[0], S.max(dim=3)[0]), dim=-1) @ weight

    def ours() -> NDArray[np.float32]:
        return raw_scores(query, gallery, head, dtype=dtype)

    np.testing.assert_allclose(ours(), plain().numpy(), rtol=1e-5 if dtype == "float32" else 2e-3)
    plain_seconds, our_seconds = [], []
    for _ in range(REPEATS):
        plain_seconds.append(_seconds(plain))
        our_seconds.append(_seconds(ours))
    ratios = [plain / ours for plain, ours in zip(plain_seconds, our_seconds, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "microseconds_per_pair": 1e6 * statistics.median(our_seconds) / (queries * candidates),
        "plain_microseconds_per_pair": 1e6 * statistics.median(plain_seconds) / (queries * candidates),
    }


def shortlist_agreement(seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, float]:
    """Share of the exhaustive top 10 that a shortlist of 100 also has, and the pairs that it saves.

    The maps come from a small encoder that learns, on a street of its own, to tell people by their QAConv score. Each
    seed is another street: queries from camera 1, so that no query finds its own passage; the other cameras are the
    gallery. ``untrained`` is the same with random weights, whose maps hold little that sets images apart.
    """
    trained = MapEncoder()
    _train(trained, *_street(TRAINING_SEED, TRAINING_PEOPLE))
    found: list[float] = []
    untrained: list[float] = []
    saved: list[float] = []
    for seed in seeds:
        images, _, camera = _street(seed, PEOPLE)
        queries = np.random.default_rng(seed).permutation(np.flatnonzero(camera == 1))[:QUERIES]
        gallery = np.flatnonzero(camera != 1)
        saved.append(len(gallery) / CANDIDATES)
        for encoder, results in ((trained, found), (MapEncoder(), untrained)):
            results.append(_agreement(encoder.embed(images[queries]), encoder.embed(images[gallery])))
    return {
        "ratio": statistics.median(found),
        "lowest": min(found),
        "highest": max(found),
        "pairs_saved": min(saved),
        "untrained": statistics.median(untrained),
    }


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _agreement(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> float:
    head = QAConvHead.uniform(MAP_LOCATIONS)
    vectors = [pool(maps, height=MAP_HEIGHT, weight_L=head.query_weight) for maps in (query, gallery)]
    exact = np.concatenate([distance for _, distance in score_chunks(query, gallery, head)])
    short = [distance for _, distance in shortlist_chunks(query, gallery, vectors[0], vectors[1], head, k=CANDIDATES)]
    return agreement(exact, np.concatenate(short))


class MapEncoder(nn.Module):
    """The tiny backbone before its pooling, and the neck of QAConv: a 3x3 convolution."""

    def __init__(self) -> None:
        super().__init__()
        config = ModelConfig(architecture="tiny", height=HEIGHT, width=WIDTH, embedding_size=CHANNELS)
        self.encoder = make_encoder(config, seed=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.neck = nn.Conv2d(128, CHANNELS, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 [B, 3, 64, 32] to [B, 32, 128] with unit norm at each location."""
        pixels = ((images - self.encoder.mean) / self.encoder.std).contiguous(memory_format=torch.channels_last)
        backbone = self.encoder.backbone
        maps = backbone.blocks(functional.relu(backbone.bn1(backbone.conv1(pixels))))  # type: ignore[operator]
        return functional.normalize(self.neck(maps).flatten(2).transpose(1, 2), dim=2)

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map uint8 [N, 64, 32, 3] to [N, 32, 128], as at test time."""
        self.eval()
        with torch.inference_mode():
            parts = [self(_pixels(images[first : first + 256])).numpy() for first in range(0, len(images), 256)]
        return np.concatenate(parts)


def _pixels(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def _train(encoder: MapEncoder, images: NDArray[np.uint8], identity: NDArray, camera: NDArray) -> None:
    """Teach an encoder that a person seen by two cameras scores higher with herself than with 31 others."""
    rng, optimizer = np.random.default_rng(0), torch.optim.AdamW(encoder.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    people = [i for i in np.unique(identity) if len(np.unique(camera[identity == i])) > 1]
    encoder.train()
    for _ in range(STEPS):
        pairs = np.empty((2, 32), np.int64)
        for column, i in enumerate(rng.permutation(people)[:32]):
            seen = np.flatnonzero(identity == i)
            for row, number in enumerate(rng.permutation(np.unique(camera[seen]))[:2]):
                pairs[row, column] = rng.choice(seen[camera[seen] == number])
        query, gallery = encoder(_pixels(images[pairs.ravel()])).chunk(2)
        S = torch.einsum("plc,gmc->plgm", query, gallery)
        score = 10 * (S.amax(3).mean(1) + S.amax(1).mean(2))
        target = torch.arange(32)
        loss = functional.cross_entropy(score, target) + functional.cross_entropy(score.T, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _street(seed: int, people: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Draw a street: images [N, 64, 32, 3], identities, cameras. One crop of everybody in view each second."""
    cameras = range(1, StreetConfig().cameras + 1)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
        parts = list(workers.map(_camera_crops, repeat(seed), repeat(people), cameras))
    number = np.repeat(np.array(cameras), [len(images) for images, _ in parts])
    return np.concatenate([images for images, _ in parts]), np.concatenate([who for _, who in parts]), number


def _camera_crops(seed: int, people: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    cv2.setNumThreads(1)
    config = StreetConfig(seed=seed)
    camera, rng = make_camera(config.style, number), generator(config.style, seed, "benchmark", number)
    everybody = {i: make_person(config.style, seed, i) for i in range(1, people + 1)}
    walks = retrieval_walks(config, camera, everybody, spacing_seconds=2.6)
    scene = Scene(camera, walks, config.style, seed)
    end = max(walk.start_seconds + walk.seconds for walk in walks)
    images, identity = [], []
    for second in np.arange(min(walk.start_seconds for walk in walks), end):
        frame, seen = scene.frame(float(second))
        for one in (one for one in seen if one.visible >= 0.5):
            left, top, right, bottom = (rng.normal(0, 0.05, 4) * ([one.width, one.height] * 2)).tolist()
            x, y = max(0, round(one.left + left)), max(0, round(one.top + top))
            stop_x, stop_y = round(one.left + one.width + right), round(one.top + one.height + bottom)
            crop = frame[y : max(stop_y, y + 8), x : max(stop_x, x + 4), ::-1]
            images.append(cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
            identity.append(one.identity)
    return np.stack(images), np.array(identity)
