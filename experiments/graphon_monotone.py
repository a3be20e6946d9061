"""graphon-monotone: does regularised mirror descent solve monotone graphon games, and how fast?

Zhang, Tan, Wang and Yang, "Learning regularized monotone graphon mean-field games", NeurIPS 2023 (arXiv 2310.08089):
in a weakly monotone game with transitions that do not depend on the aggregate, policy mirror descent with step sizes of
order T^(-1/2) has D(mean policy, pi*) = O~(T^(-1/2)). With a constant small step it in fact converges linearly.

Beach is monotone where the graphon is positive semidefinite (uniform attachment, blocks); exp is not, and Investment,
whose reward is not linear in the aggregate, need not be: both are here to see whether the algorithm cares.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gamesim.algorithms import PolicyMirrorDescent
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import Beach, Investment
from gamesim.experiments.distances import policy_distance
from gamesim.games import GraphonGame, Policy
from gamesim.graphons import Exponential, Graphon, StochasticBlock, UniformAttachment
from gamesim.loop import Observer, Run, Status, solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant
from gamesim.study import Claim, Scale, Study, at_most, fit_slope

GRAPHONS: dict[str, Graphon] = {
    "exp": Exponential(3.0),
    "blocks": StochasticBlock(0.9, 0.3, 0.7),
    "uniform attachment": UniformAttachment(),
}
TEMPERATURE = 1.0
STEP = 0.2


@dataclass
class Distance(Observer):
    """Follows D(pi_t, pi*) along a run."""

    best: Policy
    flow: Tensor
    found: list[float]

    def measured(self, run: Run) -> Status | None:
        self.found.append(float(policy_distance(run.game, self.best, run.policy, self.flow)))
        return None


def equilibrium(game: GraphonGame) -> Policy:
    """The regularised equilibrium to rounding: mirror descent until nothing moves."""
    return solve(game, PolicyMirrorDescent(Constant(STEP), TEMPERATURE), iterations=1000, every=1000).policy


@dataclass(frozen=True)
class GraphonMonotone:
    """Policy mirror descent on Beach and Investment, three graphons each."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        claims, rows, curves_e, curves_d = list[Claim](), list[dict[str, object]](), list[Curve](), list[Curve]()
        games: dict[str, Callable[[Graphon], GraphonGame]] = {
            "beach": lambda w: Beach(graphon=w, horizon=15, crowd=8.0, positions=30),
            "investment": lambda w: Investment(graphon=w, horizon=15, positions=30),
        }
        for name, make in games.items():
            for label, graphon in GRAPHONS.items():
                say(f"  {name}, {label}")
                game = make(graphon)
                best = equilibrium(game)
                seen = Distance(best, game.flow(best), [])
                result = solve(game, PolicyMirrorDescent(Constant(STEP), TEMPERATURE), iterations=100, observers=[seen])
                gap = result.regularized_exploitability[0].tolist()
                claims += judge_run(f"{name}-{label.replace(' ', '-')}", f"{name}, {label}", gap, seen.found)
                rows += [
                    {
                        "study": "linear",
                        "game": name,
                        "graphon": label,
                        "iteration": t,
                        "exploitability": e,
                        "distance": d,
                    }
                    for t, (e, d) in enumerate(zip(gap, seen.found, strict=True))
                ]
                curves_e.append(Curve(f"{name}, {label}", range(101), gap, dashed=name != "beach"))
                curves_d.append(Curve(f"{name}, {label}", range(101), seen.found, dashed=name != "beach"))
        rates, rate_rows, rate_curves = averaged_rate(scale, say)
        panels = [
            Panel("Regularized exploitability", "iteration", "regularized exploitability", curves_e),
            Panel("Distance to the equilibrium", "iteration", "D(policy, equilibrium)", curves_d),
            Panel(
                "Mean of the iterates, step T^(-1/2)",
                "T",
                "D(mean policy, equilibrium)",
                rate_curves,
                log_x=True,
                theory={"theory: T^(-1/2)": -0.5},
            ),
        ]
        one_step = [one_step_inequality(label, graphon) for label, graphon in GRAPHONS.items()]
        return Study([*claims, *one_step, *rates], [Chart("monotone", panels)], [*rows, *rate_rows])


def judge_run(id: str, words: str, gap: list[float], distance: list[float]) -> list[Claim]:
    """Machine precision in 100 iterations, and a linear rate at least as fast as 1 - lam eta."""
    d = np.array(distance)
    upto = int(np.argmax(d < 1e-11)) or len(d)
    upto = max(upto, 10)
    decay = np.log(d[:upto])
    rates = np.diff(decay)
    low, high = np.percentile(rates, (2.5, 97.5))
    return [
        at_most(f"{id}-precision", f"{words}: regularized exploitability < 1e-12 in 100 iterations", min(gap), 1e-12),
        at_most(
            f"{id}-linear",
            f"{words}: log D falls by at least -log(1 - lam eta) = {-np.log(1 - TEMPERATURE * STEP):.3f} per iteration "
            "(95% of the iterations)",
            float(np.mean(rates)), float(np.log(1 - TEMPERATURE * STEP)), (float(low), float(high)),
        ),
    ]  # fmt: skip


def one_step_inequality(label: str, graphon: Graphon) -> Claim:
    """D_{t+1} <= (1 - lam eta) D_t - lam eta Drev_t + eta^2 / 8 E_{mu*} sum_h span(Q - lam log pi)^2, at each step."""
    game = Beach(graphon=graphon, horizon=15, crowd=8.0, positions=30)
    best = equilibrium(game)
    best_flow = game.flow(best)
    solver, worst = PolicyMirrorDescent(Constant(STEP), TEMPERATURE), 0.0
    state = solver.init(game)
    for t in range(40):
        policy, flow = state.policy, game.flow(state.policy)
        phi = game.values(policy, flow, TEMPERATURE).q - TEMPERATURE * policy[0].log()
        span = phi.amax(-1) - phi.amin(-1)
        slack = STEP**2 / 8 * game.mean((best_flow * span**2).sum((-3, -1)))
        now, reverse = policy_distance(game, best, policy, best_flow), policy_distance(game, policy, best, flow)
        state = solver.step(t, game, state, Stream(0, t))
        after = policy_distance(game, best, state.policy, best_flow)
        bound = (1 - TEMPERATURE * STEP) * now - TEMPERATURE * STEP * reverse + slack
        worst = max(worst, float(after / bound)) if float(bound) > 1e-12 else worst
    statement = (
        f"beach, {label}: the one-step inequality of the proof holds at each of 40 iterations (largest left over right)"
    )
    return at_most(f"one-step-{label.replace(' ', '-')}", statement, worst, 1.0)


def averaged_rate(scale: Scale, say: Callable[[str], None]) -> tuple[list[Claim], list[dict[str, object]], list[Curve]]:
    """D(mean policy, pi*) against T with eta = T^(-1/2) and mixing 1/T, one run for each T."""
    lengths = [2**i for i in range(4, 10 if scale == "quick" else 13)]
    claims, rows, curves = list[Claim](), list[dict[str, object]](), list[Curve]()
    for label, graphon in GRAPHONS.items():
        game = Beach(graphon=graphon, horizon=15, crowd=8.0, positions=30)
        best = equilibrium(game)
        flow = game.flow(best)
        distances = []
        for T in lengths:
            solver = PolicyMirrorDescent(Constant(0.9 * T**-0.5), TEMPERATURE, mixing=Constant(1 / T))
            result = solve(game, solver, iterations=T, every=T, average=True)
            distances.append(float(policy_distance(game, best, result.policy, flow)))
            rows.append(
                {
                    "study": "averaged",
                    "game": "beach",
                    "graphon": label,
                    "iteration": T,
                    "exploitability": float(result.regularized_exploitability[0, -1]),
                    "distance": distances[-1],
                }
            )
        say(f"  averaged rate, {label}: D = {distances[-1]:.3g} at T = {lengths[-1]}")
        fit = fit_slope(lengths, distances)
        statement = f"beach, {label}: D of the mean policy falls at least like T^(-1/2) with steps T^(-1/2), mixing 1/T"
        claims.append(at_most(f"averaged-rate-{label.replace(' ', '-')}", statement, fit.value, -0.5, fit.interval))
        curves.append(Curve(f"{label}: slope {fit.value:.2f}", lengths, distances, dots=True))
    return claims, rows, curves
