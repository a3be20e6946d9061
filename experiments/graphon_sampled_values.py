"""graphon-sampled-values: what does mirror descent reach when action values are estimated from play?

Zhang, Tan, Wang and Yang, "Learning regularized monotone graphon mean-field games", NeurIPS 2023 (arXiv 2310.08089):
policy mirror descent whose values come from K episodes at each of N sampled positions. The estimate is off by K^(-1/2),
and the averaged policy has D = O~(T^(-1/4)) where exact values have T^(-1/2), in a weakly monotone game.

Beach (horizon 15, crowd 8) and SIS (reward scale 5), exp graphon, lam = 1, lam eta = 1/2, 25 iterations, 30 positions,
(N, K) = (5, 300), (10, 100), (10, 150) and the tabular estimator are those of public code of the paper's lineage;
linear are Legendre polynomials of the position up to degree 2. SIS is outside the theory, since its transitions depend
on the aggregate. The rate is measured on Beach with uniform attachment, which is monotone.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms import PolicyMirrorDescent
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import SIS, Beach
from gamesim.experiments.distances import policy_distance
from gamesim.experiments.over_seeds import band, below, slope
from gamesim.feedback import Exact, Features, Feedback, Legendre, Sampled, Tabular, exact
from gamesim.games import GraphonGame
from gamesim.graphons import Exponential, UniformAttachment
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant
from gamesim.study import Claim, Scale, Study, at_most

TEMPERATURE, STEP, ITERATIONS = 1.0, 0.5, 25
SETTINGS = [(5, 300), (10, 100), (10, 150)]
FEATURES: dict[str, Features] = {"tabular": Tabular(), "linear": Legendre(2)}
ROOT = {"K^(-1/2)": -0.5}


@dataclass
class Found:
    """What the parts below add to."""

    seeds: int
    say: Callable[[str], None]
    claims: list[Claim] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)

    def keep(self, study: str, game: str, values: str, x: Sequence[float], y: Tensor) -> None:
        """Tidy rows of y[seed, x]."""
        self.rows += [
            {"study": study, "game": game, "values": values, "x": at, "seed": seed, "y": float(y[seed, i])}
            for seed in range(len(y)) for i, at in enumerate(x)
        ]  # fmt: skip


@dataclass(frozen=True)
class GraphonSampledValues:
    """The error of the values, the exploitability reached, and the rate of the averaged policy, against K, N and T."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        quick = scale == "quick"
        found = Found(5 if quick else 10, say)
        episodes = [round(100 * 2 ** (i / 2)) for i in range(13)]
        games: dict[str, GraphonGame] = {
            "beach": Beach(graphon=Exponential(3.0), horizon=15, crowd=8.0, positions=30),
            "sis": SIS(graphon=Exponential(3.0), horizon=50, reward_scale=5.0, positions=30),
        }
        reached = list[Panel]()
        for name, game in games.items():
            reached.append(by_iteration(found, name, game))
            reached.append(against_episodes(found, name, game, episodes[: 6 if quick else 9]))
        rest = [
            value_error(found, games, episodes[: 9 if quick else 13]),
            against_positions(found, games["beach"]),
            averaged_rate(found, [2**i for i in range(4, 9 if quick else 10)]),
        ]
        notes = (
            f"Means of {found.seeds} seeds; bands are one standard error. An interval of a slope joins that over seeds "
            "(95%) with the regression's and those of shorter windows."
        )
        return Study(found.claims, [Chart("reached", reached), Chart("rates", rest)], found.rows, notes)


def sampled(N: int, K: int, values: str, **rest: Any) -> Sampled:
    return Sampled(Constant(N), Constant(K), FEATURES[values], **rest)


def descend(game: GraphonGame, feedback: Feedback, seeds: int) -> Tensor:
    """Regularised exploitability of mirror descent with these values, [seed, iteration]."""
    solver = PolicyMirrorDescent(Constant(STEP), TEMPERATURE, feedback=feedback)
    return solve(game, solver, iterations=ITERATIONS, seeds=seeds).regularized_exploitability


def by_iteration(found: Found, name: str, game: GraphonGame) -> Panel:
    """Iteration by iteration with exact values and with these (N, K)."""
    gaps = {"exact": descend(game, Exact(), 1)}
    for values in FEATURES:
        for N, K in SETTINGS:
            gaps[f"{values} {N}, {K}"] = gap = descend(game, sampled(N, K, values), found.seeds)
            found.say(f"  {name}, {values}, N = {N}, K = {K}: exploitability {float(gap[:, -1].mean()):.3g}")
    last = {label: gap[:, -1] for label, gap in gaps.items()}
    statement = f"{name}, N = 10, tabular: K = 150 leaves less exploitability than K = 100"
    found.claims.append(below(f"more-{name}", statement, last["tabular 10, 150"], last["tabular 10, 100"]))
    statement = f"{name}, N = 10, K = 100: linear features leave less exploitability than tables"
    found.claims.append(below(f"linear-{name}", statement, last["linear 10, 100"], last["tabular 10, 100"]))
    times = range(ITERATIONS + 1)
    for label, gap in gaps.items():
        found.keep("iterations", name, label, times, gap)
    lowest = min(float(gap.mean(0).min()) for label, gap in gaps.items() if label != "exact")
    shown = int((gaps["exact"][0] > lowest / 10).sum())  # exact values go on to 1e-15: no room for that
    curves = [band("exact", times[:shown], gaps.pop("exact")[:, :shown])]
    curves += [band(label, times, gap, dashed=label.startswith("linear")) for label, gap in gaps.items()]
    return Panel(f"{name}: values, N, K", "iteration", "regularized exploitability", curves)


def against_episodes(found: Found, name: str, game: GraphonGame, episodes: Sequence[int]) -> Panel:
    """Exploitability after the last iteration against K; all positions of a grid of ten are sampled, so K alone limits.

    The generative model draws as many transitions as K episodes have, spread over all states and actions alike.
    """
    game, curves = dataclasses.replace(game, positions=10), list[Curve]()
    for label in ("tabular", "linear", "generative"):
        model = "generative" if label == "generative" else "episodes"
        values, pairs = ("tabular", math.prod(game.shape[-2:])) if model == "generative" else (label, 1)
        numbers = [round(K / pairs) for K in episodes]
        feedback = [sampled(10, K, values, placing="grid", model=model) for K in numbers]
        gap = torch.stack([descend(game, each, found.seeds)[:, -1] for each in feedback], -1)
        fitted, interval = slope(numbers, gap)
        found.say(f"  {name}, {label}: exploitability like K^({fitted:.2f})")
        statement = f"{name}, {label}: exploitability falls at least like K^(-1/2), K = {numbers[0]}..{numbers[-1]}"
        found.claims.append(at_most(f"episodes-{name}-{label}", statement, fitted, -0.5, interval))
        found.keep("episodes", name, label, numbers, gap)
        curves.append(band(f"{label}: slope {fitted:.2f}", [K * pairs for K in numbers], gap, dots=True))
    words = "transitions for each step and position"
    return Panel(f"{name}: ten positions", words, "regularized exploitability", curves, log_x=True, theory=ROOT)


def value_error(found: Found, games: dict[str, GraphonGame], episodes: Sequence[int]) -> Panel:
    """Error of the tabular values of the uniform policy against K, every position of the grid sampled.

    In the norm of the regression: the root mean square over the law of the (x, s, a) that the episodes pass.
    """
    curves = list[Curve]()
    for name, game in games.items():
        policy = game.start()
        right, law = exact(game, policy, TEMPERATURE)[0], game.flow(policy)[..., None] * policy[0]
        everyone, errors = (policy[0].expand(found.seeds, *policy[0].shape),), list[Tensor]()
        for K in episodes:
            feedback = sampled(len(game.grid), K, "tabular", placing="grid")
            (q,) = feedback(game, everyone, TEMPERATURE, Stream(range(found.seeds)))
            errors.append(game.mean((law * (q - right).square()).sum((-1, -2)).mean(-2)).sqrt())
        error = torch.stack(errors, -1)
        fitted, interval = slope(episodes, error)
        statement = f"{name}: the error of the values falls at least like K^(-1/2), up to 0.05 in the slope"
        found.claims.append(at_most(f"error-{name}", statement, fitted, -0.45, interval))
        found.keep("error", name, "tabular", episodes, error)
        curves.append(band(f"{name}: slope {fitted:.2f}", episodes, error, dots=True))
    return Panel("Error of the values", "K", "root mean square error", curves, log_x=True, theory=ROOT)


def against_positions(found: Found, game: GraphonGame) -> Panel:
    """Exploitability after the last iteration against N, with a hundred episodes each."""
    numbers, curves = [5, 10, 20, 40], list[Curve]()
    for values in FEATURES:
        gap = torch.stack([descend(game, sampled(N, 100, values), found.seeds)[:, -1] for N in numbers], -1)
        found.keep("positions", "beach", values, numbers, gap)
        curves.append(band(values, numbers, gap, dots=True))
    return Panel("beach: K = 100", "N", "regularized exploitability", curves, log_x=True)


def averaged_rate(found: Found, lengths: Sequence[int]) -> Panel:
    """D of the averaged policy against T, steps T^(-1/2) and mixing 1/T: exact, K = T, and K = 100 for every T."""
    game = Beach(graphon=UniformAttachment(), horizon=15, crowd=8.0, positions=30)
    best = solve(game, PolicyMirrorDescent(Constant(0.2), TEMPERATURE), iterations=1000, every=1000).policy
    flow, curves = game.flow(best), list[Curve]()
    kinds: list[tuple[str, str, float | None, Callable[[int], Feedback]]] = [
        ("rate-exact", "exact", -0.5, lambda T: Exact()),
        ("rate-sampled", "linear, K = T", -0.25, lambda T: sampled(10, T, "linear")),
        ("", "linear, K = 100", None, lambda T: sampled(10, 100, "linear")),
    ]
    for id, label, bound, feedback in kinds:
        distances = list[Tensor]()
        for T in lengths:
            solver = PolicyMirrorDescent(Constant(0.9 * T**-0.5), TEMPERATURE, Constant(1 / T), feedback(T))
            result = solve(
                game, solver, iterations=T, every=T, average=True, seeds=1 if label == "exact" else found.seeds
            )
            distances.append(policy_distance(game, best, result.policy, flow))
        D = torch.stack(distances, -1)
        fitted, interval = slope(lengths, D)
        found.say(f"  averaged policy, {label}: D like T^({fitted:.2f})")
        if bound is not None:
            statement = f"beach, uniform attachment, {label}: D of the mean policy falls at least like T^({bound:g})"
            found.claims.append(at_most(id, statement, fitted, bound, interval))
        found.keep("rate", "beach", label, lengths, D)
        curves.append(band(f"{label}: slope {fitted:.2f}", lengths, D, dots=True))
    theory = {"T^(-1/2), exact": -0.5, "T^(-1/4), sampled": -0.25}
    return Panel("Averaged policy, N = 10", "T", "D(mean policy, equilibrium)", curves, log_x=True, theory=theory)
