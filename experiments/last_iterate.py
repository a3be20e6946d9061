"""last-iterate: in zero-sum games plain FTRL circles and only its average converges; with a leading step it converges.

    plain             the last iterate spirals outwards; the average of T iterates with step g has an exploitability of
                      at most sum_i (D_i / (g T) + g R^2 / 8), by the bound on regret: T^(-1/2) for g ~ T^(-1/2)
    optimistic        near an interior equilibrium distances shrink by |l|, |l|^2 = (1 + sqrt(1 - 4 g^2 s^2)) / 2
    extra-gradient    |l|^2 = 1 - g^2 s^2 + g^4 s^4

with R the range of payoffs, D_i = max_a log 1/x_i(a) at the start, and +- i s the eigenvalues of the payoffs times the
slope of the softmax: s = 1 in matching pennies, 1 / sqrt(3) in rock-paper-scissors. Freund and Schapire, Games and
Economic Behavior 29 (1999); Bailey and Piliouras, EC 2018; Daskalakis and Panageas, ITCS 2019; Wei, Lee, Zhang and Luo,
ICLR 2021; Giannou et al., NeurIPS 2021.

With errors and constant steps entropic FTRL drifts to the boundary of a game that is merely monotone, and concentrates
around the equilibrium of one that is strongly monotone, at a squared distance of the order of the step: Lotidis et al.,
"The impact of uncertainty on regularized learning in games", 2025. No game of mixed actions is strongly monotone, so
matching pennies is played with a cost of being unlike a half, mu / 2 ||x_i - 1/2||^2.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.algorithms.ftrl import FTRL
from gamesim.certificates.probabilities import Probability
from gamesim.certificates.profiles import sphere
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.matrix.classics import MatchingPennies, Roshambo
from gamesim.envs.matrix.families import RandomZeroSum
from gamesim.equilibria.pure import pure_equilibria
from gamesim.errors import Caution
from gamesim.experiments.over_seeds import band, mean_interval, slope
from gamesim.feedback import Noisy
from gamesim.games import NormalFormGame, Policy
from gamesim.loop import Observer, Run, solve
from gamesim.randomness import Stream
from gamesim.regularizers import Euclidean
from gamesim.schedules import Constant
from gamesim.simplex import project, total
from gamesim.study import Claim, Scale, Study, at_least, at_most

STEP = 0.2
Leader = Literal["plain", "optimistic", "extra-gradient"]
LEADERS: tuple[Leader, ...] = ("plain", "optimistic", "extra-gradient")
HORIZONS = (64, 128, 256, 512, 1024, 2048, 4096)
NOISY_STEPS = (0.025, 0.05, 0.1, 0.2)
RANGE = 2.0
"""Of the payoffs of all games here."""
EDGE = 0.05
"""A run is at the boundary where somebody plays an action with a probability below this."""


@dataclass(frozen=True)
class LastIterate:
    """Classics and random 5 x 5 zero-sum games: last iterates, averages, and what errors do."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        parts = [rates(say), random_games(scale, say), averages(scale, say), noise(scale, say)]
        claims = [claim for found, _, _ in parts for claim in found]
        panels = [panel for _, found, _ in parts for panel in found]
        rows = [row for _, _, found in parts for row in found]
        notes = (
            f"Steps are {STEP} where not said. Random games have uniform payoffs on (-1, 1); those with a pure "
            "equilibrium, strict as it then is, attract plain FTRL too and are left out of what is said of it."
        )
        return Study(claims, [Chart("last-iterate", panels)], rows, notes)


Part = tuple[list[Claim], list[Panel], list[dict[str, object]]]


@dataclass
class Recorder(Observer):
    """The Euclidean distance to a policy at each measure, [...]."""

    target: Policy
    found: list[Tensor] = field(default_factory=list)

    def measured(self, run: Run) -> None:
        self.found.append(length(run.policy, self.target))


def length(policy: Policy, target: Policy) -> Tensor:
    squares = [total((x - y).square()) for x, y in zip(policy, target, strict=True)]
    return torch.stack(torch.broadcast_tensors(*squares)).sum(0).sqrt()


def rates(say: Callable[[str], None]) -> Part:
    """Matching pennies and rock-paper-scissors, entropic: fitted rates against those of the linearised method."""
    claims, rows, curves = list[Claim](), list[dict[str, object]](), list[Curve]()
    cases: tuple[tuple[str, NormalFormGame, float, int, Policy], ...] = (
        ("pennies", MatchingPennies(), 1.0, 1000, point([0.7, 0.3], [0.4, 0.6])),
        ("hands", Roshambo(), 1 / math.sqrt(3), 3000, point([0.5, 0.3, 0.2], [0.2, 0.5, 0.3])),
    )
    for name, game, s, T, start in cases:
        for leader in LEADERS:
            record = Recorder(game.start())
            result = solve(game, FTRL(Constant(STEP), leader=leader), iterations=T, every=T // 50, start=start,
                           observers=[record])  # fmt: skip
            times, away = result.trace.iterations, torch.stack(record.found)[None]
            if leader == "plain":
                least = float(result.exploitability[0, -len(times) // 2 :].min() / result.exploitability[0, 0])
                words = f"{name}, plain: in the second half exploitability is never below what it was at the start"
                claims.append(at_least(f"{name}-plain", words + " (smallest ratio)", least, 1.0))
                say(f"  {name}, plain: exploitability never below {least:.3g} times that of the start")
            else:
                late = slice(len(times) // 3, None)
                x = [math.exp(t / T) for t in times[late]]  # a line in t as a power law
                value, interval = slope(x, away[:, late] ** (1 / T))
                wanted = shrinkage(leader, STEP * s)
                ends = sorted(abs(end / wanted - 1) for end in interval)
                off = (0.0 if interval[0] <= wanted <= interval[1] else ends[0], ends[1])
                words = f"{name}, {leader}: log distance falls by {-wanted:.5f} an iteration, within 5%"
                claims.append(at_most(f"{name}-{leader}", f"{words} (measured {-value:.5f})",
                                      abs(value / wanted - 1), 0.05, off))  # fmt: skip
                say(f"  {name}, {leader}: {value:.5f} an iteration for {wanted:.5f}")
            if name == "hands":
                curves.append(Curve(leader, times, away[0].tolist()))
            rows += [{"part": name, "method": leader, "x": t, "value": float(v)}
                     for t, v in zip(times, away[0], strict=True)]  # fmt: skip
    return claims, [Panel("Rock-paper-scissors", "iteration", "distance", curves)], rows


def shrinkage(leader: Leader, gs: float) -> float:
    """log |lam| of the method linearised at an interior equilibrium, gs the step times the eigenvalue s."""
    square = (1 + math.sqrt(1 - 4 * gs**2)) / 2 if leader == "optimistic" else 1 - gs**2 + gs**4
    return math.log(square) / 2


def random_games(scale: Scale, say: Callable[[str], None]) -> Part:
    """Euclidean regulariser: reaches equilibria on the boundary, too."""
    count, T = (64, 4000) if scale == "quick" else (500, 20_000)
    game = RandomZeroSum(action_count=5, games=count)
    pure = torch.tensor([bool(pure_equilibria(u.numpy())) for u in game.payoffs])
    claims, rows, curves = list[Claim](), list[dict[str, object]](), list[Curve]()
    for leader in LEADERS:
        result = solve(game, FTRL(Constant(STEP), Euclidean(), leader), iterations=T, every="log")
        times, gap = result.trace.iterations, result.exploitability
        gap = gap / gap[:, :1]
        if leader == "plain":
            decade = [k for k, t in enumerate(times) if t >= T / 10]
            mean, interval = mean_interval(gap[~pure][:, decade].mean(-1))
            words = f"{int((~pure).sum())} random games without a pure equilibrium, plain: exploitability in the last"
            words += " decade, over that of the start, is 1 or more on average"
            claims.append(at_least("random-plain", words, mean, 1.0, interval))
            say(f"  random games, plain: {mean:.3g} times the exploitability of the start")
        else:
            near = Probability(int((gap[:, -1] <= 1e-3).sum()), count)
            words = f"{count} random games, {leader}: exploitability falls to a thousandth in at least 90% of them"
            claims.append(at_least(f"random-{leader}", words, near.value, 0.9, near.interval))
            say(f"  random games, {leader}: {near.value:.3f} fall to a thousandth in {T}")
        middle = gap[~pure].median(0).values.clamp(min=1e-17)
        curves.append(Curve(leader, times, middle.tolist()))
        rows += [{"part": "random", "method": leader, "x": t, "value": float(v)}
                 for t, v in zip(times, middle, strict=True)]  # fmt: skip
    panel = Panel("Random 5 x 5, median", "iteration", "exploitability over that of the start", curves, log_x=True)
    return claims, [panel], rows


def averages(scale: Scale, say: Callable[[str], None]) -> Part:
    """Plain entropic FTRL from random starts, or in random games; one constant step for each horizon T."""
    count = 32 if scale == "quick" else 200
    random, horizons = RandomZeroSum(action_count=5, games=count), HORIZONS[: 6 if scale == "quick" else None]
    claims, rows, curves = list[Claim](), list[dict[str, object]](), list[Curve]()
    cases: tuple[tuple[str, NormalFormGame, int | None], ...] = (
        ("pennies", MatchingPennies(), count), ("hands", Roshambo(), count), ("random", random, None),
    )  # fmt: skip
    for name, game, seeds in cases:
        start = game.start() if seeds is None else sphere(game.start(), 0.4, seeds, Stream(0))
        gaps, ratios = list[Tensor](), list[float]()
        for T in horizons:
            step = math.sqrt(8 * math.log(game.action_counts[0]) / T) / RANGE
            result = solve(game, FTRL(Constant(step)), iterations=T, every=T, average=True, seeds=seeds, start=start)
            gaps.append(result.exploitability[:, -1])
            D = torch.stack([-x.log().amin(-1) for x in start])
            ratios.append(float((gaps[-1] / (D / (step * T) + step * RANGE**2 / 8).sum(0)).max()))
        value, interval = slope(horizons, torch.stack(gaps, -1))
        words = f"{name}, plain, T = {horizons[0]}..{horizons[-1]}: exploitability of the average"
        claims.append(at_most(f"{name}-average", f"{words} falls at least like T^(-1/2)", value, -0.5, interval))
        claims.append(at_most(f"{name}-average-bound", f"{words}, over the bound on regret", max(ratios), 1.0))
        say(f"  {name}: slope {value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}], {max(ratios):.2f} of the bound")
        curves.append(band(name, horizons, torch.stack(gaps, -1), dots=True))
        rows += [{"part": f"average-{name}", "method": "plain", "x": T, "value": float(g.mean())}
                 for T, g in zip(horizons, gaps, strict=True)]  # fmt: skip
    panel = Panel("Averages of plain play", "T", "exploitability", curves, log_x=True, theory={"T^(-1/2)": -0.5})
    return claims, [panel], rows


@dataclass(frozen=True)
class DampedPennies:
    """Matching pennies with a cost of being unlike a half: u_i(x) = <M_i x_j, x_i> - mu / 2 ||x_i - 1/2||^2."""

    mu: float = 1.0

    def start(self) -> Policy:
        return MatchingPennies().start()

    def feedback(self, policy: Policy) -> Policy:
        values = MatchingPennies().values(policy)
        return tuple(v - self.mu * (x - 0.5) for x, v in zip(policy, values, strict=True))

    def exploitability(self, policy: Policy) -> Tensor:
        """The best policy is the projection of 1/2 + v / mu: payoffs are concave in one's own policy."""
        gains = []
        for x, v in zip(policy, MatchingPennies().values(policy), strict=True):
            best = project(0.5 + v / self.mu)
            gains.append(total(v * (best - x)) - self.mu / 2 * total((best - 0.5).square() - (x - 0.5).square()))
        return torch.stack(gains).sum(0)


def noise(scale: Scale, say: Callable[[str], None]) -> Part:
    """Plain entropic FTRL with N(0, 1) errors and constant steps, all step sizes in one batch."""
    runs, T = (128, 2000) if scale == "quick" else (400, 20_000)
    steps = torch.tensor(NOISY_STEPS, dtype=torch.float64)
    solver = FTRL(Constant(steps), feedback=Noisy(1.0))
    claims, rows, shares = list[Claim](), list[dict[str, object]](), list[Curve]()
    games: dict[str, Any] = {"monotone": MatchingPennies(), "strongly monotone": DampedPennies()}
    for name, game in games.items():
        record, centre = Edges(), game.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Caution)  # constant steps under errors are what this is about
            result = solve(game, solver, iterations=T, every="log", seeds=runs, observers=[record])
        times, at_edge = result.trace.iterations, torch.stack(record.found, -1)  # [seed, step, record]
        share = Probability(int(at_edge[:, 2, -1].sum()), runs)
        words = f"{name}, errors, step {NOISY_STEPS[2]}: after {T:,} iterations runs are at the boundary"
        if name == "monotone":
            claims.append(at_least("noise-drift", f"{words}, most of them", share.value, 0.5, share.interval))
        else:
            claims.append(at_most("noise-confined", f"{words} with probability at most 0.05", share.value, 0.05,
                                  share.interval))  # fmt: skip
            square = length(result.policy, centre).square()  # [seed, step]
            fitted, interval = fit_means(steps, square)
            words = f"{name}, errors: mean squared distance from the equilibrium falls at least like step^0.8"
            claims.append(at_least("noise-concentrates", words, fitted, 0.8, interval))
            say(f"  {name}: mean squared distance {square.mean(0).tolist()}, slope {fitted:.3f}")
        say(f"  {name}: at the boundary {at_edge[..., -1].double().mean(0).tolist()} for steps {NOISY_STEPS}")
        for k, step in enumerate(NOISY_STEPS):
            y = at_edge[:, k].double().mean(0).tolist()
            shares.append(Curve(f"{name}, {step:g}", times, y, dashed=name != "monotone"))
            rows += [{"part": f"noise-{name}", "method": f"step {step:g}", "x": t, "value": v}
                     for t, v in zip(times, y, strict=True)]  # fmt: skip
    return (
        claims,
        [Panel("N(0, 1) errors", "iteration", "share at the boundary", shares, log_x=True, log_y=False)],
        rows,
    )


@dataclass
class Edges(Observer):
    """Whether somebody is at the boundary at each measure, [...]."""

    found: list[Tensor] = field(default_factory=list)

    def measured(self, run: Run) -> None:
        self.found.append(torch.stack([x.amin(-1) for x in run.policy]).amin(0) < EDGE)


def fit_means(x: Tensor, y: Tensor) -> tuple[float, tuple[float, float]]:
    """The slope of log mean_seed y[seed, x] in log x, with a 95% interval over seeds by the jackknife."""
    from scipy.stats import t

    u = x.log() - x.log().mean()

    def fitted(means: Tensor) -> Tensor:
        return (means.log() * u).sum(-1) / u.square().sum()

    n = len(y)
    whole, without = fitted(y.mean(0)), fitted((y.sum(0) - y) / (n - 1))
    half = float(t.ppf(0.975, n - 1) * ((n - 1) / n * (without - without.mean()).square().sum()).sqrt())
    return float(whole), (float(whole) - half, float(whole) + half)


def point(*rows: list[float]) -> Policy:
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)
