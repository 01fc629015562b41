"""Pooled maps against their loop."""

import numpy as np
import pytest

from evaluation.qaconv.pooling import pool


def pool_as_loop(maps, height, weight, stripes):
    width, pooled = maps.shape[1] // height, []
    for n in range(len(maps)):
        means = []
        for s in range(stripes):
            rows = range(s * height // stripes, (s + 1) * height // stripes)
            total = sum(weight[x] * maps[n, x].astype(float) for x in range(maps.shape[1]) if x // width in rows)
            means.append(total / (np.linalg.norm(total) or 1))
        pooled.append(np.concatenate(means) / np.linalg.norm(np.concatenate(means)))
    return np.array(pooled)


@pytest.mark.parametrize(("height", "stripes"), [(6, 1), (6, 4), (3, 3), (1, 1)])
@pytest.mark.parametrize("block", [1, 10**6])
def test_equals_the_loop_of_the_docstring(height, stripes, block, monkeypatch):
    monkeypatch.setattr("evaluation.qaconv.pooling.BLOCK_ENTRIES", block)
    rng = np.random.default_rng(0)
    maps, weight = rng.normal(size=(5, 12, 7)).astype(np.float16), rng.uniform(0, 1, 12).astype(np.float32)
    found = pool(maps, height=height, weight_L=weight, stripes=stripes)
    np.testing.assert_allclose(found, pool_as_loop(maps, height, weight, stripes), atol=1e-6)


def test_an_empty_stripe_stays_empty_and_an_empty_map_is_refused():
    maps, weight = np.ones((2, 4, 3), np.float32), np.ones(4, np.float32)
    maps[1, :2] = 0
    found = pool(maps, height=2, weight_L=weight, stripes=2)
    assert found[1, :3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    maps[1] = 0
    with pytest.raises(ValueError, match="map 1 is zero or not finite"):
        pool(maps, height=2, weight_L=weight, stripes=2)


@pytest.mark.parametrize(("height", "stripes", "count"), [(3, 1, 4), (2, 3, 4), (2, 0, 4), (2, 2, 5)])
def test_what_does_not_fit_is_refused(height, stripes, count):
    with pytest.raises(ValueError, match="maps of 4 locations cannot be pooled with"):
        pool(np.ones((1, 4, 3)), height=height, weight_L=np.ones(count, np.float32), stripes=stripes)
