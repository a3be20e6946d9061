"""Closed forms of what linear attention can do in context, by simulation, and layers that are trained to reach them."""

import pytest
import torch
from torch import Tensor

from gamesim.attention import Layout, set_attention
from gamesim.attention.risk import (
    alike,
    optimal_risk,
    optimal_weights,
    retrieved,
    retrieved_roughly,
    risk,
    weighted,
)
from gamesim.errors import InvalidInput
from gamesim.experiments import linear_attention_risk as study
from gamesim.randomness import Stream


def covariance(d: int, seed: int) -> Tensor:
    x = Stream(seed).normal((d, 2 * d))
    return x @ x.T / (2 * d)


def simulated(error: Tensor) -> tuple[float, float]:
    """The mean of squared errors and five of its standard errors."""
    return float(error.mean()), 5 * float(error.std()) / len(error) ** 0.5


def test_isotropic_and_general_risks_agree_and_their_weights_reach_them() -> None:
    d, n, s2 = 5, 10, 0.5
    one = torch.eye(d, dtype=torch.float64)
    assert float(optimal_risk(torch.ones(d), n, s2)) == pytest.approx(d + s2 - n * d / (n + d + 1 + s2))
    inputs, tasks = covariance(d, 1), covariance(d, 2)
    lam = torch.linalg.eigvals(inputs @ tasks).real
    for rank in (None, 1, 3):
        w = optimal_weights(inputs, tasks, n, s2, rank)
        torch.testing.assert_close(risk(w, inputs, tasks, n, s2), optimal_risk(lam, n, s2, rank))
        assert int(torch.linalg.matrix_rank(w)) == (rank or d)
    w = optimal_weights(inputs, tasks, n, s2)
    other = w + 0.01 * Stream(3).normal((50, d, d))
    assert bool((risk(other, inputs, tasks, n, s2) > risk(w, inputs, tasks, n, s2)).all())
    torch.testing.assert_close(optimal_weights(one, one, n, s2), one / (n + d + 1 + s2))


def test_the_risk_of_any_weights_by_simulation() -> None:
    d, n, s2, count = 3, 6, 0.4, 30_000
    inputs, tasks = covariance(d, 1), covariance(d, 2)
    stream = Stream(0)
    root, root_tasks = torch.linalg.cholesky(inputs), torch.linalg.cholesky(tasks)
    x, query = stream.normal((count, n, d)) @ root.T, stream.normal((count, d)) @ root.T
    beta = stream.normal((count, d)) @ root_tasks.T
    y = (x @ beta[..., None])[..., 0] + s2**0.5 * stream.normal((count, n))
    w = optimal_weights(inputs, tasks, n, s2) + 0.05 * stream.normal((d, d))
    guess = ((x @ (query @ w)[..., None])[..., 0] * y).sum(-1)
    mean, half = simulated((guess - (beta * query).sum(-1)).square() + s2)
    assert float(risk(w, inputs, tasks, n, s2)) == pytest.approx(mean, abs=half)


@pytest.mark.parametrize("relevance", [0.3, 0.8])
def test_the_risk_of_retrieved_examples_by_simulation(relevance: float) -> None:
    d, n, s2, count = 4, 6, 0.3, 30_000
    stream = Stream(1)
    query, beta = stream.normal((count, d)), stream.normal((count, d))
    x = relevance * query[:, None] + (1 - relevance**2) ** 0.5 * stream.normal((count, n, d))
    y = (x @ beta[..., None])[..., 0] + s2**0.5 * stream.normal((count, n))
    w, least = retrieved(d, n, s2, relevance)
    sums = ((x @ query[..., None])[..., 0] * y).sum(-1)
    error = [((v * sums - (beta * query).sum(-1)).square() + s2) for v in (w, 1.2 * w)]
    mean, half = simulated(error[0])
    assert least == pytest.approx(mean, abs=half)
    assert least < retrieved(d, n, s2, relevance / 2)[1]
    assert float(error[1].mean()) > float(error[0].mean())


def test_without_retrieval_the_risk_is_the_isotropic_one_and_the_approximation_is_near() -> None:
    w, least = retrieved(7, 20, 0.5, 0.0)
    assert w == pytest.approx(1 / (20 + 7 + 1 + 0.5))
    assert least == pytest.approx(float(optimal_risk(torch.ones(7).double(), 20, 0.5)))
    assert retrieved_roughly(30, 20, 0.0, 0.2) == pytest.approx(retrieved(30, 20, 0.0, 0.2)[1], rel=0.05)


def test_weights_of_examples_by_simulation_and_where_they_do_not_matter() -> None:
    d, n, count = 3, 5, 30_000
    stream = Stream(2)
    t = torch.arange(n + 1, dtype=torch.float64)
    many = 0.8 ** (t[:, None] - t).abs()
    noise = torch.linspace(0.1, 2.0, n, dtype=torch.float64)
    omega, least = weighted(d, noise, many[-1, :-1], many[:-1, :-1], 0.3)
    tasks = torch.linalg.cholesky(many) @ stream.normal((count, n + 1, d))
    x, query = stream.normal((count, n, d)), stream.normal((count, d))
    y = (x * tasks[:, :-1]).sum(-1) + noise.sqrt() * stream.normal((count, n))
    guess = ((x @ query[..., None])[..., 0] * y * omega).sum(-1)
    mean, half = simulated((guess - (tasks[:, -1] * query).sum(-1)).square() + 0.3)
    assert float(least) == pytest.approx(mean, abs=half)
    assert float(least) < float(alike(d, noise, many[-1, :-1], many[:-1, :-1], 0.3))
    one = torch.ones(n, dtype=torch.float64)
    same, risk_same = weighted(d, 0.5 * one, one, one.expand(n, n), 0.5)
    assert float(risk_same) == pytest.approx(float(optimal_risk(torch.ones(d).double(), n, 0.5)))
    assert float(risk_same) == pytest.approx(float(alike(d, 0.5 * one, one, one.expand(n, n), 0.5)))
    torch.testing.assert_close(same, one / (n + d + 1 + 0.5))


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="examples"):
        optimal_risk(torch.ones(2), 0, 0.1)
    with pytest.raises(InvalidInput, match="noise"):
        retrieved(3, 4, -0.1, 0.2)
    with pytest.raises(InvalidInput, match="relevance"):
        retrieved(3, 4, 0.1, 1.2)
    with pytest.raises(InvalidInput, match="inputs"):
        optimal_weights(torch.zeros(2, 2), torch.eye(2), 4, 0.1)


def test_the_layer_of_the_study_is_linear_attention_of_the_core() -> None:
    problem = study.Problem("small", 3, 4, 0.1)
    x, y, query, _ = study.prompts(problem, Stream([0, 1]), 2, 5)
    stream = Stream([2, 3])
    q, k, v = (stream.normal((2, 4, r), torch.float32) for r in (4, 4, 1))
    found = study.predict((q, k, v, torch.zeros(2, 4)), x, y, query)
    tokens = torch.cat([x, y[..., None]], -1).flatten(1, 2)
    asked = torch.cat([query, torch.zeros(2, 5, 1)], -1) @ q
    core = set_attention(
        *(part[:, :, None] for part in (asked, tokens @ k, tokens @ v)),
        cu_q=Layout.repeated(1, 5),
        cu_k=Layout.repeated(4, 5),
        kind="linear",
        feature="identity",
        normalised=False,
    )
    torch.testing.assert_close(found, core[..., 0, 0])


def test_a_trained_layer_reaches_the_best_risk_and_the_best_weights() -> None:
    problem = study.Problem("small", 3, 10, 0.2)
    times, risks, layer = study.train(problem, 2, 900)
    best = problem.best()[3]
    assert times[-1] == 900
    assert bool((risks[:, -1] > best * (1 - 1e-4)).all())
    assert float(risks[:, -1].max()) < 1.03 * best
    assert float(risks[:, 0].min()) > 1.1 * best
    w = study.effective(layer).flatten(1)
    assert float(torch.nn.functional.cosine_similarity(w, problem.aim().flatten(), dim=-1).min()) > 0.99


@pytest.mark.parametrize("problem", [study.RETRIEVED[1], study.DRIFTING[0], study.DRIFTING[1]], ids=lambda p: p.id)
def test_the_best_predictions_of_a_problem_have_its_best_risk(problem: study.Problem) -> None:
    w, omega, least, reached = problem.best()
    x, y, query, answer = study.prompts(problem, Stream([0, 1]), 2, 10_000)
    ideal = ((x @ (query @ w)[..., None])[..., 0] * omega * y).sum(-1)
    mean, half = simulated((ideal - answer).square().flatten())
    assert least == pytest.approx(mean, abs=half)
    assert reached >= least
