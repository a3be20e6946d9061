"""Responses fitted at a given aggregate: cvxpy, scikit-learn, the full kernel ridge, and plain loops over moves."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.envs import SIS, Beach
from gamesim.errors import InvalidInput
from gamesim.estimation.counts import count
from gamesim.estimation.features import Bumps, Monomials
from gamesim.estimation.kernel_ridge import KernelRidge
from gamesim.estimation.lawful import lawful_rows
from gamesim.estimation.laws import FAINT, Kernel, Law, Linear, Mixture, Polynomial
from gamesim.estimation.likelihood import log_likelihood, log_likelihoods
from gamesim.estimation.mechanism import Played, misfit
from gamesim.estimation.observed import Observed
from gamesim.estimation.regressions import TINY, cross_validated, mixture, move_moments, pay_moments, regress
from gamesim.estimation.responses import Regressed
from gamesim.parameters import convert
from gamesim.randomness import Stream

NO_NUMBERS = torch.zeros(1, 0, dtype=torch.float64)


def drawn(e: int = 12, h: int = 3, n: int = 4, s: int = 3, a: int = 2, seed: int = 0) -> tuple[AgentData, Tensor]:
    """Random play, and aggregates z[k, s] of total mass below one."""
    stream = Stream(seed)
    paths = (stream.uniform((e, h + 1, n)) * s).long()
    actions = (stream.uniform((e, h, n)) * a).long()
    z = stream.uniform((h * n, s)) / s
    rewards = stream.normal((e, h, n)) + 2 * z.view(h, n, s).sum(-1)
    return AgentData(paths[:, :-1], actions, rewards, paths[:, 1:], state_count=s, action_count=a), z


def fitted(law: Law, data: AgentData, z: Tensor) -> Regressed:
    response = law.fit(Observed.of(count(data)), z, NO_NUMBERS[0]).response
    assert isinstance(response, Regressed)
    return response


def rows_of(data: AgentData, s: int, a: int) -> tuple[Tensor, Tensor, Tensor]:
    """The place, the next state and the reward of every move from (s, a)."""
    place = torch.arange(data.horizon * data.agents).view(data.horizon, data.agents).expand_as(data.states)
    some = (data.states == s) & (data.actions == a)
    return place[some], data.next_states[some].long(), data.rewards[some]


# --- least squares with laws for rows ---------------------------------------------------------------------------------


def problem(d: int, t: int, spread: float, scale: float = 1.0, batch: int = 3) -> tuple[Tensor, Tensor]:
    """A regression on barycentric coordinates that vary by `spread`: gram and moment."""
    stream = Stream(d + 100 * t)
    z = 0.5 / d + spread * stream.normal((batch, 200, d - 1))
    phi = torch.cat([1 - z.sum(-1, keepdim=True), z], -1)
    y = torch.softmax(3 * stream.normal((batch, 200, t)), -1)
    return scale * (phi.mT @ phi / 200 + 1e-9 * torch.eye(d)), scale * (phi.mT @ y / 200)


@pytest.mark.parametrize(
    ("d", "t", "spread", "scale"),
    [(3, 2, 0.1, 1), (4, 3, 0.05, 1e6), (4, 3, 0.05, 1e-6), (11, 3, 0.02, 1), (11, 4, 1e-4, 1), (2, 5, 0.1, 1)],
)
def test_lawful_rows_are_the_optimum_of_cvxpy(d: int, t: int, spread: float, scale: float) -> None:
    import cvxpy

    gram, moment = problem(d, t, spread, scale)
    found = lawful_rows(gram, moment)
    assert float(found.min()) >= 0
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]), rtol=0, atol=1e-12)

    def loss(g: Tensor, b: Tensor, theta: Tensor) -> float:
        return float(((theta * (g @ theta)).sum() / 2 - (b * theta).sum()) / scale)

    for g, b, theta in zip(gram, moment, found, strict=True):
        x = cvxpy.Variable((d, t), nonneg=True)
        root = np.linalg.cholesky(g.numpy() / scale)
        linear = cvxpy.sum(cvxpy.multiply(b.numpy() / scale, x))
        least = cvxpy.Problem(
            cvxpy.Minimize(cvxpy.sum_squares(root.T @ x) / 2 - linear), [cvxpy.sum(x, axis=1) == 1]
        ).solve(solver="CLARABEL")
        assert loss(g, b, theta) <= least + 1e-8
        assert loss(g, b, theta) >= least - 1e-6  # theirs may leave the simplex by a little


def test_lawful_rows_where_there_is_nothing_to_choose() -> None:
    gram = torch.eye(3, dtype=torch.float64)
    assert torch.equal(lawful_rows(gram, torch.zeros(3, 1, dtype=torch.float64)), torch.ones(3, 1).double())
    torch.testing.assert_close(lawful_rows(gram, torch.zeros(3, 4).double()), torch.full((3, 4), 0.25).double())
    corner = torch.tensor([[5.0, 0.0], [0.0, 7.0], [1.0, 1.0]], dtype=torch.float64)
    inside = lawful_rows(gram, corner)
    torch.testing.assert_close(inside, torch.tensor([[1, 0], [0, 1], [0.5, 0.5]]).double(), rtol=0, atol=1e-9)


def test_a_mixture_is_made_of_laws_on_outcomes_that_were_seen() -> None:
    data, z = drawn(e=100, h=1, n=3)
    data = data.subset(episodes=~((data.states == 0) & (data.next_states == 2)).flatten(1).any(-1))
    theta = fitted(Mixture(), data, z).theta  # [s, a, d, t]
    laws = torch.cat([theta[..., :1, :], theta[..., :1, :] + theta[..., 1:, :]], -2)
    assert float(laws.min()) > -1e-12
    torch.testing.assert_close(laws.sum(-1), torch.ones_like(laws[..., 0]))
    assert float(theta[0, :, :, 2].abs().max()) == 0
    assert float(mixture(move_moments(Observed.of(count(data)), Monomials()(z))).sub(theta).abs().max()) == 0


def test_an_exact_mixture_is_found() -> None:
    """Counts in proportion to a mixture: its laws come back."""
    stream = Stream(5)
    z = torch.rand(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2
    laws = torch.softmax(2 * stream.normal((2, 1, 3, 2)), -1)  # [s, a, d, t]
    phi = torch.cat([1 - z.sum(-1, keepdim=True), z], -1)
    moves = 1e6 * torch.einsum("kd,sadt->ksat", phi, laws)
    nothing = torch.zeros_like(moves[..., 0])
    found = Mixture().fit(Observed(moves, nothing, nothing, nothing + 1, nothing[0]), z, NO_NUMBERS[0]).response
    torch.testing.assert_close(found.transition(0, z), torch.einsum("kd,sadt->ksat", phi, laws), rtol=0, atol=1e-6)


# --- ridge regressions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 0.3])
def test_ridge_regressions_are_those_of_scikit_learn(penalty: float) -> None:
    """On every single move, with its weight; both are scaled to the mean square."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    data, z = drawn(e=40)
    found, seen = fitted(Linear(penalty, 2 * penalty), data, z), Observed.of(count(data))
    for s in range(3):
        for a in range(2):
            place, target, reward = rows_of(data, s, a)
            w = seen.weights[place, s, a].numpy()
            for y, p, weight, ours in (
                (torch.eye(3)[target].numpy(), penalty, w, found.theta[s, a]),
                (reward.numpy()[:, None], 2 * penalty, np.ones(len(w)), found.rho[s, a, :, None]),
            ):
                ridge = linear_model.Ridge(alpha=(p + TINY) * weight.sum()).fit(z[place].numpy(), y, weight)
                np.testing.assert_allclose(ours[0], ridge.intercept_.ravel(), rtol=1e-6, atol=1e-8)
                np.testing.assert_allclose(ours[1:].T, np.atleast_2d(ridge.coef_), rtol=1e-5, atol=1e-7)


def test_features_are_all_products() -> None:
    z = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    assert Monomials(2)(z)[0].tolist() == [1, 2, 3, 4, 6, 9]
    assert Monomials(3)(z).shape == (1, 10)


@pytest.mark.parametrize("bandwidth", [0.1, 0.4])
def test_the_kernel_law_is_kernel_ridge_where_every_place_is_a_landmark(bandwidth: float) -> None:
    data, z = drawn(e=30)
    penalty = 1e-2
    found, seen = fitted(Kernel(bandwidth, penalty, penalty, len(z)), data, z), Observed.of(count(data))
    P = found.transition(0, z)
    for s in range(3):
        for a in range(2):
            w = seen.weighted_visits[:, s, a]
            some = w > 0
            y = seen.moves[some, s, a] / seen.visits[some, s, a, None]
            full = KernelRidge("gaussian", (penalty + TINY) * float(w.sum()), bandwidth)
            theirs = full.fit(z[some], y, weights=w[some]).predict(z)
            torch.testing.assert_close(P[:, s, a], theirs, rtol=1e-4, atol=1e-5)


def test_few_landmarks_come_near_the_full_kernel() -> None:
    data, z = drawn(e=200, h=5, n=10)
    all_of, few = (fitted(Kernel(0.4, 1e-3, 1e-3, m), data, z) for m in (50, 20))
    torch.testing.assert_close(few.transition(0, z), all_of.transition(0, z), rtol=0, atol=5e-3)


def test_whitened_bumps_reproduce_the_kernel() -> None:
    z = Stream(0).uniform((9, 2))
    phi = Bumps.at(z, 0.3)(z)[:, 1:]
    kernel = torch.exp(-(z[:, None] - z).square().sum(-1) / (2 * 0.3**2))
    torch.testing.assert_close(phi @ phi.T, kernel, rtol=0, atol=1e-9)


def test_cross_validation_takes_the_penalty_of_least_error_on_episodes_left_out() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    from gamesim.estimation.regressions import PENALTIES

    data, z = drawn(e=20)
    folds = torch.nn.functional.one_hot(torch.arange(20) % 4, 4).mT.double()
    seen = Observed.of(count(data, folds))
    seen = dataclasses.replace(seen, weights=torch.ones_like(seen.weights))
    errors = np.zeros(len(PENALTIES))
    whole = Observed.of(count(data)).visits.sum(0)
    for fold in range(4):
        train, test = (data.subset(episodes=(torch.arange(20) % 4 == fold) == held) for held in (False, True))
        for s in range(3):
            for a in range(2):
                (place, target, _), (at, truth, _) = rows_of(train, s, a), rows_of(test, s, a)
                for i, penalty in enumerate(PENALTIES):
                    alpha = (float(penalty) + TINY) * float(whole[s, a])
                    ridge = linear_model.Ridge(alpha=alpha).fit(z[place].numpy(), torch.eye(3)[target].numpy())
                    errors[i] += ((ridge.predict(z[at].numpy()) - torch.eye(3)[truth].numpy()) ** 2).sum()
    assert cross_validated(move_moments(seen, Monomials()(z))) == pytest.approx(float(PENALTIES[errors.argmin()]))


def test_penalties_left_open_are_chosen_only_where_there_is_something_to_learn() -> None:
    data, z = drawn(e=20)
    folds = torch.nn.functional.one_hot(torch.arange(20) % 4, 4).mT.double()
    features = Monomials()
    tuned = Linear(0.5).tuned(features, Observed.of(count(data, folds)), z)
    assert tuned.penalty == 0.5
    assert tuned.reward_penalty is not None
    still = AgentData(data.states, data.actions, 0 * data.rewards, data.next_states, state_count=3, action_count=2)
    seen = Observed.of(count(still, folds))
    assert Mixture().tuned(features, seen, z) == Mixture()
    assert Linear().tuned(features, seen, z).reward_penalty is None


def test_pairs_never_seen_go_anywhere_alike_and_earn_nothing() -> None:
    data, z = drawn(e=20)
    one = AgentData(data.states, 0 * data.actions, data.rewards, data.next_states, state_count=3, action_count=2)
    for law in (Mixture(), Linear(), Polynomial(2), Kernel(0.3)):
        found = fitted(law, one, z)
        torch.testing.assert_close(found.transition(0, z)[:, :, 1], torch.full((12, 3, 3), 1 / 3).double())
        assert float(found.reward(0, z)[:, :, 1].abs().max()) == 0


# --- likelihood -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["mixture", "linear(0.01)", "polynomial(2, 0.001)", "kernel(0.3, 0.01)"])
def test_the_misfit_from_moments_is_that_of_every_move(text: str) -> None:
    """With the penalties, which are what makes the response the minimum."""
    data, z = drawn(e=50, h=5, n=10)
    seen = Observed.of(count(data))
    law = convert(text, Law, "law")
    fit = law.fit(seen, z, NO_NUMBERS[0])
    assert isinstance(fit.response, Regressed)
    P, r = fit.response.transition(0, z), fit.response.reward(0, z)
    moved = earned = 0.0
    for s in range(3):
        for a in range(2):
            place, target, reward = rows_of(data, s, a)
            w = seen.weights[place, s, a]
            missed = (torch.eye(3).double()[target] - P[place, s, a]).square().sum(-1)
            theta, rho = fit.response.theta[s, a, 1:], fit.response.rho[s, a, 1:]
            moved += float((w * missed).sum() + (law.penalty + TINY) * w.sum() * theta.square().sum())
            faint = FAINT if law.reward_penalty is None else law.reward_penalty
            earned += float((reward - r[place, s, a]).square().sum() + (faint + TINY) * len(w) * rho.square().sum())
    total = len(data)
    looped = moved / 2 + 0.5 * total * np.log((earned + float(seen.reward_noise)) / total)
    assert float(fit.misfit) == pytest.approx(looped, rel=1e-9)
    whole = misfit(fit.response, seen, z)  # without penalties
    assert float(fit.misfit) - 20 < float(whole) < float(fit.misfit)


def test_the_log_likelihood_is_that_of_every_move() -> None:
    data, z = drawn(e=50)
    counts = count(data)
    response = fitted(Mixture(), data, z)
    P, r = response.transition(0, z).view(3, 4, 3, 2, 3), response.reward(0, z).view(3, 4, 3, 2)
    h, n = torch.arange(3)[:, None], torch.arange(4)
    at = h, n, data.states.long(), data.actions.long()
    missed = (data.rewards - r[at]).square()
    normal = torch.distributions.Normal(0.0, float(missed.mean().sqrt()))
    plain = P[(*at, data.next_states.long())].log().sum() + normal.log_prob(missed.sqrt()).sum()
    torch.testing.assert_close(log_likelihood(response, z, counts), plain, rtol=1e-6, atol=0)
    each = log_likelihoods(response, z.view(3, 4, 3)[:, :1], counts)  # every agent at the first place
    assert each.shape == (4, 1)
    own = log_likelihoods(response, z.view(3, 4, 3), counts)
    assert int(own.sum(0).argmax()) in range(4)
    moved = P[h, 0, data.states.long(), data.actions.long(), data.next_states.long()].log().sum((0, 1))
    quiet = AgentData(data.states, data.actions, 0 * data.rewards, data.next_states, state_count=3, action_count=2)
    still = Regressed(response.features, response.theta, 0 * response.rho)
    torch.testing.assert_close(log_likelihoods(still, z.view(3, 4, 3)[:, :1], count(quiet))[:, 0], moved)


def test_weights_make_squares_the_likelihood_of_two_states() -> None:
    """p (1 - p) / 2 each way: the second derivative of w |y - P|^2 / 2 in p is that of -log P at the frequencies."""
    moves = torch.tensor([30.0, 70.0], dtype=torch.float64).view(1, 1, 1, 2)
    nothing = torch.zeros(1, 1, 1, dtype=torch.float64)
    seen = Observed(moves, nothing, nothing, nothing, nothing[0]).weighed(moves / 100)
    p = 0.3
    likelihood = 100 / (p * (1 - p))
    squares = float(seen.weighted_visits) * 2  # |y - P|^2 moves both entries
    assert squares == pytest.approx(likelihood)


# --- known equations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "game"), [("graphon/sis", SIS(horizon=3)), ("graphon/beach", Beach(horizon=3))])
def test_a_mechanism_at_its_own_numbers_is_the_game(kind: str, game: Any) -> None:
    law = convert(kind, Law, "law")
    z = Stream(0).uniform((5, game.shape[-2])) / 2
    free = law.centre[None]
    response = law.fit(Observed(*_nothing(game)), z[None], free).response
    assert isinstance(response, Played)
    torch.testing.assert_close(response.transition(0, z)[0], game.kernel(0, z))
    torch.testing.assert_close(response.reward(0, z)[0], game.reward(0, z).expand_as(response.reward(0, z)[0]))
    assert set(response.numbers) == set(law.numbers_of(free))


def _nothing(game: Any) -> tuple[Tensor, ...]:
    s, a = game.shape[-2:]
    one = torch.ones(5, s, a, dtype=torch.float64)
    return one[..., None].expand(5, s, a, s), 0 * one, one, one, 0 * one[0]


def test_games_that_are_no_laws_are_refused() -> None:
    refused = {"json:JSONDecoder": "a graphon game", "graphon/fitted": "data", "graphon/siss": "did you mean"}
    for value, words in refused.items():
        with pytest.raises(InvalidInput, match=words):
            convert(value, Law, "law")
    with pytest.raises(InvalidInput, match="one game"):
        convert(SIS(infection=torch.tensor([0.5, 0.6])), Law, "law")


def test_laws_are_written_as_they_are_read() -> None:
    for text in ("mixture", "linear", "linear(0.1)", "polynomial(3)", "polynomial(2, 0.001)", "kernel(0.3)",
                 "kernel(0.3, 0.1, reward_penalty=0.2)", "mixture(reward_penalty=0.01)"):  # fmt: skip
        law = convert(text, Law, "law")
        assert str(law) == text
        assert convert(str(law), Law, "law") == law


def test_pay_moments_have_one_target() -> None:
    data, z = drawn()
    moments = pay_moments(Observed.of(count(data)), Monomials()(z))
    assert moments.moment.shape == (3, 2, 4, 1)
    fit = regress(Monomials(), Observed.of(count(data)), z, 0.1, 0.1)
    assert fit.misfit.shape == ()
