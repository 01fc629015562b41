"""Reliabilities against the loops of their docstrings, their closed forms, and what they leave alone."""

import math

import pytest
import torch

from pretrain.association.assignment import LOST
from pretrain.association.reliability import (
    margin_reliability,
    mutual_reliability,
    similarity_reliability,
    track_reliability,
)

SHAPES = [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3), (4, 4)]


def example(num_rows, num_columns):
    generator = torch.Generator().manual_seed(num_rows * 10 + num_columns)
    similarity = torch.rand(num_rows, num_columns, generator=generator, dtype=torch.float64) * 2 - 1
    number = min(num_rows, num_columns)
    row = torch.randperm(num_rows, generator=generator)[:number]
    return similarity, row, torch.randperm(num_columns, generator=generator)[:number]


def softmax(values, chosen):
    return math.exp(values[chosen]) / sum(math.exp(value) for value in values)


def mutual_loop(similarity, row, column, temperature):
    values, result = similarity.tolist(), []
    for i, j in zip(row.tolist(), column.tolist(), strict=True):
        in_row = [value / temperature for value in values[i]]
        in_column = [line[j] / temperature for line in values]
        result.append(softmax(in_row, j) * softmax(in_column, i))
    return result


def margin_loop(similarity, row, column, temperature):
    values, result = similarity.tolist(), []
    for i, j in zip(row.tolist(), column.tolist(), strict=True):
        others = [v for k, v in enumerate(values[i]) if k != j] + [line[j] for k, line in enumerate(values) if k != i]
        lead = values[i][j] - max(others) if others else math.inf
        result.append(1 / (1 + math.exp(-lead / temperature)))
    return result


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(("function", "loop"), [(mutual_reliability, mutual_loop), (margin_reliability, margin_loop)])
def test_equals_the_loop_of_the_docstring(function, loop, shape, temperature):
    similarity, row, column = example(*shape)
    got = function(similarity, row, column, temperature=temperature)
    torch.testing.assert_close(
        got.double(), torch.tensor(loop(similarity, row, column, temperature)).double(), rtol=1e-5, atol=0
    )
    assert ((got > 0) & (got <= 1)).all()


@pytest.mark.parametrize("function", [mutual_reliability, margin_reliability])
def test_a_single_crop_on_both_sides_is_fully_reliable(function):
    one = torch.zeros(1, dtype=torch.int64)
    assert function(torch.tensor([[-0.7]]), one, one, temperature=0.1).tolist() == [1.0]


@pytest.mark.parametrize("function", [mutual_reliability, margin_reliability])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_side_gives_no_values(function, shape):
    none = torch.zeros(0, dtype=torch.int64)
    assert function(torch.zeros(shape), none, none, temperature=0.1).shape == (0,)


def test_two_candidates_that_are_equally_near_share_the_reliability():
    similarity = torch.tensor([[0.6, 0.6], [-1.0, -1.0]])
    own = torch.tensor([0])
    # The row cannot choose (1/2); the column can, by 1.6 / temperature.
    assert mutual_reliability(similarity, own, own, temperature=0.1).item() == pytest.approx(0.5 / (1 + math.exp(-16)))
    assert margin_reliability(similarity, own, own, temperature=0.1).item() == pytest.approx(0.5)


@pytest.mark.parametrize("function", [mutual_reliability, margin_reliability])
def test_swapping_the_frames_changes_nothing(function):
    similarity, row, column = example(3, 5)
    torch.testing.assert_close(
        function(similarity.T, column, row, temperature=0.2), function(similarity, row, column, temperature=0.2)
    )


def test_similarity_is_clamped_to_what_a_weight_may_be():
    assert similarity_reliability(torch.tensor([-0.5, 0.0, 0.25, 1.0, 1.0000001])).tolist() == [
        0.0,
        0.0,
        0.25,
        1.0,
        1.0,
    ]


@pytest.mark.parametrize(("given", "wanted"), [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_no_reliability_has_a_gradient(given, wanted):
    similarity, row, column = example(3, 3)
    similarity = similarity.to(getattr(torch, given)).requires_grad_()
    for got in (
        mutual_reliability(similarity, row, column, temperature=0.1),
        margin_reliability(similarity, row, column, temperature=0.1),
        similarity_reliability(similarity[row, column]),
    ):
        assert not got.requires_grad
        assert got.dtype == getattr(torch, wanted)


@pytest.mark.parametrize(
    ("followed_x", "followed_y", "expected"),
    [
        ([3], [LOST, LOST, LOST, 0], 1.0),
        ([LOST], [LOST] * 4, 0.5),
        ([2], [LOST, LOST, 0, LOST], 0.0),
        ([LOST], [LOST, LOST, LOST, 5], 0.0),
    ],
    ids=["the chain leads there", "no chain at either", "it leads elsewhere", "another's leads there"],
)
def test_boxes_speak_for_a_pair_against_it_or_not_at_all(followed_x, followed_y, expected):
    got = track_reliability(*map(torch.tensor, (followed_x, followed_y, [0], [3])))
    assert got.tolist() == [expected]
    assert got.dtype == torch.float32


def test_without_pairs_boxes_say_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    assert track_reliability(torch.tensor([LOST]), none, none, none).shape == (0,)
