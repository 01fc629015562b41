"""The demo's retrieval split, of half the people: colour alone must not solve it, which is harder among fewer."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pretrain.demo.chain import DemoConfig, street_of
from pretrain.street import write_retrieval

pytestmark = pytest.mark.slow

DEMO = replace(street_of(DemoConfig()), test_identities=20)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retrieval")
    write_retrieval(DEMO, str(folder))
    return folder


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return normalised joint 8 x 8 x 8 colour histograms [N, 512], identities [N], cameras [N]."""
    paths = sorted(folder.iterdir())
    counts = [cv2.calcHist([cv2.imread(str(p))], [0, 1, 2], None, [8] * 3, [0, 256] * 3).reshape(-1) for p in paths]
    features = np.stack([count / count.sum() for count in counts])
    return features, np.array([int(p.name[:4]) for p in paths]), np.array([int(p.name[6]) for p in paths])


def test_sizes(split: Path):
    _, identities, cameras = load(split / "gallery")
    assert set(identities.tolist()) == set(range(DEMO.identities + 1, DEMO.identities + DEMO.test_identities + 1))
    assert set(cameras.tolist()) == set(range(1, 7))
    per_view = np.unique(np.stack([identities, cameras]), axis=1, return_counts=True)[1]
    assert per_view.mean() > 4
    views = len(per_view)
    assert 60 <= views <= 80
    assert len(list((split / "query").iterdir())) == pytest.approx(2 * views, rel=0.05)


def test_a_colour_histogram_is_better_than_chance_and_far_from_good(split: Path):
    query, query_identity, query_camera = load(split / "query")
    gallery, identity, camera = load(split / "gallery")
    hits, chances = [], []
    for feature, who, where in zip(query, query_identity, query_camera, strict=True):
        is_kept = ~((identity == who) & (camera == where))  # Market-1501's rule
        distance = np.abs(gallery[is_kept] - feature).sum(axis=1)
        is_match = identity[is_kept] == who
        hits.append(is_match[np.argmin(distance)])
        chances.append(is_match.mean())
    assert 3 * np.mean(chances) < np.mean(hits) < 0.6
