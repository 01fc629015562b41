"""Folders of archives, numbers in names, random halves."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.datasets.layouts import inner_folder, match_names, random_half


def test_inner_folder_is_the_given_one_or_the_one_inside(tmp_path):
    (tmp_path / "VIPeR" / "cam_a").mkdir(parents=True)
    inside = str(tmp_path / "VIPeR")
    assert inner_folder(str(tmp_path), "VIPeR", holds="cam_a") == inside
    assert inner_folder(inside, "VIPeR", holds="cam_a") == inside
    with pytest.raises(ValueError, match=r"absent: no cam_a/ in it, nor in VIPeR/; give the folder"):
        inner_folder(str(tmp_path / "absent"), "VIPeR", holds="cam_a")


def test_names_that_do_not_match_are_refused():
    pattern = re.compile(r"(\d+)_(-?\d+)")
    assert match_names(["/a/07_-1.png", "/a/1_20.png"], pattern, example="") == [
        ("/a/07_-1.png", (7, -1)),
        ("/a/1_20.png", (1, 20)),
    ]
    with pytest.raises(ValueError, match=r"/a/x_1\.png: 2 of 3 names are not like 1_2\.png; take these files out"):
        match_names(["/a/1_2.png", "/a/x_1.png", "/a/y.png"], pattern, example="1_2.png")


def test_random_half_as_defined():
    order = np.random.default_rng((7, 3)).permutation([2, 4, 5, 9, 11])
    assert random_half([9, 2, 11, 5, 4], seed=7, split=3) == set(order[:2].tolist())


@given(st.sets(st.integers(1, 10_000), min_size=1, max_size=60), st.integers(0, 9), st.randoms(use_true_random=False))
def test_random_half_does_not_depend_on_the_order(identities, split, shuffler):
    identities = sorted(identities)
    shuffled = shuffler.sample(identities, len(identities))
    half = random_half(identities, seed=1, split=split)
    assert random_half(shuffled, seed=1, split=split) == half
    assert half <= set(identities)
    assert len(half) == len(identities) // 2


def test_partitions_and_seeds_differ():
    halves = [frozenset(random_half(range(1, 101), seed=seed, split=split)) for seed in (1, 2) for split in range(10)]
    assert len(set(halves)) == 20
