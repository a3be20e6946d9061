"""soccer: who learns to play soccer, measured by what the best opponent takes from them, against the exact solution.

Littman, "Markov games as a framework for multi-agent reinforcement learning", ICML 1994. Two players on a small board
choose their moves at the same time; one ball, discount 0.9. The equilibrium mixes: whoever is sure to go one way is
stood in the way of. That is exact here,

    V(s) = max_a min_b [ R(s, a, b) + sum_t P(t | s, a, b) V(t) ]          what a deterministic policy can guarantee

below the value of the game, so that independent Q-learning, whose policies are deterministic but for ties, stays
exploitable however well it learns, while minimax-Q (`nash-q`) learns the value and the mixed policies: Littman's
finding, who let a learned challenger play against both. Here the challenger is the exact best response.

Among learners that see exact values, those without a leading step circle around equilibria of zero-sum games, and with
an optimistic one they converge: Wei, Lee, Zhang and Luo, "Last-iterate convergence of decentralized optimistic gradient
descent/ascent in infinite-horizon competitive Markov games", COLT 2021, for a critic that moves slowly. Here the critic
is exact and nothing is promised.

Exploitability is the sum of what both players could gain. A small board in the quick scale, the paper's 4 x 5 in full.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.independent_q_learning import IndependentQLearning
from gamesim.algorithms.nash_q import NashQ
from gamesim.algorithms.policy_gradient import PolicyGradient
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.stochastic.soccer import Soccer
from gamesim.equilibria.shapley import Shapley, solve_shapley
from gamesim.experiments.over_seeds import band, below, mean_interval
from gamesim.games import TabularGame
from gamesim.loop import Result, solve
from gamesim.schedules import Constant
from gamesim.study import Claim, Scale, Study, at_least, at_most

STEP = 0.2
EXACT = {
    "policy gradient": PolicyGradient(Constant(STEP)),
    "natural, softmax": PolicyGradient(Constant(STEP), parametrization="softmax", natural=True),
    "natural": PolicyGradient(Constant(STEP), natural=True, projection="eager"),
    "natural, optimistic": PolicyGradient(Constant(STEP), natural=True, projection="eager", leader="optimistic"),
}
"""Learners that see exact values."""
CLOSE = 0.1
"""The error of a learned value that a claim allows."""


@dataclass(frozen=True)
class SoccerStudy:
    """Learners from episodes and from exact values, on one board."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        game = Soccer(rows=2, columns=3) if scale == "quick" else Soccer()
        exact = solve_shapley(game, 1e-9)
        sure = guaranteed(game)
        kick_off = (game.initial > 0).nonzero()[:, 0]
        lost = float(((exact.values - sure) * game.initial).sum())
        claims = known(game, exact, sure)
        say(f"  value with the ball {float(exact.values[kick_off].max()):.4f}, a sure player has "
            f"{float(sure[kick_off].max()):.4f}")  # fmt: skip
        played = {name: learn(game, solver, scale) for name, solver in sampled(scale).items()}
        for name, result in played.items():
            say(f"  {name}: exploitability {float(result.exploitability[:, -1].mean()):.3f}")
        claims += from_episodes(played["nash-q"], played["independent q"], exact, kick_off, lost)
        seen = {name: solve(game, solver, iterations=length_of(scale), every="log") for name, solver in EXACT.items()}
        for name, result in seen.items():
            say(f"  {name}: exploitability {float(result.exploitability[0, -1]):.3f}, last decade {late(result):.3f}")
        claims += from_values(seen)
        rows = [row for found in (played, seen) for name, result in found.items() for row in rows_of(name, result)]
        per = episodes_of(scale)
        panels = [
            Panel("From episodes", "episodes", "exploitability", [curve(n, r, per) for n, r in played.items()],
                  log_x=True),
            Panel("From exact values", "iteration", "exploitability", [curve(n, r, 1) for n, r in seen.items()],
                  log_x=True),
        ]  # fmt: skip
        seeds, T = seeds_of(scale), rounds_of(scale)
        notes = (
            f"{game.rows} x {game.columns} cells, {game.state_count} states. From episodes: {seeds} seeds of "
            f"{T * per:,} episodes, {per} an iteration, steps and exploration as the solvers have them by default. "
            f"From exact values: {length_of(scale):,} iterations with steps of {STEP}, from uniform policies; one run "
            "each, without chance. Policies are measured as they are learned, without exploration. The plain gradient "
            "weighs states by visits, of which most have few, and is slow; the natural one weighs them alike."
        )
        return Study(claims, [Chart("soccer", panels)], rows, notes)


def sampled(scale: Scale) -> dict[str, Any]:
    """Learners from episodes."""
    per = episodes_of(scale)
    return {"nash-q": NashQ(episodes=per), "independent q": IndependentQLearning(episodes=per)}


def seeds_of(scale: Scale) -> int:
    return 5


def rounds_of(scale: Scale) -> int:
    return 40 if scale == "quick" else 400


def episodes_of(scale: Scale) -> int:
    return 250 if scale == "quick" else 500


def length_of(scale: Scale) -> int:
    return 1000 if scale == "quick" else 2000


def learn(game: TabularGame, solver: Any, scale: Scale) -> Result:
    return solve(game, solver, iterations=rounds_of(scale), every="log", seeds=seeds_of(scale))


def guaranteed(game: TabularGame) -> Tensor:
    """What the first player can guarantee by a deterministic policy, V[s]: its opponent sees the move that comes."""
    reward, values = game.reward[0], game.reward.new_zeros(game.state_count)
    for _ in range(10_000):
        after = game.law.expect(values).unflatten(-1, game.action_counts)
        better = (reward + after).amin(-1).amax(-1)
        if torch.equal(better, values):
            break
        values = better
    return values


def known(game: Soccer, exact: Shapley, sure: Tensor) -> list[Claim]:
    """The exact solution, and what a deterministic policy falls short of it by."""
    at = game.initial > 0
    ball, blocked = float(exact.values[at].max()), float(sure[at].max())
    words = "exact: a best response gains nothing from the solution of Shapley's equations (exploitability)"
    fair = "exact: nobody has an advantage but the ball (value before it is known who begins)"
    sides = "exact: who begins with the ball is worth more with it than what any deterministic policy guarantees"
    return [
        at_most("exact-equilibrium", words, float(game.exploitability(exact.policy)), 1e-6),
        at_most("exact-fair", fair, abs(float(exact.value)), 1e-6),
        at_least("exact-mixes", f"{sides} by at least 0.1 (guaranteed {blocked:.3g})", ball - blocked, 0.1),
    ]


def from_episodes(nash: Result, alone: Result, exact: Shapley, kick_off: Tensor, lost: float) -> list[Claim]:
    found, gaps = nash.state.values[..., kick_off], nash.exploitability
    wrong, wrong_interval = mean_interval((found - exact.values[kick_off]).abs().mean(-1))
    value = f"nash-q: the learned values of the kick-offs are within {CLOSE} of the exact ones, on average over seeds"
    middle = gaps.shape[-1] - 1 - sum(t > nash.iterations / 4 for t in nash.trace.iterations)
    least, least_interval = mean_interval(alone.exploitability[:, -1])
    stays = f"independent q: exploitability stays at least at what two deterministic players lose, {2 * lost:.3g}"
    return [
        at_most("nash-q-value", value, wrong, CLOSE, wrong_interval),
        below("nash-q-falls", "nash-q: exploitability falls over the last three quarters", gaps[:, -1],
              gaps[:, middle + 1]),
        below("nash-q-safer", "nash-q is less exploitable than independent q after as many episodes", gaps[:, -1],
              alone.exploitability[:, -1]),
        at_least("independent-q-exploitable", stays, least, 2 * lost, least_interval),
    ]  # fmt: skip


def from_values(seen: dict[str, Result]) -> list[Claim]:
    worst = max(seen, key=lambda name: late(seen[name]) / float(seen[name].exploitability[0, 0]))
    share = late(seen[worst]) / float(seen[worst].exploitability[0, 0])
    every = "exact values: exploitability in the last decade is at most a quarter of that of uniform policies"
    ratio = late(seen["natural, optimistic"]) / late(seen["natural"])
    lead = "exact values, natural: exploitability in the last decade is lower with an optimistic step (ratio)"
    rest = "exact values: none of them is within 0.01 of the equilibrium at its last iterate (least)"
    least = min(float(result.exploitability[0, -1]) for result in seen.values())
    return [
        at_most("values-improve", f"{every} (most: {worst})", share, 0.25),
        at_most("optimism-helps", lead, ratio, 1.0),
        at_least("values-circle", rest, least, 0.01),
    ]


def late(result: Result) -> float:
    """Mean exploitability of the measures in the last decade."""
    kept = [k for k, t in enumerate(result.trace.iterations) if t >= result.iterations / 10]
    return float(result.exploitability[:, kept].mean())


def curve(name: str, result: Result, per: int) -> Curve:
    times = [float(per * t) for t in result.trace.iterations[1:]]
    return band(name, times, result.exploitability[:, 1:], dots=len(result.exploitability) > 1)


def rows_of(name: str, result: Result) -> list[dict[str, object]]:
    gaps = result.exploitability
    return [
        {"learner": name, "iteration": t, "seeds": len(gaps), "exploitability": float(gaps[:, k].mean())}
        for k, t in enumerate(result.trace.iterations)
    ]
