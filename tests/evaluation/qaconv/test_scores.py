"""QAConv against its loop, the authors' numbers, an unfolded module, closed forms and its symmetries."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.qaconv.correspondences import correspondences
from evaluation.qaconv.head import QAConvHead
from evaluation.qaconv.scores import raw_scores, score_chunks, scores, self_scores, similarity

pytestmark = pytest.mark.usefixtures("one_thread")

NORM = ("weight", "bias", "running_mean", "running_var")
FIXTURE = Path(__file__).parent / "fixtures" / "qaconv.npz"
P, G = np.float32([[[1, 0], [0, 1]]]), np.float32([[[1, 0], [0.6, 0.8]]])
HALVES = QAConvHead(query_weight=np.float32([0.5, 0.5]))
UNEVEN = QAConvHead(query_weight=np.float32([0.9, 0.1]))
ASYMMETRIC = QAConvHead(query_weight=np.float32([0.9, 0.1]), gallery_weight=np.float32([0.5, 0.5]))


def unit_maps(seed, count, locations=6, channels=5):
    maps = np.random.default_rng(seed).normal(size=(count, locations, channels))
    return (maps / np.linalg.norm(maps, axis=2, keepdims=True)).astype(np.float32)


def random_head(seed, locations=6, other=None):
    rng = np.random.default_rng(seed)
    weights = [rng.dirichlet(np.ones(n)).astype(np.float32) for n in (locations, other or 1)]
    return QAConvHead(query_weight=weights[0], gallery_weight=weights[1] if other else None, scale=2.5, shift=-0.4)


def raw_as_loop(query, gallery, head):
    query, gallery = query.astype(np.float64), gallery.astype(np.float64)
    raw = np.zeros((len(query), len(gallery)))
    for q in range(len(query)):
        for g in range(len(gallery)):
            S = [[float(query[q, x] @ gallery[g, y]) for y in range(gallery.shape[1])] for x in range(query.shape[1])]
            best_L = [max(S[x]) for x in range(query.shape[1])]
            best_M = [max(S[x][y] for x in range(query.shape[1])) for y in range(gallery.shape[1])]
            raw[q, g] = np.dot(head.weights[0], best_L) + np.dot(head.weights[1], best_M)
    return raw


def random_parameters(seed, size):
    rng = np.random.default_rng(seed)
    parameters = {"fc.weight": rng.normal(size=(1, size)), "fc.bias": rng.normal(size=1)}
    for norm in ("bn", "logit_bn"):
        parameters |= {f"{norm}.{name}": rng.normal(size=1) for name in ("weight", "bias", "running_mean")}
        parameters[f"{norm}.running_var"] = rng.uniform(0.5, 2, 1)
    return parameters


def score_unfolded(query, gallery, parameters, *, is_shared):
    """The module of METHOD.md 2.1 before it is folded, with torch's own layers, in double precision."""
    bn, logit_bn = (torch.nn.BatchNorm1d(1).double().eval() for _ in range(2))
    for name, layer in (("bn", bn), ("logit_bn", logit_bn)):
        layer.load_state_dict(
            {
                key: torch.tensor(parameters[f"{name}.{key}"])
                for key in ("weight", "bias", "running_mean", "running_var")
            },
            strict=False,
        )
    fc = torch.nn.Linear(parameters["fc.weight"].size, 1).double()
    fc.load_state_dict({key: torch.tensor(parameters[f"fc.{key}"]) for key in ("weight", "bias")})
    S = torch.einsum("plc,gmc->pglm", torch.tensor(query).double(), torch.tensor(gallery).double())
    best = torch.stack([S.amax(3), S.amax(2)], 2)  # [p, g, 2, L]
    z = bn(best.reshape(-1, 1)).view(best.shape)
    y = fc(z).sum(2) if is_shared else fc(z.flatten(2))
    return logit_bn(y.reshape(-1, 1)).view(y.shape[:2]).detach().numpy()


@pytest.mark.parametrize("other", [None, 4])
@pytest.mark.parametrize("count", [(1, 1), (3, 40), (9, 2)])
def test_equals_the_loop_of_the_docstring(count, other):
    query, gallery, head = unit_maps(0, count[0]), unit_maps(1, count[1], other or 6), random_head(2, 6, other)
    expected = raw_as_loop(query, gallery, head)
    np.testing.assert_allclose(raw_scores(query, gallery, head), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(scores(query, gallery, head), 2.5 * expected - 0.4, rtol=0, atol=3e-6)


def test_equals_the_authors_numbers():
    data = np.load(FIXTURE)
    query, gallery = (data[f"{side}_maps"].reshape(-1, 32, 48).transpose(0, 2, 1) for side in ("query", "gallery"))
    parameters = {f"{norm}.{name}": data[f"{norm}_{name}"] for norm in ("bn", "logit_bn") for name in NORM}
    head = QAConvHead.fold(
        {**parameters, "fc.weight": data["weight"], "fc.bias": data["bias"]}, num_locations=query.shape[1]
    )
    np.testing.assert_allclose(scores(query, gallery, head), data["score"], rtol=1e-5)


def test_two_locations_by_hand():
    assert raw_scores(P, G, HALVES).item() == pytest.approx(1.8)
    assert raw_scores(P, P, HALVES).item() == pytest.approx(2)
    assert raw_scores(P, -P, HALVES).item() == pytest.approx(0)
    identity = {"weight": [1.0], "bias": [0.0], "running_mean": [0.0], "running_var": [1.0]}
    norms = {f"{norm}.{name}": value for norm in ("bn", "logit_bn") for name, value in identity.items()}
    head = QAConvHead.fold({**norms, "fc.weight": [[0.5, 0.5]], "fc.bias": [0.0]}, num_locations=2)
    assert scores(P, G, head).item() == pytest.approx(1.7999820002, rel=1e-7)
    assert scores(G, P, head).item() == pytest.approx(1.7999820002, rel=1e-7)
    assert scores(P, P, head).item() == pytest.approx(1.9999800002, rel=1e-7)


def test_weights_by_hand():
    twice = np.float32([[[0.6, 0.8], [0.6, 0.8]]])
    assert raw_scores(P, G, UNEVEN).item() == pytest.approx(1.96)
    assert raw_scores(P, G[:, ::-1], UNEVEN).item() == pytest.approx(1.80)
    assert raw_scores(P, twice, UNEVEN).item() == raw_scores(twice, P, UNEVEN).item() == pytest.approx(1.42)
    assert raw_scores(P, twice, ASYMMETRIC).item() == pytest.approx(1.42)
    assert raw_scores(twice, P, ASYMMETRIC).item() == pytest.approx(1.50)


@pytest.mark.parametrize("sign", [1, -1])  # a negative factor turns the signs of the weights
@pytest.mark.parametrize("is_shared", [True, False])
def test_folded_equals_unfolded(sign, is_shared):
    query, gallery, parameters = unit_maps(3, 4), unit_maps(4, 7), random_parameters(20, 6 if is_shared else 12)
    parameters["bn.weight"] = sign * abs(parameters["bn.weight"]) * np.sign(parameters["logit_bn.weight"])
    head = QAConvHead.fold(parameters, num_locations=6)
    expected = score_unfolded(query, gallery, parameters, is_shared=is_shared)
    np.testing.assert_allclose(scores(query, gallery, head), expected, rtol=2e-5, atol=2e-5)
    ranking = np.argsort(raw_scores(query, gallery, head), axis=1)
    assert (ranking == np.argsort(expected, axis=1)).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), locations=st.integers(1, 9), channels=st.integers(1, 8))
def test_symmetries_and_bounds(seed, locations, channels):
    a, b = unit_maps(seed, 2, locations, channels), unit_maps(seed + 1, 3, locations, channels)
    head, rng = random_head(seed, locations), np.random.default_rng(seed)
    raw, order = raw_scores(a, b, head), rng.permutation(locations)
    np.testing.assert_allclose(raw_scores(b, a, head).T, raw, atol=1e-6)
    np.testing.assert_allclose(np.diag(raw_scores(a, a, head)), 2, atol=1e-5)
    assert raw.max() <= 2 + 1e-5
    mean_a, mean_b = (np.einsum("nlc,l->nc", maps, head.query_weight) for maps in (a, b))
    assert (raw >= 2 * mean_a @ mean_b.T - 1e-5).all()
    moved = QAConvHead(query_weight=head.query_weight[order])
    np.testing.assert_allclose(raw_scores(a[:, order], b[:, order], moved), raw, atol=1e-6)
    uniform = QAConvHead.uniform(locations)
    np.testing.assert_allclose(raw_scores(a[:, order], b, uniform), raw_scores(a, b, uniform), atol=1e-6)


def test_swapping_the_sides_and_the_weights_transposes():
    query, gallery, head = unit_maps(5, 3), unit_maps(6, 5, 4), random_head(7, 6, 4)
    swapped = QAConvHead(query_weight=head.weights[1], gallery_weight=head.weights[0])
    np.testing.assert_allclose(raw_scores(gallery, query, swapped).T, raw_scores(query, gallery, head), atol=1e-6)


def test_chunks_tiles_and_blocks_change_nothing(monkeypatch):
    query, gallery, head = unit_maps(8, 11), unit_maps(9, 50).astype(np.float16), random_head(10)
    whole = scores(query, gallery, head)
    for entries, block, chunk in ((1, 1, 1), (100, 300, 4), (500, 10**6, 11), (10**6, 31 * 30, None)):
        monkeypatch.setattr("evaluation.qaconv.scores.TILE_BYTES", {"cpu": 4 * entries})
        monkeypatch.setattr("evaluation.qaconv.scores.BLOCK_ENTRIES", block)
        chunks, pairs = [], []
        for rows, distance in score_chunks(query, gallery, head, chunk=chunk, advance=pairs.append):
            assert distance.shape == (rows.stop - rows.start, 50)
            chunks.append(distance)
        np.testing.assert_allclose(-np.concatenate(chunks), whole, atol=3e-6)
        assert sum(pairs) == 11 * 50


@pytest.mark.parametrize("other", [None, 6])
def test_self_scores_are_all_scores(other):
    maps, head = unit_maps(11, 23), random_head(12, 6, other)
    found = self_scores(maps, head, block=7)
    np.testing.assert_allclose(found, scores(maps, maps, head), atol=3e-6)
    assert (found == found.T).all() == (other is None)


def test_half_precision_errs_by_rounding_alone():
    query, gallery = unit_maps(13, 4, 48, 64), unit_maps(14, 9, 48, 64)
    head = QAConvHead.uniform(48)
    expected = raw_as_loop(query, gallery, head)
    np.testing.assert_allclose(raw_scores(query, gallery, head), expected, rtol=1e-6)
    np.testing.assert_allclose(raw_scores(query, gallery, head, dtype="bfloat16"), expected, rtol=2e-3)


def test_half_precision_finds_the_largest_of_negative_similarities():
    query = unit_maps(17, 3, 6, 8)
    head, opposed = QAConvHead.uniform(6), -np.abs(query[::-1])
    expected = raw_as_loop(np.abs(query), opposed, head)
    assert (expected < 0).all()
    found = raw_scores(np.abs(query), opposed, head, dtype="bfloat16")
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_similarity_is_between_0_and_1_and_keeps_the_order():
    score = np.float32([-200, -10, 0, 3, 10, 500])
    assert similarity(score)[2:5] == pytest.approx([0.5, 1 / (1 + np.exp(-0.3)), 1 / (1 + np.exp(-1))])
    assert 0 <= similarity(score).min() <= similarity(score).max() <= 1
    assert (np.diff(similarity(score)) > 0).all()


def test_correspondences_say_where_the_best_match_is():
    a, b = unit_maps(15, 1, 4)[0], unit_maps(16, 1, 5)[0]
    b[2], b[3] = a[1], a[1]
    found, S = correspondences(a, b), a @ b.T
    assert found.gallery_location.tolist() == S.argmax(1).tolist()
    assert found.gallery_location[1] == 2  # the first of two that are equal
    np.testing.assert_allclose(found.gallery_similarity, [S[x, m] for m, x in enumerate(found.query_location)])
    both = found.query_similarity.mean() / 2 + found.gallery_similarity.mean() / 2
    head = QAConvHead(query_weight=np.full(4, 0.25, np.float32), gallery_weight=np.full(5, 0.2, np.float32))
    assert raw_scores(a[None], b[None], head).item() == pytest.approx(2 * both, rel=1e-6)


def test_wrong_maps_are_refused():
    query, gallery, head = unit_maps(17, 3), unit_maps(18, 4), random_head(19)
    with pytest.raises(ValueError, match=r"gallery maps must be \[N, 6, C\] for this head, got \[4, 5, 5\]"):
        scores(query, gallery[:, :5], head)
    with pytest.raises(ValueError, match=r"query maps must be \[N, 6, C\] for this head, got \[0, 6, 5\]"):
        next(score_chunks(query[:0], gallery, head))
    with pytest.raises(ValueError, match="query maps have 5 channels and gallery maps 4"):
        scores(query, gallery[..., :4], head)
    with pytest.raises(ValueError, match="chunk must be >= 1, got 0"):
        next(score_chunks(query, gallery, head, chunk=0))
    with pytest.raises(ValueError, match="dtype must be float32 or bfloat16, got half"):
        scores(query, gallery, head, dtype="half")
    with pytest.raises(ValueError, match=r"two maps must be \[L, C\] and \[M, C\]"):
        correspondences(query, gallery[0])
    gallery[2, 1, 1] = np.nan
    with pytest.raises(ValueError, match="gallery map 2 holds NaN or infinity"):
        scores(query, gallery, head)
    query[1, 0] = np.inf
    with pytest.raises(ValueError, match="query map 1 holds NaN or infinity"):
        scores(query, gallery[:2], head)
