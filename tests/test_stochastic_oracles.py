"""Stochastic games against oracles that share no code with them: exact fractions, closed forms, other libraries."""

import contextlib
import io
import itertools
import math
from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test

import gamesim as gs
from gamesim.certificates import certify_policies, certify_policy
from gamesim.envs.wrappers import as_aec, as_gymnasium, as_pettingzoo, tabulate_environment
from gamesim.equilibria.shapley import solve_shapley
from gamesim.equilibria.stationary import find_stationary, pure_stationary
from gamesim.errors import InvalidInput
from gamesim.feedback import Reinforce
from gamesim.games import Sparse, StochasticGame
from gamesim.randomness import Stream
from gamesim.schedules import Constant

# --- a plain implementation in fractions ----------------------------------------------------------------------------


def solved(A: Any, b: Any) -> Any:
    """A x = b by elimination."""
    n, M = len(A), [[*row, x] for row, x in zip(A, b, strict=True)]
    for c in range(n):
        p = next(r for r in range(c, n) if M[r][c] != 0)
        M[c], M[p] = M[p], M[c]
        M[c] = [x / M[c][c] for x in M[c]]
        for r in range(n):
            if r != c:
                M[r] = [x - M[r][c] * y for x, y in zip(M[r], M[c], strict=True)]
    return [row[n] for row in M]


class Plain:
    """R[player, s, a1, ..., an], P[s, a1, ..., an, t] and rho, in loops; policies are lists [player][s][a]."""

    def __init__(self, reward: Any, kernel: Any, rho: Any) -> None:
        self.counts, self.states = reward.shape[2:], range(len(rho))
        self.joint = list(itertools.product(*map(range, self.counts)))
        self.players = range(len(self.counts))
        self.R = [[{j: Fraction(float(R[s][j])) for j in self.joint} for s in self.states] for R in reward]
        self.P = [{j: [Fraction(float(x)) for x in kernel[s][j]] for j in self.joint} for s in self.states]
        self.rho = [Fraction(float(x)) for x in rho]

    def alone(self, i: int, policy: Any) -> tuple[Any, Any]:
        """Rewards [s][a] and laws [s][a][t] of one player, the others fixed."""
        paid = [[Fraction(0)] * self.counts[i] for _ in self.states]
        law = [[[Fraction(0)] * len(self.states) for _ in range(self.counts[i])] for _ in self.states]
        for s, j in itertools.product(self.states, self.joint):
            w = math.prod(policy[k][s][j[k]] for k in self.players if k != i)
            paid[s][j[i]] += w * self.R[i][s][j]
            law[s][j[i]] = [x + w * y for x, y in zip(law[s][j[i]], self.P[s][j], strict=True)]
        return paid, law

    def values(self, i: int, policy: Any) -> tuple[Any, Any]:
        """V_i[s] and Q_i[s][a]."""
        paid, law = self.alone(i, policy)
        return self._followed(paid, law, policy[i])

    def _followed(self, paid: Any, law: Any, x: Any) -> tuple[Any, Any]:
        actions = range(len(paid[0]))
        A = [[(s == t) - sum(x[s][a] * law[s][a][t] for a in actions) for t in self.states] for s in self.states]
        V = solved(A, [sum(x[s][a] * paid[s][a] for a in actions) for s in self.states])
        Q = [[paid[s][a] + sum(map(math.prod, zip(law[s][a], V, strict=True))) for a in actions] for s in self.states]
        return V, Q

    def best(self, i: int, policy: Any) -> Any:
        """max V_i[s] over own policies."""
        paid, law = self.alone(i, policy)
        chosen = [0] * len(self.states)
        while True:
            V, Q = self._followed(paid, law, [[int(a == b) for a in range(self.counts[i])] for b in chosen])
            better = [a if Q[s][a] == max(Q[s]) else Q[s].index(max(Q[s])) for s, a in enumerate(chosen)]
            if better == chosen:
                return V
            chosen = better

    def verdict(self, policy: Any) -> str:
        """By the definitions: does somebody gain in a visited state; has everyone one best action in every state."""
        visited = [x > 0 for x in self.rho]
        for _, s, j, t in itertools.product(self.states, self.states, self.joint, self.states):
            likely = math.prod(policy[i][s][j[i]] for i in self.players) * self.P[s][j][t]
            visited[t] = visited[t] or (visited[s] and likely > 0)
        strict = all(visited) or max(self.counts) == 1
        for i in self.players:
            V, Q = self.values(i, policy)
            if any(best > v for best, v, seen in zip(self.best(i, policy), V, visited, strict=True) if seen):
                return "not-nash"
            strict = strict and all(row.count(max(row)) == 1 for row in Q)
        return "strict" if strict else "nash-not-sos"

    def pure(self) -> list[tuple[Any, Fraction]]:
        """All pure stationary equilibria and what the best deviation in one state loses."""
        found = []
        for chosen in itertools.product(*(itertools.product(range(c), repeat=len(self.states)) for c in self.counts)):
            policy, losses = one_hot(chosen, self.counts), []
            for i in self.players:
                V, Q = self.values(i, policy)
                losses += [V[s] - q for s in self.states for a, q in enumerate(Q[s]) if a != chosen[i][s]]
            if min(losses) >= 0:
                found.append((chosen, min(losses)))
        return found


def one_hot(chosen: Any, counts: Any) -> Any:
    return [[[Fraction(int(a == b)) for a in range(c)] for b in row] for row, c in zip(chosen, counts, strict=True)]


def whole(luck: np.random.Generator, states: int, counts: Any, loose: float = 0.5) -> tuple[Any, Any, Any]:
    """Rewards from -2 to 2, probabilities in eighths, some of them 0, and a first state: ties are exact."""
    reward = luck.integers(-2, 3, size=(len(counts), states, *counts)).astype(float)
    kernel = luck.integers(0, 3, size=(states, *counts, states)) * (luck.random((states, *counts, states)) < loose) / 8
    rho = np.eye(states)[luck.integers(states)]
    return reward, kernel, rho


def made(reward: Any, kernel: Any, rho: Any = None, discount: float = 1.0) -> StochasticGame:
    start = None if rho is None else torch.as_tensor(rho)
    return StochasticGame(torch.as_tensor(reward), torch.as_tensor(kernel), start, discount, player_count=len(reward))


# --- values and verdicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(3,), (2, 3), (2, 2, 2)])
def test_values_and_best_responses_in_fractions(counts: Any) -> None:
    luck = np.random.default_rng(len(counts))
    for _ in range(4):
        reward, kernel, rho = whole(luck, 3, counts, loose=0.8)
        policy = [luck.integers(1, 4, size=(3, c)).astype(float) for c in counts]
        policy = [x / x.sum(1, keepdims=True) for x in policy]
        plain, game = Plain(reward, kernel, rho), made(reward, kernel, rho)
        exact = [[[Fraction(float(p)) for p in row] for row in x] for x in policy]
        given = tuple(map(torch.as_tensor, policy))
        total = 0.0
        for i in range(len(counts)):
            V, Q = plain.values(i, exact)
            best = plain.best(i, exact)
            gains = [float(b - v) for b, v in zip(best, V, strict=True)]
            np.testing.assert_allclose(game.state_values(given)[i], np.array(V, float), atol=1e-12)
            np.testing.assert_allclose(game.values(given)[i], np.array(Q, float), atol=1e-12)
            np.testing.assert_allclose(game.gains(given)[i], gains, atol=1e-12)
            total += float(sum(map(math.prod, zip(gains, rho, strict=True))))
        assert float(game.exploitability(given)) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("counts", [(2,), (1, 2), (2, 2), (2, 2, 2)])
def test_verdicts_are_those_of_exact_arithmetic(counts: Any) -> None:
    """Also for states that only deviations reach: a quarter of the entries of the laws are not 0."""
    luck, seen = np.random.default_rng(0), set()
    for _ in range(5):
        reward, kernel, rho = whole(luck, 3 if len(counts) < 3 else 2, counts)
        profiles = list(itertools.product(*(itertools.product(range(c), repeat=len(rho)) for c in counts)))
        tried = [one_hot(profiles[k], counts) for k in luck.permutation(len(profiles))[:12]]
        wanted = [Plain(reward, kernel, rho).verdict(policy) for policy in tried]
        stacked = tuple(
            torch.tensor([[list(map(float, r)) for r in p[i]] for p in tried]).double() for i in range(len(counts))
        )
        level = 1e6 * (1 - kernel.sum(-1))  # everything is worth a million more
        for paid in (reward, 1e6 * reward, 1e-6 * reward, reward + level):
            found = [c.verdict for c in certify_policies(made(paid, kernel, rho), stacked)]
            assert found == wanted
        seen |= set(wanted)
    assert {"not-nash", "nash-not-sos"} <= seen


@pytest.mark.parametrize("discount", [0.9, 0.9999, 1 - 1e-6, 1 - 1e-8])
def test_a_gain_behind_a_state_that_is_not_visited_is_a_gain_at_any_discount(discount: float) -> None:
    """Stay for ever, or go where the policy loses 5 although 0.001 could be won: near ties times 1 / zeta are more."""
    kernel = np.zeros((2, 2, 2))
    kernel[0, 0, 0] = kernel[0, 1, 1] = 1
    game = made(np.array([[[0, 0], [-5, 0.001]]]), kernel, np.array([1.0, 0.0]), discount)
    found = certify_policy(game, [[0, 0]])
    assert found.verdict == "not-nash"
    assert found.deviation is not None
    assert found.deviation.gain == pytest.approx(0.001 * discount)
    loses = made(np.array([[[0, 0], [-5, -0.001]]]), kernel, np.array([1.0, 0.0]), discount)
    assert certify_policy(loses, [[0, 0]]).verdict == "nash-not-sos"
    assert certify_policy(loses, [[0, 0]]).perfect is False


@pytest.mark.parametrize("discount", [0.9, 1 - 1e-6, 1 - 1e-8])
def test_what_is_lost_in_one_step_is_lost_at_any_discount(discount: float) -> None:
    kernel = np.zeros((2, 2, 2))
    kernel[:, :, 1] = 1
    found = certify_policy(made(np.array([[[0.99, 1.0], [0, 0]]]), kernel, None, discount), [[0, 0]])
    assert found.verdict == "not-nash"


def test_values_that_leave_no_digits_certify_no_ties() -> None:
    """At a level of 1e6 and a discount of 1 - 1e-8 values are 1e14: what differs by 0.001 could be equal."""
    kernel = np.ones((1, 2, 1))
    near = certify_policy(made(1e6 + np.array([[[0.001, 0.0]]]), kernel, None, 1 - 1e-8), [[0]])
    assert near.verdict == "not-certified"
    assert "digits" in near.reason
    assert certify_policy(made(np.array([[[0.001, 0.0]]]), kernel, None, 1 - 1e-8), [[0]]).verdict == "strict"
    assert certify_policy(made(np.full((1, 1, 2), 1e6), kernel, None, 0.9), [[0]]).verdict == "nash-not-sos"


def test_without_a_choice_an_unvisited_state_is_none_the_less_strict() -> None:
    kernel = np.zeros((2, 1, 1, 2))
    found = certify_policy(made(np.ones((2, 2, 1, 1)), kernel, np.array([1.0, 0.0])), [[0, 0], [0, 0]])
    assert (found.verdict, found.unvisited) == ("strict", (1,))


def test_an_action_that_is_played_and_worse_is_no_equilibrium_with_ties_elsewhere() -> None:
    """In state 2 all is equal; in state 1 an action that loses 0.5 is played with a chance of 1e-8 or 1e-9."""
    reward, kernel = np.array([[[1.0, 0.5], [0.0, 0.0]]]), np.zeros((2, 2, 2))
    for chance in (1e-8, 1.5e-9):
        policy = (torch.tensor([[1 - chance, chance], [0.5, 0.5]]).double(),)
        assert certify_policy(made(reward, kernel), policy).verdict == "not-certified"


# --- equilibria -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discount", [0.9, 0.9999, 1 - 1e-6, 1 - 1e-8])
def test_pure_equilibria_at_any_level_and_discount(discount: float) -> None:
    luck = np.random.default_rng(1)
    for _ in range(3):
        reward, kernel = luck.normal(size=(2, 2, 2, 2)), luck.dirichlet(np.ones(2), size=(2, 2, 2))
        wanted = Plain(reward, kernel * discount, np.array([0.5, 0.5])).pure()
        levels = (0.0, 1e6, -1e9) if discount == 0.9 else (0.0, 1e6) if discount < 0.99999 else (0.0,)
        for level in levels:
            found = pure_stationary(made(reward + level, kernel, None, discount))
            assert [tuple(map(tuple, a)) for a in found.actions.tolist()] == [actions for actions, _ in wanted]
            assert found.complete
            assert bool(found.strict.all())
            np.testing.assert_allclose(found.margin, [float(m) for _, m in wanted], atol=1e-4)


@pytest.mark.parametrize("scales", [(1e6, 1e-6), (1e12, 1.0), (1e-13, 1e-13), (1.0, 0.0)])
def test_pure_equilibria_where_players_count_in_different_units(scales: Any) -> None:
    luck = np.random.default_rng(2)
    for _ in range(4):
        reward, kernel, rho = whole(luck, 2, (2, 2))
        unit = np.array(scales)[:, None, None, None]
        wanted = Plain(reward * (unit > 0), kernel, rho).pure()
        found = pure_stationary(made(reward * unit, kernel, rho))
        assert [tuple(map(tuple, a)) for a in found.actions.tolist()] == [actions for actions, _ in wanted]
        assert found.strict.tolist() == [margin > 0 for _, margin in wanted]


@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
def test_who_quits_first(discount: float) -> None:
    """The quitting game of Flesch, Thuijsman and Vrieze (1997), discounted: all quit with the same chance q.

    To quit pays 1 - q, to wait 3 q (1 - q) + q^2 + discount (1 - q)^2 v.
    """
    paid = {(1, 0, 0): (1, 3, 0), (0, 1, 0): (0, 1, 3), (0, 0, 1): (3, 0, 1)}
    paid |= {(1, 1, 0): (1, 0, 1), (1, 0, 1): (0, 1, 1), (0, 1, 1): (1, 1, 0)}
    reward, kernel = np.zeros((3, 1, 2, 2, 2)), np.zeros((1, 2, 2, 2, 1))
    kernel[0, 0, 0, 0, 0] = 1
    for actions, each in paid.items():
        reward[(slice(None), 0, *actions)] = each
    found = find_stationary(made(reward, kernel, None, discount))
    q = float(found.policy[0][0, 1])
    assert all(float(x[0, 1]) == pytest.approx(q, abs=1e-9) for x in found.policy)
    assert 1 - q == pytest.approx(3 * q * (1 - q) + q * q + discount * (1 - q) ** 2 * (1 - q), abs=1e-8)
    assert 0 < q < 1
    assert found.converged


# --- zero-sum -------------------------------------------------------------------------------------------------------


def absorbing(stage: Any, ends: Any, discount: float) -> StochasticGame:
    """One state, and two that pay 1 and 0 for ever: ends[a1][a2] says which one follows, or neither."""
    reward, kernel = np.zeros((3, 2, 2)), np.zeros((3, 2, 2, 3))
    reward[0], reward[1] = stage, 1
    for a, b in itertools.product(range(2), repeat=2):
        kernel[0, a, b, {None: 0, 1: 1, 0: 2}[ends[a][b]]] = 1
    kernel[1, ..., 1] = kernel[2, ..., 2] = 1
    return made(np.stack([reward, -reward]), kernel, np.eye(3)[0], discount)


@pytest.mark.parametrize("rate", [0.5, 0.01, 1e-4, 1e-6])
def test_the_big_match(rate: float) -> None:
    """Blackwell and Ferguson (1968): 1/2 at every discount, and player 1 ends play with rate / (1 + rate)."""
    found = solve_shapley(absorbing([[1, 0], [0, 1]], [[1, 0], [None, None]], 1 - rate), tolerance=1e-9 / rate)
    assert float(found.value) * rate == pytest.approx(0.5, abs=1e-9)
    assert float(found.policy[0][0, 0]) == pytest.approx(rate / (1 + rate), rel=1e-6)
    assert float(found.policy[1][0, 0]) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("rate", [0.5, 0.01, 1e-4, 1e-6])
def test_a_value_like_the_root_of_the_discount_rate(rate: float) -> None:
    """(1 - rate) v^2 + 2 rate v = rate, as Bewley and Kohlberg (1976) have it; Newton's full step overshoots."""
    found = solve_shapley(absorbing([[1, 0], [0, 1]], [[None, 0], [0, 1]], 1 - rate), tolerance=1e-9 / rate)
    value = (-rate + math.sqrt(rate * rate + (1 - rate) * rate)) / (1 - rate)
    assert float(found.value) * rate == pytest.approx(value, abs=1e-9)
    assert bool(found.converged)
    assert found.sweeps < 60
    assert float(found.gap) * rate < 1e-8


@pytest.mark.parametrize("stop", [0.5, 0.01, 1e-5])
def test_a_recursive_game_of_everett(stop: float) -> None:
    """Paid at the end alone: v (2 - (1 - stop) v) = 1."""
    reward = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    kernel = np.zeros((1, 2, 2, 1))
    kernel[0, 0, 0, 0] = 1 - stop
    found = solve_shapley(made(np.stack([reward, -reward]), kernel), tolerance=1e-10)
    assert float(found.value) == pytest.approx((1 - math.sqrt(stop)) / (1 - stop), abs=1e-9)


# --- REINFORCE ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("returns", "baseline"), [("whole", "none"), ("to-go", "none"), ("to-go", "value")])
def test_the_mean_of_reinforce_is_what_automatic_differentiation_says(returns: Any, baseline: Any) -> None:
    """Three players, a discount, state-dependent stopping, sparse laws; on the tangent space, within 4.5 errors."""
    luck, counts, share, discount = np.random.default_rng(3), (2, 3, 2), 0.3, 0.9
    reward, rho = luck.normal(size=(3, 3, *counts)), luck.dirichlet(np.ones(3))
    kernel = luck.dirichlet(np.ones(3), size=(3, *counts)) * luck.uniform(0.2, 0.8, size=(3, *counts, 1))
    order = torch.tensor([2, 0, 1]).expand(3, *counts, 3)
    law = Sparse(order, torch.as_tensor(kernel).gather(-1, order))
    game = StochasticGame(torch.as_tensor(reward), law, torch.as_tensor(rho), discount)
    policy = tuple(torch.as_tensor(luck.dirichlet(np.ones(c), size=3)) for c in counts)
    played = [(1 - share) * x + share / x.shape[-1] for x in policy]
    R, P = torch.as_tensor(reward), discount * torch.as_tensor(kernel)
    estimates = Reinforce(Constant(share), returns=returns, baseline=baseline)(
        game, tuple(x.expand(20_000, 3, -1) for x in policy), 0.0, Stream(tuple(range(20_000)))
    )
    for i, (found, count) in enumerate(zip(estimates, counts, strict=True)):
        x = [y.clone().requires_grad_(k == i) for k, y in enumerate(played)]
        joint = torch.einsum("sa,sb,sc->sabc", *x)
        chain, paid = torch.einsum("sabc,sabct->st", joint, P), torch.einsum("sabc,sabc->s", joint, R[i])
        (torch.linalg.solve(torch.eye(3).double() - chain, paid) @ torch.as_tensor(rho)).backward()  # type: ignore[no-untyped-call]
        gradient = x[i].grad
        assert gradient is not None
        found = found - found.mean(-1, keepdim=True)
        error = found.mean(0) - (gradient - gradient.mean(-1, keepdim=True))
        assert float((error / (found.std(0) / len(found) ** 0.5)).abs().max()) < 4.5
        zeta = float(game.stopping.min())
        assert float(found.var(0).sum()) < 24 * count**2 * float(R.abs().max()) ** 2 / (share * zeta**4)


# --- bridges --------------------------------------------------------------------------------------------------------


def test_a_table_that_does_not_hold_all_luck_is_refused() -> None:
    """In Taxi a fickle passenger changes the destination, which the environment's table P does not say."""
    with pytest.raises(InvalidInput, match="its table P knows"):
        tabulate_environment(gymnasium.make("Taxi-v4", fickle_passenger=True))
    rainy = tabulate_environment(gymnasium.make("Taxi-v4", is_rainy=True), resets=4)
    assert rainy.state_count == 500


@pytest.mark.parametrize("name", ["CliffWalking-v1", "FrozenLake-v1", "FrozenLake8x8-v1"])
def test_toy_text_by_value_iteration_of_its_table(name: str) -> None:
    env = gymnasium.make(name)
    table: Any = env.unwrapped.P  # type: ignore[attr-defined]
    values = np.zeros(len(table))
    for _ in range(600):
        Q = [[sum(p * (r + 0.95 * (not end) * values[t]) for p, t, r, end in law) for law in row.values()]
             for row in table.values()]  # fmt: skip
        values = np.max(Q, -1)
    game = tabulate_environment(env, discount=0.95, resets=2)
    np.testing.assert_allclose(game.best_responses(game.start())[1][0], values, atol=1e-10)


STOCHASTIC = ["climate", "congestion", "constructed", "fishery", "grid-coordination", "potential", "random", "repeated",
              "resource", "soccer", "team", "two-state", "zero-sum"]  # fmt: skip


@pytest.mark.parametrize("name", STOCHASTIC)
def test_every_game_of_the_catalogue_is_an_environment(name: str) -> None:
    game: Any = gs.make(f"stochastic/{name}")
    with contextlib.redirect_stdout(io.StringIO()):
        parallel_api_test(as_pettingzoo(game, longest=20), num_cycles=20)
        api_test(as_aec(game, longest=20), num_cycles=20)
    check_env(as_gymnasium(game, len(game.players) - 1, longest=20), skip_render_check=True)
