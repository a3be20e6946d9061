"""suboptimality-in-n: how the gap of pessimistic offline learning depends on the number of agents.

Zhang, Liu, Wang, Tan, Yang and Wang, "Relational reasoning via set transformers: provable efficiency and applications
to MARL", NeurIPS 2022, arXiv 2209.09845. With classes of permutation-invariant functions of a fixed size, a normalised
team reward and as many transitions for every N, the gap J(pi*) - J(pi_hat) is, up to coverage, of the order of

    model-free    pi_hat = argmax_pi min { f(S0, pi) : E(f, pi; D) <= eps }              sqrt(eps), free of N
    model-based   pi_hat = argmax_pi min { V_F^pi(S0) : mean TV(P_F, P_hat)^2 <= zeta }  sqrt(zeta), zeta ~ log(N) / n

Model-free minima are exact; a model-based one is the worst model that a search finds, which is in the set:

    counts    agents of two local states and actions, with luck of their own or shared (`gamesim.offline.exact.pairs`);
              F is quadratic in the shares of agents and complete, with 10 dimensions for every N; a model is the 4
              probabilities of an agent (`gamesim.offline.exact.local_models`)
    linear    s_i' = A s_i + B a_i + C mean(s) + N(0, sigma^2) (`gamesim.offline.exact.linear_dynamics`), quadratic team
              cost, which is not bounded; F is quadratic in means, 7 dimensions; models are (A, B, C) by least squares

Measured are the gap, and the bound J(pi*) - min f(S0, pi*), among 9 (counts) or 25 (linear) policies that are the same
for every N. `growth` is the slope in log N times the range of log N, over the mean. Model-free numbers are called flat
where growth is at most 1/4; the model-based bound is measured over sqrt(zeta(N)) and its gap over zeta(N), which is
logarithmic. Intervals (95%) are a jackknife over seeds; a seed is a problem with its data, and problems are the same
for every N. Least squares is off by sigma^2 P / n in |.|_F^2 whatever N is, so that one agent's error falls like
1 / sqrt(N).

Two contrasts say what the claim rests on. Coverage: where each agent's (s, a) is independent of the others', the shares
of agents hardly vary once N is large, and what a policy does to them was not seen. The class: tables over all multisets
are many more for more agents.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.charts import Chart, Curve, Panel
from gamesim.experiments.offline_oracles import DELTA, Counts, Judged, LinearDynamics
from gamesim.experiments.over_seeds import mean_interval
from gamesim.offline.confidence import uniform_radius
from gamesim.study import Claim, Interval, Scale, Study, at_least, at_most

FLAT = 0.25
"""Growth over the whole range of N up to which a number is called flat."""
AT_ONCE = 2**24
"""Numbers of a piece of the seeds, about."""
PARAMETERS = {"counts": 4, "linear": 3}


@dataclass(frozen=True)
class Sizes:
    """How much is done at a scale."""

    agents: tuple[int, ...]
    few: tuple[int, ...]
    """Numbers of agents of the contrasts."""
    seeds: Mapping[str, int]
    samples: Mapping[str, int]


SIZES = {
    "quick": Sizes(
        (4, 8, 16, 32, 64),
        (4, 8, 12),
        {"model-free": 100, "model-based": 100, "contrast": 30},
        {"counts, model-free": 2000, "counts, model-based": 100, "linear, model-free": 200, "linear, model-based": 30},
    ),
    "full": Sizes(
        (4, 8, 16, 32, 64, 128, 256),
        (4, 8, 12, 16),
        {"model-free": 400, "model-based": 600, "contrast": 100},
        {"counts, model-free": 2000, "counts, model-based": 100, "linear, model-free": 200, "linear, model-based": 30},
    ),
}
TABLES = 20_000
"""Transitions of the contrast of classes, so that nearly all pairs are seen."""


@dataclass(frozen=True)
class Series:
    """One method on one oracle, for each number of agents."""

    oracle: str
    method: str
    agents: Sequence[int]
    samples: int
    found: Sequence[Judged]

    @property
    def id(self) -> str:
        return f"{self.oracle}-{self.method}".replace(", ", "-").replace(" ", "-")

    def of(self, what: str) -> Tensor:
        """[seed, N]."""
        return torch.stack([getattr(f, what) for f in self.found], -1)

    def zeta(self) -> Tensor:
        """zeta(N) over that of the first N."""
        p = PARAMETERS[self.oracle.partition(",")[0]]
        each = [uniform_radius(p, n, self.samples, DELTA) for n in self.agents]
        return torch.tensor(each, dtype=torch.float64) / each[0]

    def claims(self) -> list[Claim]:
        name, span = f"{self.oracle}, {self.method}", f"from N = {self.agents[0]} to {self.agents[-1]}"
        claims = []
        for what in ("gap", "bound"):
            y, words = self.of(what), "flat"
            if self.method == "model-based":
                y = y / (self.zeta() if what == "gap" else self.zeta().sqrt())
                words = f"at most logarithmic, over {'zeta' if what == 'gap' else 'sqrt(zeta)'}"
            value, interval = growth(self.agents, y)
            claims.append(at_most(f"{self.id}-{what}", f"{name}: {what} {words}, growth {span}", value, FLAT, interval))
        held = self.of("holds").double()
        least = held.mean(0).min()
        which = int(held.mean(0).argmin())
        words = f"{name}: all least values are below the truth with probability {1 - DELTA:g} (least, at N = "
        words += f"{self.agents[which]})"
        claims.append(
            at_least(
                f"{self.id}-pessimism", words, float(least), 1 - DELTA, proportion(int(held[:, which].sum()), len(held))
            )
        )
        return claims

    def rows(self) -> list[dict[str, Any]]:
        found = []
        for n, f in zip(self.agents, self.found, strict=True):
            (gap, gap_interval), (bound, bound_interval) = mean_interval(f.gap), mean_interval(f.bound)
            coverage = float("nan") if f.coverage is None else float(f.coverage.median())
            found.append(
                {
                    "oracle": self.oracle,
                    "method": self.method,
                    "agents": n,
                    "samples": self.samples,
                    "seeds": len(f.gap),
                    "gap": gap,
                    "gap_low": gap_interval[0],
                    "gap_high": gap_interval[1],
                    "bound": bound,
                    "bound_low": bound_interval[0],
                    "bound_high": bound_interval[1],
                    "pessimism_holds": float(f.holds.double().mean()),
                    "median_coverage": coverage,
                }
            )
        return found


@dataclass(frozen=True)
class SuboptimalityInN:
    """Gaps and bounds of both methods against N, what they rest on, and the error of least squares."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        size = SIZES[scale]
        main = [
            measured("counts, shared luck", "model-free", size),
            measured("counts, own luck", "model-free", size),
            measured("linear", "model-free", size),
            measured("counts, shared luck", "model-based", size),
            measured("linear", "model-based", size),
        ]
        claims = [claim for series in main for claim in series.claims()]
        contrasts = [independent(size), tabular(size)]
        claims += [contrast(series) for series in contrasts]
        claims += errors(size)
        for claim in claims:
            say(f"  {claim.verdict:9} {claim.statement}: {claim.statistic:.3f} {claim.interval or ''}")
        notes = (
            "Problems, policies and numbers of transitions are the same for every N. Shares of agents in the data "
            "have the same law for every N (groups of a quarter each), so that coverage does not grow. eps takes "
            "targets to lie within 1 of each other on counts (Vmax is 5) and within 2 on linear dynamics, where "
            "they are not bounded; zeta is that of a uniform bound, with log N. With luck of one's own, agents' "
            "errors average out and what is learned of one agent gets better with N, so that numbers may fall. "
            "Data were chosen after trials: where multisets are alike and all agents begin in one local state, "
            "coverage went from 6 at N = 2 to 49 at 32, and the bound from 1.6 to 4.6; linear data in which "
            "agents are always as far apart did the same. The theory excuses that by coverage, and so the "
            "contrasts were added. Models are searched: a worst model is in its set, and may not be the worst "
            "one."
        )
        return Study(claims, charts(main, contrasts), [row for s in [*main, *contrasts] for row in s.rows()], notes)


def measured(oracle: str, method: str, size: Sizes) -> Series:
    kind = oracle.partition(",")[0]
    samples, seeds = size.samples[f"{kind}, {method}"], size.seeds[method]
    found = []
    for n in size.agents:
        parts = []
        for part in pieces(seeds, samples * max(n, 40)):
            task: Counts | LinearDynamics = LinearDynamics(n, part)
            if kind == "counts":
                task = Counts(n, part, "shared" if "shared" in oracle else "own")
            parts.append(task.model_free(samples) if method == "model-free" else task.model_based(samples))
        found.append(joined(parts))
    return Series(oracle, method, size.agents, samples, found)


def independent(size: Sizes) -> Series:
    """The model-free method where data cover ever less: each agent's pair is independent of the others'."""
    samples, seeds = size.samples["counts, model-free"], range(size.seeds["contrast"])
    found = [Counts(n, seeds, "shared", "independent").model_free(samples) for n in size.few]
    return Series("counts, independent data", "model-free", size.few, samples, found)


def tabular(size: Sizes) -> Series:
    """The model-free method with a class that grows with N."""
    found = [
        joined([Counts(n, p, "shared", "spread").tables(TABLES) for p in pieces(size.seeds["contrast"], TABLES * n)])
        for n in size.few
    ]
    return Series("counts, tables", "model-free", size.few, TABLES, found)


def contrast(series: Series) -> Claim:
    value, interval = growth(series.agents, series.of("bound").log(), relative=False)
    words = f"{series.oracle}: the bound does grow, as N to at least the power 1/4"
    span = float(torch.tensor(series.agents[-1] / series.agents[0], dtype=torch.float64).log())
    return at_least(series.id, words, value / span, 0.25, (interval[0] / span, interval[1] / span))


def errors(size: Sizes) -> list[Claim]:
    """Least squares at equal n: |F_hat - F|_F is flat in N, and the error of one agent falls like its root."""
    samples = size.samples["linear, model-based"]
    found = [LinearDynamics(n, range(size.seeds["contrast"] * 4)).errors(samples) for n in size.agents]
    whole, agent = (torch.stack([f[i] for f in found], -1) for i in range(2))
    value, interval = growth(size.agents, whole)
    claims = [
        at_most(
            "least-squares-frobenius", "linear: |F_hat - F|_F of least squares is flat, growth", value, FLAT, interval
        )
    ]
    mean, interval = mean_interval(whole.square().mean(-1))
    words = "linear: mean |F_hat - F|_F^2 is sigma^2 P / n, ratio within 10%: its distance from 1"
    away = (
        abs(mean - 1),
        (max(0.0, 1 - interval[1], interval[0] - 1), max(abs(interval[0] - 1), abs(interval[1] - 1))),
    )
    claims.append(at_most("least-squares-size", words, away[0], 0.1, away[1]))
    span = float(torch.tensor(size.agents[-1] / size.agents[0], dtype=torch.float64).log())
    value, interval = growth(size.agents, agent.log(), relative=False)
    words = "linear: the error of one agent falls like N^-1/2, exponent at most -0.4"
    claims.append(at_most("least-squares-agent", words, value / span, -0.4, (interval[0] / span, interval[1] / span)))
    return claims


def growth(agents: Sequence[int], y: Tensor, relative: bool = True) -> tuple[float, Interval]:
    """The slope of y[seed, N] in log N times the range of log N, over the mean of y; 95% by a jackknife over seeds.

    >>> round(growth([1, 10, 100], torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))[0], 4)
    1.0
    """
    from scipy.stats import t

    u = torch.tensor(agents, dtype=y.dtype).log()
    weights = (u - u.mean()) / (u - u.mean()).square().sum() * (u[-1] - u[0])
    slopes, n = (y * weights).sum(-1), len(y)
    means = y.mean(-1) if relative else torch.ones_like(slopes)
    without = (slopes.sum() - slopes) / (means.sum() - means)
    error = float(((n - 1) / n * (without - without.mean()).square().sum()).sqrt())
    value, half = float(slopes.sum() / means.sum()), float(t.ppf(0.975, n - 1)) * error
    return value, (value - half, value + half)


def proportion(hits: int, runs: int) -> Interval:
    """The exact 95% interval of a probability (Clopper and Pearson)."""
    from scipy.stats import binomtest

    found = binomtest(hits, runs).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def pieces(seeds: int, each: int) -> list[range]:
    """Seeds in parts, of `each` numbers a seed."""
    width = max(1, AT_ONCE // each)
    return [range(k, min(k + width, seeds)) for k in range(0, seeds, width)]


def joined(parts: Sequence[Judged]) -> Judged:
    coverage = None if parts[0].coverage is None else torch.cat([p.coverage for p in parts if p.coverage is not None])
    gap, bound, holds = (torch.cat([getattr(p, what) for p in parts]) for what in ("gap", "bound", "holds"))
    return Judged(gap, bound, holds, coverage)


def charts(main: Sequence[Series], contrasts: Sequence[Series]) -> list[Chart]:
    def curves(series: Sequence[Series], what: str) -> list[Curve]:
        found = []
        for s in series:
            each = [mean_interval(getattr(f, what)) for f in s.found]
            low, high = ([i[1][end] for i in each] for end in (0, 1))
            found.append(Curve(s.oracle, list(s.agents), [i[0] for i in each], low, high, dots=True))
        return found

    panels = [
        Panel(f"{method}: {what}", "agents", what, curves([s for s in main if s.method == method], what), True, False)
        for method in ("model-free", "model-based")
        for what in ("gap", "bound")
    ]
    shared = next(s for s in main if s.oracle == "counts, shared luck")
    rests = [Panel("What it rests on", "agents", "bound", curves([shared, *contrasts], "bound"), True, True)]
    return [Chart("suboptimality", panels[:2]), Chart("model-based", panels[2:]), Chart("contrasts", rests)]
