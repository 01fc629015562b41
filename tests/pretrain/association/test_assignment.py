"""Matching: brute force and what it promises; numbers in names are the promises of METHOD.md 5.4."""

import itertools

import numpy as np
import pytest

from pretrain.association.assignment import match, match_batch

SHAPES = [(1, 1), (1, 6), (6, 1), (2, 5), (4, 3), (5, 5), (6, 6)]


def random_similarity(num_rows, num_columns, seed=0):
    return np.random.default_rng((num_rows, num_columns, seed)).uniform(-1, 1, (num_rows, num_columns))


def matched(similarity, **options):
    return set(zip(*(index.tolist() for index in match(np.asarray(similarity, float), **options)), strict=True))


def weight(similarity, pairs):
    return sum(similarity[i][j] for i, j in pairs)


def brute_force(similarity):
    """The docstring's loop: the best of all one-to-one sets of min(N, M) pairs."""
    if similarity.shape[0] > similarity.shape[1]:
        similarity = similarity.T
    num_rows, num_columns = similarity.shape
    columns = itertools.permutations(range(num_columns), num_rows)
    return max(sum(similarity[i, j] for i, j in enumerate(chosen)) for chosen in columns)


def greedy(similarity):
    pairs = set()
    for flat in np.argsort(-similarity, axis=None):
        i, j = divmod(int(flat), similarity.shape[1])
        if all(i != k and j != m for k, m in pairs):
            pairs.add((i, j))
    return pairs


# Property 1.
@pytest.mark.parametrize("shape", SHAPES)
def test_1_matching_is_one_to_one_and_weighs_what_brute_force_finds(shape):
    for seed in range(3):
        similarity = random_similarity(*shape, seed)
        pairs = matched(similarity)
        assert len(pairs) == len({i for i, _ in pairs}) == len({j for _, j in pairs}) == min(shape)
        assert weight(similarity, pairs) == pytest.approx(brute_force(similarity), abs=1e-12)
        assert weight(similarity, pairs) >= weight(similarity, greedy(similarity)) - 1e-12


# Property 1.
@pytest.mark.parametrize("shape", SHAPES)
def test_1_transposing_and_permuting_move_the_matching_along(shape):
    similarity = random_similarity(*shape)
    pairs = matched(similarity)
    assert matched(similarity.T) == {(j, i) for i, j in pairs}
    order = np.random.default_rng(1).permutation(shape[1])
    assert {(i, int(order[j])) for i, j in matched(similarity[:, order])} == pairs


# Property 1.
def test_1_the_best_sum_beats_the_best_single_pair():
    similarity = np.array([[0.90, 0.80], [0.85, 0.10]])
    assert greedy(similarity) == {(0, 0), (1, 1)}
    assert matched(similarity) == {(0, 1), (1, 0)}


# Property 2.
def test_2_a_constant_per_row_or_column_of_a_square_changes_nothing():
    similarity, offset = random_similarity(5, 5), np.random.default_rng(2).normal(size=5)
    assert matched(similarity + offset[:, None]) == matched(similarity + offset) == matched(similarity)


# Property 2.
def test_2_of_a_rectangle_that_holds_for_the_side_which_is_used_up():
    similarity = random_similarity(3, 5)
    assert matched(similarity + np.array([[2.0], [-1], [0.5]])) == matched(similarity)
    # On the other side a constant decides who is left over.
    assert (
        {j for _, j in matched(similarity + np.array([9, 0, 9, 9, 0]))}
        == {0, 2, 3}
        != {j for _, j in matched(similarity)}
    )


# Property 12.
def test_12_negative_similarities_are_matched_too():
    similarity = [[0.9, 0.1], [0.2, -0.8]]
    assert matched(similarity) == {(0, 1), (1, 0)}
    assert weight(similarity, matched(similarity)) == pytest.approx(0.3)
    assert matched([[-0.1, -0.2]]) == {(0, 0)}


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_side_has_no_matches(shape):
    rows, columns = match(np.zeros(shape))
    assert (rows.dtype, columns.dtype, len(rows), len(columns)) == (np.int64, np.int64, 0, 0)


def test_rows_increase():
    rows, _ = match(random_similarity(6, 4))
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_similarities_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="embeddings hold NaN or infinity"):
        match(np.array([[0.5, bad]]))


def unit(seed, count, size=4):
    values = np.random.default_rng(seed).normal(size=(count, size))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("min_similarity", [None, 0.2])
def test_a_batch_is_its_pairs_one_by_one(min_similarity):
    x_counts, y_counts = [2, 0, 3, 1, 0], [3, 2, 2, 0, 0]
    x, y = unit(0, 6), unit(1, 7)
    expected = []
    for pair in range(5):
        x_start, y_start = sum(x_counts[:pair]), sum(y_counts[:pair])
        similarity = x[x_start : x_start + x_counts[pair]] @ y[y_start : y_start + y_counts[pair]].T
        rows, columns = match(similarity)
        for i, j in zip(rows, columns, strict=True):
            if min_similarity is None or similarity[i, j] >= min_similarity:
                expected.append((x_start + i, y_start + j, pair))
    found = match_batch(x, y, x_counts, y_counts, min_similarity=min_similarity)
    assert list(zip(found.x_index, found.y_index, found.pair, strict=True)) == expected
    assert len(expected) == (4 if min_similarity is None else 3)


def test_a_batch_without_frame_pairs_has_no_matches():
    found = match_batch(unit(0, 0), unit(0, 0), [], [])
    assert [len(part) for part in (found.x_index, found.y_index, found.pair)] == [0, 0, 0]


def test_counts_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="counts of 2 and 2 pairs sum to 3 and 4, embeddings are 4 and 4"):
        match_batch(unit(0, 4), unit(1, 4), [1, 2], [2, 2])
    with pytest.raises(ValueError, match="counts of 2 and 1 pairs"):
        match_batch(unit(0, 4), unit(1, 4), [2, 2], [4])
