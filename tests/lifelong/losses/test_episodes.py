"""Episodes: the numbers of METHOD.md 4.6, the loops, what the margin and the penalty do, and what no episode is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.losses.episodes import dmml_loss, episode_logits, split_episode

FORMS = [(mode, distance) for mode in ("hard", "center") for distance in ("euclidean", "cosine")]
SUPPORT = torch.tensor([[0.0, 2.0], [2.0, 3.0]], dtype=torch.float64)[..., None]
QUERY = torch.tensor([[1.0], [2.5]], dtype=torch.float64)[..., None]


def make(classes=4, supports=3, queries=2, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(classes, supports + queries, size, generator=generator, dtype=torch.float64)
    return feature[:, :supports], feature[:, supports:]


def between(a, b, distance):
    if distance == "cosine":
        return 1 - float(a @ b / a.norm() / b.norm())
    return float(((a - b) ** 2).sum())


def prototype(supports, distance):
    return torch.stack([s / s.norm() if distance == "cosine" else s for s in supports]).mean(dim=0)


def loop(support, query, mode, distance, margin=0.4, scale=1.0, norm_penalty=0.0005):
    losses, count = [], query.shape[1]
    for r in range(len(query) * count):
        y, q, d = r // count, query[r // count, r % count], []
        for c in range(len(support)):
            far = [between(q, s, distance) for s in support[c]]
            if mode == "center":
                d.append(between(q, prototype(support[c], distance), distance))
            else:
                d.append(max(far) if c == y else max(0.0, min(far) - margin))
        losses.append(scale * d[y] + math.log(sum(math.exp(-scale * value) for value in d)))
    rows = [*support.flatten(0, 1), *query.flatten(0, 1)]
    return sum(losses) / len(losses) + norm_penalty * sum(float((f**2).sum()) for f in rows) / len(rows)


@pytest.mark.parametrize(("mode", "distance"), FORMS)
@pytest.mark.parametrize("shape", [(2, 1, 1), (4, 3, 2), (3, 5, 1), (5, 1, 3)])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_the_definition(mode, distance, shape, scale):
    support, query = make(*shape)
    got = dmml_loss(support, query, mode=mode, distance=distance, scale=scale)
    assert float(got) == pytest.approx(loop(support, query, mode, distance, scale=scale), abs=1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_definition_of_the_logits(distance):
    support, query = make(4, 3, 2)
    logit = episode_logits(support, query, distance=distance, scale=3.0)
    assert logit.shape == (8, 4)
    for r in range(8):
        for c in range(4):
            expected = -3 * between(query[r // 2, r % 2], prototype(support[c], distance), distance)
            assert float(logit[r, c]) == pytest.approx(expected, abs=1e-12)


def test_two_classes_on_a_line():
    """METHOD.md 4.6: rows log(1 + e^0.4) and log(1 + e^0.25), and the penalty 0.0005 * 24.25 / 6."""
    assert float(dmml_loss(SUPPORT, QUERY)) == pytest.approx(0.8714981695, abs=1e-10)
    rows = (math.log(1 + math.exp(0.4)) + math.log(1 + math.exp(0.25))) / 2
    assert float(dmml_loss(SUPPORT, QUERY, norm_penalty=0)) == pytest.approx(rows, abs=1e-12)
    assert float(dmml_loss(SUPPORT, QUERY, margin=0.0)) == pytest.approx(0.6951680139, abs=1e-10)
    for margin in (0.0, 0.4, 100.0):
        assert float(dmml_loss(SUPPORT, QUERY, mode="center", margin=margin)) == pytest.approx(0.1022273923, abs=1e-10)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_margin_only_makes_it_harder(distance):
    support, query = make()
    losses = [float(dmml_loss(support, query, margin=m, distance=distance)) for m in (0.0, 0.1, 0.5, 2.0, 50.0, 90.0)]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]
    assert losses[-1] == losses[-2], "every other class is at 0"


def test_a_class_nearer_than_the_margin_has_no_gradient():
    support = torch.tensor([0.0, 0.5])[:, None, None].requires_grad_()
    query = torch.tensor([0.2, 0.5])[:, None, None]  # the second is its own support: no direction to go
    far, near = (
        torch.autograd.grad(dmml_loss(support, query, margin=margin, norm_penalty=0), support)[0].flatten()
        for margin in (0.0, 0.1)
    )
    assert far[1] != 0
    assert near[1] == 0, "0.09 from the first query"
    assert near[0] != 0


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_with_one_support_and_no_margin_both_forms_are_the_same(distance):
    support, query = make(supports=1)
    hard = dmml_loss(support, query, margin=0.0, distance=distance)
    assert torch.allclose(hard, dmml_loss(support, query, mode="center", distance=distance), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FORMS), st.permutations(range(4)), st.permutations(range(3)), st.permutations(range(2)))
def test_the_order_of_classes_and_images_does_not_matter(form, classes, supports, queries):
    mode, distance = form
    support, query = make()
    shuffled = dmml_loss(support[classes][:, supports], query[classes][:, queries], mode=mode, distance=distance)
    assert torch.allclose(shuffled, dmml_loss(support, query, mode=mode, distance=distance), atol=1e-12)
    logit = episode_logits(support, query, distance=distance).unflatten(0, (4, 2))
    moved = episode_logits(support[classes][:, supports], query[classes][:, queries], distance=distance)
    assert torch.allclose(moved, logit[classes][:, queries][..., classes].flatten(0, 1), atol=1e-12)


@pytest.mark.parametrize("mode", ["hard", "center"])
def test_a_common_move_changes_the_penalty_alone(mode):
    support, query = make()
    at, moved = (dmml_loss(s, q, mode=mode, norm_penalty=0) for s, q in ((support, query), (support + 7, query + 7)))
    assert torch.allclose(at, moved, atol=1e-10)
    assert dmml_loss(support + 7, query + 7, mode=mode) > dmml_loss(support, query, mode=mode) + 0.01


@pytest.mark.parametrize("mode", ["hard", "center"])
def test_norms_change_the_penalty_of_cosines_alone(mode):
    support, query = make()
    form = {"mode": mode, "distance": "cosine", "norm_penalty": 0}
    at, longer = dmml_loss(support, query, **form), dmml_loss(9 * support, query, **form)
    assert torch.allclose(at, longer, atol=1e-12)


@pytest.mark.parametrize("mode", ["hard", "center"])
def test_near_images_far_from_the_origin_are_told_apart_in_single_precision(mode):
    support, query = (1000 + feature for feature in make())
    single = dmml_loss(support.float(), query.float(), mode=mode, norm_penalty=0)
    double = dmml_loss(support.float().double(), query.float().double(), mode=mode, norm_penalty=0)
    assert single.item() == pytest.approx(double.item(), rel=1e-3)


@pytest.mark.parametrize(("mode", "distance"), FORMS)
def test_gradients(mode, distance):
    support, query = (feature.clone().requires_grad_() for feature in make(3, 2, 2, size=3))
    assert torch.autograd.gradcheck(lambda s, q: dmml_loss(s, q, mode=mode, distance=distance), (support, query))
    assert torch.autograd.gradcheck(lambda s, q: episode_logits(s, q, distance=distance), (support, query))
    same = torch.zeros(3, 2, 4, requires_grad=True)
    dmml_loss(same, same, mode=mode, distance=distance).backward()
    assert same.grad is not None
    assert same.grad.isfinite().all(), "equal images have no direction to go, and no NaN"


def test_a_batch_is_cut_into_supports_and_queries():
    feature = torch.arange(12.0).reshape(6, 2)
    support, query = split_episode(feature, torch.tensor([9, 9, 9, 4, 4, 4]), queries=1)
    assert support.tolist() == [[[0, 1], [2, 3]], [[6, 7], [8, 9]]]
    assert query.tolist() == [[[4, 5]], [[10, 11]]]
    support, query = split_episode(feature, torch.tensor([9, 9, 9, 4, 4, 4]), queries=2)
    assert (support.shape, query.shape) == ((2, 1, 2), (2, 2, 2))
    assert support.data_ptr() == feature.data_ptr()


@pytest.mark.parametrize(
    ("labels", "queries", "message"),
    [
        ([1, 1, 2, 2, 1, 1], 1, "class 1 comes twice in the episode"),
        ([1, 1, 2, 2, 2, 3], 1, "as many rows each, got 1 to 3"),
        ([1, 1, 2, 2, 3, 3], 2, "less than the 2 rows of a class, got 2"),
        ([1, 1, 2, 2, 3, 3], 0, "queries must be >= 1 and less than the 2 rows of a class, got 0"),
        ([1, 1, 2, 2, 3], 1, r"needs \[B, D\] and B labels, got \[6, 4\], \[5\]"),
    ],
)
def test_a_batch_that_is_no_episode_is_refused(labels, queries, message):
    with pytest.raises(ValueError, match=message):
        split_episode(torch.zeros(6, 4), torch.tensor(labels), queries=queries)


def test_no_rows_are_no_episode():
    with pytest.raises(ValueError, match=r"got \[0, 4\], \[0\]"):
        split_episode(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), queries=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "cluster"}, "mode must be hard or center, got 'cluster'"),
        ({"distance": "dot"}, "distance must be euclidean or cosine, got 'dot'"),
        ({"margin": -0.1}, "margin and norm_penalty must be >= 0, got -0.1 and 0.0005"),
        ({"norm_penalty": -1}, "margin and norm_penalty must be >= 0, got 0.4 and -1"),
        ({"scale": 0}, "scale must be > 0, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dmml_loss(SUPPORT, QUERY, **arguments)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"queries \[N, Q, D\], got \[2, 2, 1\] and \[1, 1, 1\]"):
        dmml_loss(SUPPORT, QUERY[:1])
    with pytest.raises(ValueError, match=r"got \[2, 2, 1\] and \[2, 0, 1\]"):
        episode_logits(SUPPORT, QUERY[:, :0])
    with pytest.raises(ValueError, match="an episode of one class has nothing to tell apart"):
        dmml_loss(SUPPORT[:1], QUERY[:1])
