"""The loss on tensors alone is that of training; what it lacks is told."""

import pytest
import torch
from torch.nn import functional

import pretrain
from pretrain.data.batch import Batch
from pretrain.losses.config import LossConfig
from pretrain.losses.isr import batch_loss

X_COUNTS, Y_COUNTS, VIDEO = [3, 2, 1], [4, 2, 1], [0, 0, 1]


def embeddings(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(sum(X_COUNTS), 8, generator=generator, dtype=torch.float64, requires_grad=True),
        torch.randn(sum(Y_COUNTS), 8, generator=generator, dtype=torch.float64, requires_grad=True),
    )


def loop(
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    temperature: float = 0.1,
    reliability_temperature: float = 0.1,
    beta: float = 1.0,
) -> torch.Tensor:
    """The docstring's definition, with the reliability `margin`."""
    x, y = functional.normalize(x, dim=1), functional.normalize(y, dim=1)
    pairs: list[tuple[int, int, int, float]] = []
    x_start = y_start = 0
    for f, (n, m) in enumerate(zip(X_COUNTS, Y_COUNTS, strict=True)):
        similarity = x[x_start : x_start + n] @ y[y_start : y_start + m].T
        for i, j in zip(*pretrain.match(similarity.detach().numpy()), strict=True):
            others = [similarity[i, k] for k in range(m) if k != j] + [similarity[k, j] for k in range(n) if k != i]
            lead = (similarity[i, j] - max(others)) / reliability_temperature if others else torch.tensor(torch.inf)
            pairs.append((f, x_start + int(i), y_start + int(j), float(torch.sigmoid(lead).detach())))
        x_start, y_start = x_start + n, y_start + m
    losses, weights = [], []
    for f, i, j, reliability in pairs:
        forward = backward = torch.zeros((), dtype=torch.float64)
        for g, k, m, _ in pairs:  # people of another frame pair of the same video may be the same
            if g == f or VIDEO[g] != VIDEO[f]:
                forward = forward + torch.exp(x[i] @ y[m] / temperature)
                backward = backward + torch.exp(x[k] @ y[j] / temperature)
        losses.append(-(2 * (x[i] @ y[j]) / temperature - forward.log() - backward.log()) / 2)
        weights.append(reliability**beta)
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"beta": 0.0}, {"beta": 2.0, "reliability_temperature": 0.3}]
)
def test_it_is_the_definition_with_its_gradient(options: dict[str, float]):
    x, y = embeddings()
    expected = loop(x, y, **options)
    expected_gradient = torch.autograd.grad(expected, (x, y))
    loss = pretrain.isr_loss(x, y, X_COUNTS, Y_COUNTS, VIDEO, **options)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, (x, y)), expected_gradient)


def test_the_norm_of_an_embedding_is_of_no_account():
    x, y = embeddings()
    one = pretrain.isr_loss(x, y, X_COUNTS, Y_COUNTS, VIDEO)
    torch.testing.assert_close(pretrain.isr_loss(3 * x, 0.2 * y, X_COUNTS, Y_COUNTS, torch.tensor(VIDEO)), one)


def test_others_may_decide_who_is_matched():
    x, y = embeddings()
    own = pretrain.isr_loss(x, y, X_COUNTS, Y_COUNTS, VIDEO)
    torch.testing.assert_close(pretrain.isr_loss(x, y, X_COUNTS, Y_COUNTS, VIDEO, judged=(x, y)), own)
    assert pretrain.isr_loss(x, y, X_COUNTS, Y_COUNTS, VIDEO, judged=embeddings(1)) != own


def test_boxes_may_say_who_is_reliable():
    """All of the weight is on the one pair that a chain of boxes joins."""
    x = y = torch.eye(8, dtype=torch.float64)[:6]
    followed = torch.tensor([0, 2, 1, 4, 3, -2]), torch.tensor([0, 2, 1, 4, 3, -2])
    loss = pretrain.isr_loss(x, y, [3, 3], [3, 3], [0, 1], reliability="track", followed=followed)
    torch.testing.assert_close(loss, torch.log(1 + 5 * torch.exp(torch.tensor(-10.0, dtype=torch.float64))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reliability": "track"}, "loss.reliability track needs crops that know their boxes; without: mutual"),
        ({"same_video_gap_seconds": 5.0}, "needs the times of the frame pairs"),
        ({"reliability": "oracle"}, "oracle is for audits"),
        ({"video": [0, 1]}, "2 videos need as many counts, got 3 and 3"),
        ({"x_counts": [3, 2, 2]}, "sum to 7 and 7, embeddings are 6 and 7"),
        ({"y": torch.zeros(7, 5)}, r"embeddings must be \[N, D\] and \[M, D\], got \[6, 8\] and \[7, 5\]"),
        ({"temperature": 0.0}, "loss.temperature must be > 0"),
    ],
)
def test_what_is_lacking_is_told(changes: dict[str, object], message: str):
    x, y = embeddings()
    given = {"x": x, "y": y, "x_counts": X_COUNTS, "y_counts": Y_COUNTS, "video": VIDEO}
    with pytest.raises(ValueError, match=message):
        pretrain.isr_loss(**given | changes)


def test_a_configurations_own_defaults_say_what_a_batch_lacks():
    nothing, one = torch.zeros(0, 3, 1, 1), torch.ones(2, 1)
    batch = Batch(images=nothing, clean=nothing, x_counts=[1], y_counts=[1], video=torch.tensor([0]))
    with pytest.raises(ValueError, match=r"track needs crops that know their boxes; without: mutual"):
        batch_loss(one, one, batch, LossConfig(), beta=1.0)
