"""A projection keeps neighbours together, ignores norms, and is the same every time."""

import importlib.util

import numpy as np
import pytest

from evaluation.report.projection import project


def groups(num_groups=4, size=20, seed=0):
    """Features in narrow groups around orthogonal directions, in random order, and the group of each."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(num_groups), size))
    return (np.eye(8)[group] + 0.05 * rng.normal(size=(len(group), 8))).astype(np.float32), group


def test_neighbours_stay_together():
    feature, group = groups()
    rows, xy = project(feature)
    np.testing.assert_array_equal(rows, np.arange(80))
    assert xy.shape == (80, 2)
    assert xy.dtype == np.float32
    distance = np.linalg.norm(xy[:, None] - xy, axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(group[distance.argmin(axis=1)], group)


def test_equal_for_equal_input_whatever_the_norms():
    feature, _ = groups()
    rows, xy = project(feature, max_images=30, seed=1)
    assert len(rows) == 30
    assert (np.diff(rows) > 0).all()
    again_rows, again = project(feature * 4, max_images=30, seed=1)
    np.testing.assert_array_equal(rows, again_rows)
    np.testing.assert_array_equal(xy, again)
    assert not np.array_equal(rows, project(feature, max_images=30, seed=2)[0])


def test_five_images_are_enough_and_four_are_not():
    feature, _ = groups()
    assert np.isfinite(project(feature[:5])[1]).all()
    with pytest.raises(ValueError, match=r"at least 5 images of 2 components, got \[4, 8\]"):
        project(feature[:4])
    with pytest.raises(ValueError, match=r"got \[80, 8\] with max_images 3"):
        project(feature, max_images=3)
    with pytest.raises(ValueError, match=r"got \[80, 1\]"):
        project(np.ones((80, 1), np.float32))
    with pytest.raises(ValueError, match="1 projected features are zero or not finite"):
        project(np.concatenate([feature, np.zeros((1, 8), np.float32)]))


@pytest.mark.skipif(importlib.util.find_spec("umap") is not None, reason="umap-learn is installed")
def test_umap_names_the_package_that_it_needs():
    with pytest.raises(ValueError, match="pip install umap-learn"):
        project(groups()[0], method="umap")
