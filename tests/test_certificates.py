"""Certificates against brute force, closed forms, automatic differentiation and the solvers themselves."""

import json
import math
from dataclasses import dataclass, replace
from typing import Any, final

import pytest
import torch
from torch import Tensor

from gamesim.algorithms import GMFGPPO, PolicyMirrorDescent
from gamesim.certificates import Certificate, certify, violation
from gamesim.certificates.contraction import contraction, distance, local_eigenvalues, respond_flow
from gamesim.certificates.equilibrium import centred, find_equilibrium, respond
from gamesim.certificates.falsifier import _ascend, _score, _with_actions, falsify, random_pairs
from gamesim.certificates.interaction import transitions_depend
from gamesim.certificates.monotonicity import Monotonicity, monotonicity
from gamesim.certificates.proposals import best_pull, spectral_radius
from gamesim.envs import SIS, Beach, CrowdModelling, Cyber, Investment, LeftRight, RockPaperScissors
from gamesim.errors import InvalidInput
from gamesim.games import GraphonGame
from gamesim.graphons import (
    BlockGraphon,
    Empirical,
    ErdosRenyi,
    Exponential,
    Graphon,
    PowerLaw,
    RankedAttachment,
    StochasticBlock,
    UniformAttachment,
)
from gamesim.kernels import fused
from gamesim.loop import solve
from gamesim.parameters import plain
from gamesim.randomness import Stream
from gamesim.schedules import Constant
from gamesim.simplex import softmax


@final
@dataclass(frozen=True, kw_only=True)
class Linear(GraphonGame):
    """r = base + K z with any K, its own at each step or position where asked, and a walk that does not feel z."""

    horizon: int = 2
    seed: int = 0
    by_step: bool = False
    by_position: bool = False
    symmetric: bool = False
    states: int = 3
    actions: int = 2

    @property
    def initial(self) -> Tensor:
        return torch.full((self.states,), 1 / self.states, **self.like)

    def slopes(self, h: int) -> Tensor:
        """K[..., s, a, t]."""
        at = self.seed + (100 * h if self.by_step else 0)
        k = len(self.grid) if self.by_position else 1
        K = Stream(at).normal((k, self.states, self.actions, self.states), **self.like)
        if self.symmetric:  # the same for each action, symmetric in the states, as in a congestion
            K = (K[:, :, :1] + K[:, :, :1].transpose(1, 3)).expand_as(K)
        return K if self.by_position else K[0]

    def reward(self, h: int, z: Tensor) -> Tensor:
        K = self.slopes(h)
        return torch.einsum("ksat,...kt->...ksa", K.expand(z.shape[-2], *K.shape[-3:]), z) + 1.0

    def transition(self, h: int, z: Tensor) -> Tensor:
        shift = torch.eye(self.states, **self.like)
        return torch.stack([shift.roll(a, -1) for a in range(self.actions)], 1)


def largest_by_brute_force(game: GraphonGame, h: int) -> float:
    """The largest eigenvalue of the form: written out on a basis, from nothing but the game's own rewards."""
    k, s, a = game.shape
    n = s * a
    zero_sum = torch.linalg.svd(torch.ones(1, n, dtype=torch.float64))[2][1:]  # [n - 1, n]
    q = game.grid.weights
    basis = torch.zeros(k * (n - 1), k, s, a, dtype=torch.float64)
    for i in range(k):
        basis[i * (n - 1) : (i + 1) * (n - 1), i] = zero_sum.view(-1, s, a) / q[i].sqrt()
    nobody = torch.full((k, s), 1 / s, dtype=torch.float64)

    def felt(mass: Tensor) -> Tensor:
        return game.reward(h, game.aggregate_at(h, mass)).expand(*mass.shape[:-1], s, a)

    change = felt(nobody + 1e-3 * basis.sum(-1)) - felt(nobody)
    form = torch.einsum("iksa,jksa,k->ij", basis, change, q) / 1e-3
    return float(torch.linalg.eigvalsh((form + form.mT) / 2)[-1])


def judged(game: GraphonGame, pairs: int = 512) -> Monotonicity:
    return monotonicity(game, pairs, Stream(0))


# --- weak monotonicity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graphon", "verdict", "ends"),
    [
        (UniformAttachment(), "holds", (0.0, 0.4053)),
        (ErdosRenyi(0.5), "holds", (0.0, 0.5)),
        (StochasticBlock(0.9, 0.3), "holds", (0.0, 0.6765)),
        (PowerLaw(0.5), "holds", None),
        (RankedAttachment(), "fails", (-0.1076, 0.7743)),
        (Exponential(3.0), "fails", (-0.0136, 0.4083)),
    ],
    ids=str,
)
def test_a_crowd_is_monotone_where_the_graphon_is_positive(
    graphon: Graphon, verdict: str, ends: tuple[float, float] | None
) -> None:
    """r = -c z(s): weakly monotone exactly where W is positive semidefinite."""
    game = Beach(graphon=graphon, positions=200, horizon=15, crowd=8.0)
    found = judged(game)
    assert (found.verdict, found.kind) == (verdict, "linear")
    assert found.eigenvalues is not None
    x = game.grid.positions
    dense = torch.linalg.eigvalsh(graphon(x[:, None], x) / 200)
    assert found.eigenvalues["graphon"] == pytest.approx((float(dense[0]), float(dense[-1])), abs=1e-12)
    if ends is not None:
        assert found.eigenvalues["graphon"] == pytest.approx(ends, abs=1e-4)
    assert found.eigenvalues["interaction"] == pytest.approx((-24, 0))  # -c on z(s), for each of three actions
    assert found.worst == pytest.approx(max(0.0, -24 * float(dense[0])) if verdict == "fails" else 0.0, abs=1e-4)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"symmetric": True, "normalize": True},
        {"normalize": True},
        {"by_position": True},
        {"by_step": True, "graphon": (ErdosRenyi(0.3), RankedAttachment())},
        {"quadrature": "gauss-legendre", "graphon": PowerLaw(0.3)},
        {"quadrature": "block", "positions": None, "graphon": StochasticBlock(0.2, 0.7)},
        {"graphon": RankedAttachment(), "operator": "low-rank", "positions": 7},
        {"graphon": RankedAttachment(), "operator": "low-rank", "positions": 7, "normalize": True},
        {"graphon": StochasticBlock(0.2, 0.7), "operator": "step"},
        {"clip": True},
        {"positions": 1},
        {"actions": 1},
    ],
    ids=str,
)
def test_the_largest_eigenvalue_is_that_of_the_form_written_out(settings: dict[str, Any], seed: int) -> None:
    settings = {"positions": 6, "seed": seed, "graphon": UniformAttachment(), **settings}
    game = Linear(**settings)
    found = judged(game)
    expected = max(largest_by_brute_force(game, h) for h in range(game.horizon))
    assert found.kind == "linear"
    assert found.worst == pytest.approx(expected, abs=1e-9)
    assert found.verdict == ("fails" if expected > 1e-6 else "holds")


@pytest.mark.parametrize(
    "game",
    [
        Beach(graphon=RankedAttachment(), positions=20),
        Linear(by_position=True, positions=6, seed=3),
        RockPaperScissors(),
        Investment(graphon=Exponential(3.0), positions=20),
        Beach(graphon=PowerLaw(0.5), clip=True, positions=20),
    ],
    ids=lambda game: type(game).__name__,
)
def test_a_witness_can_be_checked_by_hand(game: GraphonGame) -> None:
    found = judged(game, 2048)
    assert found.verdict == "fails"
    assert found.witness is not None
    one, other = found.witness.one, found.witness.other
    for rho in (one, other):
        assert (rho >= 0).all()
        torch.testing.assert_close(rho.sum((-2, -1)), torch.ones(len(game.grid), dtype=torch.float64))
    h, total = found.witness.h, 0.0
    r = [game.reward(h, game.aggregate_at(h, rho.sum(-1))).expand_as(rho) for rho in (one, other)]
    for k, weight in enumerate(game.grid.weights.tolist()):
        total += weight * float(((one[k] - other[k]) * (r[0][k] - r[1][k])).sum())
    assert total == pytest.approx(found.violation)
    assert total > 1e-3


def test_the_eigenvector_breaks_the_inequality_by_its_eigenvalue() -> None:
    game = Beach(graphon=RankedAttachment(), positions=20, crowd=2.0, quadrature="gauss-legendre")
    found = judged(game)
    assert found.witness is not None
    assert found.violation is not None
    size = game.mean(((found.witness.one - found.witness.other) ** 2).sum((-2, -1)))
    assert found.violation / float(size) == pytest.approx(found.worst)


@pytest.mark.parametrize("graphon", [RankedAttachment(), Exponential(3.0), PowerLaw(0.5)], ids=str)
def test_investment_is_refuted_off_constant_graphons(graphon: Graphon) -> None:
    found = judged(Investment(graphon=graphon, positions=40), 1024)
    assert (found.verdict, found.kind) == ("fails", "falsifier")
    assert found.violation is not None
    assert found.violation > 0.01


def test_a_search_that_finds_nothing_decides_nothing() -> None:
    """Investment on a constant graphon is monotone: profit falls with the mean quality, which all feel alike."""
    found = judged(Investment(graphon=ErdosRenyi(0.5), positions=10), 1000)
    assert (found.verdict, found.violation, found.witness) == ("undecided", None, None)
    assert "1000 random pairs" in found.reason


def test_the_worst_actions_are_found_without_search() -> None:
    """rho and rho' for given state laws: the best of all 4 x 4 pairs of deterministic choices."""
    game = Linear(positions=1, seed=4, states=2, actions=2)
    mu, nu = random_pairs(game, 30, Stream(1))
    found = violation(game, 0, *_with_actions(game, 0, mu, nu))
    choices = torch.tensor([[[1, 0], [1, 0]], [[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, 1], [0, 1]]]).double()
    best = torch.stack(
        [violation(game, 0, mu[..., None] * one, nu[..., None] * other) for one in choices for other in choices]
    ).amax(0)
    torch.testing.assert_close(found, best)


def test_laws_of_a_search_are_laws_and_repeat() -> None:
    game = Investment(positions=7)
    pairs = random_pairs(game, 300, Stream(3))
    for law, again in zip(pairs, random_pairs(game, 300, Stream(3)), strict=True):
        torch.testing.assert_close(law.sum(-1), torch.ones(300, 7, dtype=torch.float64))
        assert (law >= 0).all()
        assert torch.equal(law, again)


@final
@dataclass(frozen=True, kw_only=True)
class Detached(GraphonGame):
    """A user's own game, whose reward leaves torch: no gradient."""

    attraction: float = 1.0

    @property
    def initial(self) -> Tensor:
        return torch.tensor([0.5, 0.5], **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return torch.from_numpy(self.attraction * z.numpy() ** 2)[..., None].repeat_interleave(2, -1)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return torch.eye(2, **self.like)[:, None].expand(2, 2, 2)


def test_a_reward_without_gradients_is_searched_all_the_same() -> None:
    assert judged(Detached(positions=5)).verdict == "fails"
    assert judged(Detached(positions=1, attraction=-1.0)).verdict == "undecided"


def test_rewards_that_are_infinite_somewhere_break_nothing() -> None:
    assert judged(CrowdModelling()).verdict == "undecided"


def test_rewards_that_feel_nobody_are_monotone() -> None:
    found = judged(SIS(positions=5))
    assert (found.verdict, found.worst) == ("holds", 0.0)
    assert "no difference of rewards" in found.reason


class Falling(Graphon):
    """W = 1 - 0.9 min(x, y): a running sum, but not positive."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - 0.9 * torch.minimum(x, y)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - 0.9 * x, torch.ones_like(x)


def test_every_step_counts() -> None:
    """Normalised, both graphons pay the same for the same law; only the second is not positive."""
    one, two = ErdosRenyi(0.5), RankedAttachment()
    found = judged(Beach(horizon=2, positions=10, normalize=True, graphon=(one, two)))
    assert found.verdict == "fails"
    assert found.witness is not None
    assert found.witness.h == 1
    assert judged(Beach(horizon=2, positions=10, normalize=True, graphon=(one, one))).verdict == "holds"


def test_large_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Low rank and running sums need no dense eigenvalues; a network's negative eigenvalue is found by Krylov's."""
    assert judged(Beach(positions=5000, horizon=1)).verdict == "holds"
    assert judged(Beach(positions=5000, horizon=1, graphon=Exponential(3.0))).verdict == "fails"
    n = 2500
    ring = torch.zeros(n, n)
    ring[torch.arange(n), (torch.arange(n) + 1) % n] = 1
    network = judged(Beach(horizon=1, graphon=Empirical(ring + ring.T), quadrature="block"))
    assert network.verdict == "fails"
    assert network.eigenvalues is not None
    low, high = network.eigenvalues["graphon"]  # 2 cos(2 pi j / n) / n
    assert (-2 / n - 1e-9 <= low < -1.9 / n, 1.9 / n < high <= 2 / n + 1e-9) == (True, True)
    monkeypatch.setattr("gamesim.certificates.spectrum.LIMIT", 20)
    assert judged(Beach(horizon=1, positions=70, graphon=Falling())).verdict == "fails"
    assert Beach(horizon=1, positions=70, graphon=Falling()).operators[0].form == "prefix-sum"
    monkeypatch.setattr("gamesim.certificates.spectrum.STEPS", 15)
    dense = Beach(horizon=1, positions=60, graphon=UniformAttachment(), operator="dense")
    assert (judged(dense).verdict, judged(dense).kind) == ("undecided", "falsifier")
    assert judged(replace(dense, graphon=RankedAttachment())).verdict == "fails"
    many = BlockGraphon(tuple(tuple(0.3 + 0.5 * (i == j) for i in range(15)) for j in range(15)))
    assert judged(replace(dense, graphon=many, operator="step")).verdict == "undecided"  # 2 x 15 columns are too many
    assert judged(Linear(positions=30, by_position=True)).verdict == "fails"


def test_transitions_that_feel_the_population_are_seen() -> None:
    feel = [SIS(positions=3), Cyber(positions=3)]
    not_ = [Beach(positions=3), Investment(positions=3), LeftRight(), RockPaperScissors(), Linear(positions=2)]
    assert [transitions_depend(game, Stream(0)) for game in (*feel, *not_)] == [True] * 2 + [False] * 5
    assert not transitions_depend(SIS(positions=3, infection=0.0), Stream(0))


# --- contraction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_left_right_has_a_constant_in_closed_form(lam: float) -> None:
    """The share m that goes left answers with m' = 1 / (1 + exp((3 m - 2) / lam)), of slope -3 m' (1 - m') / lam."""
    found = contraction(LeftRight(), lam, 200, Stream(0))
    low, high = 0.0, 1.0
    for _ in range(60):
        m = (low + high) / 2
        low, high = (m, high) if 1 / (1 + math.exp((3 * m - 2) / lam)) > m else (low, m)
    assert found.local == pytest.approx(3 * m * (1 - m) / lam, rel=1e-6)
    assert found.eigenvalues[0] == pytest.approx((-3 * m * (1 - m) / lam, 0.0), rel=1e-6)
    assert 0.9 * 3 * m * (1 - m) / lam < found.pairs <= 3 / 4 / lam  # the steepest slope is at m' = 1/2
    assert found.verdict == ("fails" if found.pairs >= 1 else "undecided")


@pytest.mark.parametrize(
    "game",
    [
        SIS(horizon=4, positions=3, reward_scale=5.0, graphon=RankedAttachment()),
        Beach(horizon=3, positions=3, states=4, bar=1, crowd=8.0, graphon=Exponential(3.0)),
        Investment(horizon=4, positions=2, qualities=3, normalize=True),
        Linear(horizon=3, positions=3, seed=5),
    ],
    ids=lambda game: type(game).__name__,
)
def test_eigenvalues_are_those_of_lambda_differentiated_and_lam_times_them_of_q(game: GraphonGame) -> None:
    """Three Jacobians share them: of Lambda on flows, of T on scores, and dQ/dy / lam of a policy's own values."""
    lam = 0.5
    there = find_equilibrium(game, lam)
    assert there.found
    found = local_eigenvalues(game, there.scores, lam, Stream(0))
    with fused(False):
        flow = game.flow((softmax(there.scores),))
        of_lambda = torch.func.jacrev(lambda mu: respond_flow(game, mu, lam))(flow)
        of_q = torch.func.jacrev(lambda y: centred(game.feedback((softmax(y),), lam)[0]))(there.scores)
    n, m = flow.numel(), there.scores.numel()
    for jacobian in (of_lambda.reshape(n, n), of_q.reshape(m, m) / lam):
        exact = torch.linalg.eigvals(jacobian)
        for one, other in ((exact, found), (found, exact)):
            leading = one[one.abs() > 1e-3 * exact.abs().max()]
            apart = (leading[:, None] - other).abs().amin(1)
            assert float(apart.max()) < 1e-5 * float(exact.abs().max())


def test_monotone_games_have_eigenvalues_left_of_zero() -> None:
    """dLambda = (Hessian of J*, positive) o (derivative of r, whose symmetric part is negative): real parts <= 0."""
    for graphon in (UniformAttachment(), ErdosRenyi(0.5), PowerLaw(0.5)):
        found = contraction(Beach(graphon=graphon, positions=11, horizon=8, crowd=8.0), 0.3, 8, Stream(0))
        pairs = torch.tensor(found.eigenvalues)
        assert float(pairs[:, 0].max()) < 1e-6
        assert float(pairs[:, 1].abs().max()) < 1e-6  # the interaction is symmetric
        assert found.local is not None
        assert found.local > 1
        assert found.verdict == "fails"


def test_newton_arrives_where_solvers_go() -> None:
    game = Beach(positions=11, horizon=8, crowd=8.0, graphon=Exponential(3.0))
    there = find_equilibrium(game, 1.0)
    assert there.found
    assert there.exploitability < 1e-14
    result = solve(game, PolicyMirrorDescent(Constant(0.4), 1.0), iterations=200)
    torch.testing.assert_close(softmax(there.scores), result.policy[0], atol=1e-8, rtol=0)
    torch.testing.assert_close(respond(game, there.scores, 1.0), there.scores, atol=1e-9, rtol=0)


def test_the_distance_is_what_it_says() -> None:
    game = LeftRight(positions=2)
    one = torch.zeros(2, 2, 3, dtype=torch.float64)
    other = one.clone()
    other[1, 0] = torch.tensor([0.5, -0.25, -0.25])  # at one of two positions, at the second step
    assert float(distance(game, one, other)) == pytest.approx(0.5)


def test_no_equilibrium_is_said() -> None:
    game = SIS(graphon=ErdosRenyi(0.5), positions=3, reward_scale=5.0)
    found = certify(game, temperature=0.01, flows=8, iterations=20)
    assert found.contraction.local is None
    assert found.contraction.exploitability is None
    assert "no equilibrium was found" in found.contraction.reason


# --- step sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [0.5, 3.0, 30.0])
def test_radii_of_real_eigenvalues_in_closed_form(c: float) -> None:
    kappa = torch.linspace(-c, 0, 50, dtype=torch.float64).to(torch.complex128)
    one = torch.tensor(1.0, dtype=torch.float64)
    a = torch.tensor(2 / (2 + c), dtype=torch.float64)
    assert float(spectral_radius(kappa, a, one).max()) == pytest.approx(c / (c + 2))
    a = torch.tensor(2 * (math.sqrt(1 + c) - 1) / c, dtype=torch.float64)
    assert float(spectral_radius(kappa, a, a).max()) == pytest.approx(1 - float(a), abs=1e-6)
    plain_, averaged = (best_pull(kappa / 1.1, averaged=flag) for flag in (False, True))  # there is a margin of a tenth
    assert plain_.a == pytest.approx(min(0.95, 2 / (2 + c)), rel=0.05)
    assert averaged.a == pytest.approx(min(0.95, float(a)), rel=0.1)
    assert averaged.rate <= plain_.rate + 0.01


@pytest.mark.parametrize("kappa", [-2.0 + 0j, 0.4 + 0j, -0.5 + 1.5j])
def test_the_radius_is_that_of_the_two_by_two_matrix(kappa: complex) -> None:
    a, alpha = 0.4, 0.6
    matrix = torch.tensor(
        [[1 - a, a], [alpha * kappa * (1 - a), 1 - alpha + alpha * kappa * a]], dtype=torch.complex128
    )
    expected = torch.linalg.eigvals(matrix).abs().max()
    parts = torch.tensor([kappa, a, alpha], dtype=torch.complex128)
    assert float(spectral_radius(parts[0], parts[1], parts[2])) == pytest.approx(float(expected))


GAMES = {
    "sis": (SIS, {"reward_scale": 5.0}),
    "beach": (Beach, {"crowd": 8.0, "horizon": 15}),
    "investment": (Investment, {}),
}
GRAPHONS = [UniformAttachment(), StochasticBlock(0.9, 0.3), RankedAttachment()]


@pytest.mark.parametrize("graphon", GRAPHONS, ids=str)
@pytest.mark.parametrize("name", GAMES)
def test_proposed_steps_solve_the_papers_games(name: str, graphon: Graphon) -> None:
    cls, settings = GAMES[name]
    game = cls(graphon=graphon, positions=9, **settings)
    found = certify(game, temperature=1.0, pairs=16, flows=8).proposal
    pmd, ppo = found.policy_mirror_descent, found.gmfg_ppo
    assert pmd is not None
    assert ppo is not None
    assert ppo.averaging is not None
    solvers = [
        (PolicyMirrorDescent(Constant(pmd.step_size), 1.0), pmd),
        (GMFGPPO(Constant(ppo.step_size), 1.0, Constant(ppo.averaging)), ppo),
    ]
    for solver, tuning in solvers:
        assert tuning.iterations is not None
        result = solve(game, solver, iterations=100, tolerance=1e-8)
        assert result.iterations <= tuning.iterations + 2  # the trial went to 1e-9 of the start
        assert float(result.regularized_exploitability[0, -1]) <= 1e-8


def iterations_to(game: GraphonGame, solver: Any, gap: float = 1e-8, at_most: int = 300) -> float:
    result = solve(game, solver, iterations=at_most, tolerance=gap)
    return result.iterations if float(result.regularized_exploitability[0, -1]) <= gap else math.inf


def test_proposed_steps_against_naive_ones() -> None:
    """Beach on the power law: the default step never arrives, the safe rule is slower, averaging is faster."""
    game = Beach(graphon=PowerLaw(0.5), positions=31, crowd=8.0, horizon=15)
    found = certify(game, temperature=1.0, pairs=16, flows=8)
    pmd, ppo = found.proposal.policy_mirror_descent, found.proposal.gmfg_ppo
    assert pmd is not None
    assert ppo is not None
    assert found.contraction.local is not None
    safe = 1 / (1 + found.contraction.local)
    counts = {
        "proposed": iterations_to(game, PolicyMirrorDescent(Constant(pmd.step_size), 1.0)),
        "safe": iterations_to(game, PolicyMirrorDescent(Constant(safe), 1.0)),
        "default": iterations_to(game, PolicyMirrorDescent(Constant(0.5), 1.0)),
        "averaged": iterations_to(game, GMFGPPO(Constant(ppo.step_size), 1.0, Constant(ppo.averaging or 1.0))),
    }
    assert counts["default"] == math.inf
    assert counts["safe"] > 1.5 * counts["proposed"]
    assert counts["averaged"] < 0.6 * counts["proposed"]


def test_a_game_that_turns_needs_its_imaginary_parts() -> None:
    """Rock-paper-scissors: by the size of the eigenvalues alone the step would be three times too large."""
    game = RockPaperScissors()
    found = certify(game, temperature=0.1, flows=8)
    tuning = found.proposal.policy_mirror_descent
    assert tuning is not None
    assert found.contraction.local is not None
    sizes_alone = 1 / (1 + found.contraction.local) / 0.1
    assert sizes_alone > 2.5 * tuning.step_size
    assert iterations_to(game, PolicyMirrorDescent(Constant(sizes_alone), 0.1), at_most=500) == math.inf
    assert iterations_to(game, PolicyMirrorDescent(Constant(tuning.step_size), 0.1), at_most=500) < 500


@pytest.mark.parametrize("averaged", [False, True])
def test_the_rate_near_equilibrium_is_the_predicted_one(averaged: bool) -> None:
    """Exploitability is quadratic in the error, so it falls by rate^2 per iteration."""
    game = Beach(graphon=ErdosRenyi(0.5), positions=5, crowd=8.0, horizon=15)
    found = certify(game, temperature=0.3, pairs=16, flows=8).proposal
    tuning = found.gmfg_ppo if averaged else found.policy_mirror_descent
    assert tuning is not None
    assert tuning.rate is not None
    if averaged:
        solver: Any = GMFGPPO(Constant(tuning.step_size), 0.3, Constant(tuning.averaging or 1.0))
    else:
        solver = PolicyMirrorDescent(Constant(tuning.step_size), 0.3)
    gap = solve(game, solver, iterations=400, tolerance=1e-13).regularized_exploitability[0]
    first, last = int((gap < 1e-5).nonzero()[0]), len(gap) - 1
    slope = float((gap[last] / gap[first]).log()) / (last - first)
    expected = 2 * math.log(tuning.rate)
    if averaged:  # errors of the averaged flow that no value feels may be the slowest, and do not show
        assert 1.3 * expected < slope < 0.9 * expected
    else:
        assert slope == pytest.approx(expected, rel=0.1)


def test_nothing_is_promised_without_temperature() -> None:
    found = certify(Beach(positions=5, horizon=3), temperature=0, flows=8)
    assert found.contraction.local is None
    assert (found.proposal.policy_mirror_descent, found.proposal.gmfg_ppo) == (None, None)
    assert found.proposal.online_mirror_descent is not None
    assert found.proposal.online_mirror_descent.startswith("power(")
    assert "no constant step" in found.proposal.reason


# --- the whole ------------------------------------------------------------------------------------------------------


def test_a_certificate_is_plain_data_and_repeats() -> None:
    game = Beach(positions=9, horizon=4, graphon=RankedAttachment())
    found, again = (certify(game, temperature=0.5, flows=8, seed=3) for _ in range(2))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data == json.loads(json.dumps(again.to_json(), allow_nan=False))
    assert set(data) == {
        *("game", "temperature", "reason", "monotone", "transitions_depend_on_population", "contraction", "proposal")
    }
    assert data["monotone"]["verdict"] == "fails"
    assert data["monotone"]["violation"] > 0
    assert data["monotone"]["eigenvalues"]["graphon"][0] < 0
    assert data["transitions_depend_on_population"] is False
    assert data["contraction"]["local"] > 0
    assert data["proposal"]["gmfg-ppo"]["averaging"] <= 1
    json.dumps(plain(found), allow_nan=False)
    rows = found.rows()
    assert all(len(row) == 4 and all(isinstance(cell, str) for cell in row) for row in rows)
    assert [row[0] for row in rows][:3] == ["weakly monotone", "P independent of z", "contraction"]


def test_what_theory_says_in_words() -> None:
    def said(game: GraphonGame) -> Certificate:
        return certify(game, temperature=1.0, pairs=16, flows=4, iterations=0)

    assert "depend on the population" in said(SIS(positions=3, horizon=3)).reason
    assert said(Beach(positions=3, horizon=3)).reason.startswith("weakly monotone")
    assert said(Beach(positions=3, horizon=3, graphon=RankedAttachment())).reason.startswith("not weakly")
    assert "not known" in said(Investment(positions=3, horizon=3)).reason
    untried = said(LeftRight()).proposal.policy_mirror_descent
    assert untried is not None
    assert untried.iterations is None


@pytest.mark.parametrize("size", [{"positions": 1}, {"states": 1}, {"actions": 1}, {"horizon": 1}], ids=str)
def test_the_smallest_games(size: dict[str, int]) -> None:
    found = certify(Linear(**{"positions": 3, "seed": 1, **size}), temperature=0.5, pairs=16, flows=4)
    assert found.contraction.local is not None
    assert math.isfinite(found.contraction.local)
    if "actions" in size or "horizon" in size or "states" in size:
        assert found.contraction.local == 0  # no answer, or none that anybody feels
        assert found.proposal.policy_mirror_descent is not None
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": torch.tensor([1.0, 2.0])}, "one temperature at a time"),
        ({"temperature": "hot"}, "temperature"),
        ({"pairs": 0}, "pairs"),
        ({"flows": 1.5}, "flows"),
        ({"iterations": -1}, "iterations"),
        ({"seed": -1}, "seed"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        certify(LeftRight(), **settings)


@final
@dataclass(frozen=True, kw_only=True)
class Unbatched(GraphonGame):
    """Fails on a batch of policies."""

    @property
    def initial(self) -> Tensor:
        return torch.tensor([0.5, 0.5], **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        k, s = z.shape
        return z.view(k, s, 1).expand(k, s, 2)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return torch.eye(2, **self.like)[:, None].expand(2, 2, 2)


@final
@dataclass(frozen=True, kw_only=True)
class Logarithm(GraphonGame):
    """Infinite where nobody is."""

    @property
    def initial(self) -> Tensor:
        return torch.tensor([1.0, 0.0], **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return z.log()[..., None].expand(*z.shape, 2)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return torch.eye(2, **self.like)[:, None].expand(2, 2, 2)


@pytest.mark.parametrize(
    ("game", "words"),
    [
        (object(), "a GraphonGame"),
        (Beach, "an instance"),
        (Beach(positions=3, dtype="float32"), "float64"),
        (Beach(positions=3, crowd=torch.tensor([1.0, 2.0])), "one game"),
        (Beach(positions=100_000), "fewer"),
        (Logarithm(positions=3), "finite"),
        (Unbatched(positions=3), "batch"),
    ],
    ids=["object", "class", "float32", "batch", "large", "infinite", "unbatched"],
)
def test_what_cannot_be_certified_is_refused(game: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        certify(game)


def test_a_search_in_pieces_finds_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.certificates.falsifier.AT_ONCE", 50_000)  # of 400 rewards each: 125 pairs at once
    found = falsify(Investment(graphon=RankedAttachment(), positions=20), 0, 600, Stream(0))
    assert found is not None
    assert found.value > 0.01


def test_ascent_finds_what_random_pairs_miss() -> None:
    game = Investment(graphon=Exponential(3.0), positions=20)
    start = random_pairs(game, 8, Stream(5))
    risen = _ascend(game, 0, *start)
    assert risen is not None
    before, after = (_score(game, 0, *pairs) for pairs in (start, risen))
    assert (after > before).all()
    assert int((after > 0).sum()) > int((before > 0).sum()) + 3
