"""banditspec-regret: what it costs to learn which draft to use, in rounds: logarithmic, a root, or linear.

Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", ICML 2025, arXiv 2505.15141. The regret
of stopping times, Reg = E[ST(algorithm)] - min_i E[ST(arm i)], with truncated geometric lengths at rates .2, .5, .7 and
.85, drafts of L = 4 and delta = .1, is

    UCBSpec     O(H L^2 log N),  H = sum_i 1 / (mu* Delta_i)                                          (Theorem 4.3)
    EXP3Spec    at most 2 L min{ sqrt(N K log K), 2 L K log K + sqrt(ST* K log K) }, whatever the arms    (Theorem 5.3)
    uniform     linear in N

For UCBSpec the argument of the theorem is evaluated with its constants: while the bounds hold, a worse arm is pulled
for the last time when 2 cr_i >= Delta_i, and the t-th round fails with a probability of at most delta / t^2.

Where arms change, only EXP3Spec is promised anything. A table shows it: two arms bring 1 and 5 tokens in turn, out of
step. UCBSpec takes them in turn, too, and meets the bad one in every round.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.exp3_spec import EXP3Spec
from gamesim.algorithms.fixed_policy import FixedPolicy
from gamesim.algorithms.hedge_spec import HedgeSpec
from gamesim.algorithms.ucb_spec import UCBSpec
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.bandits.acceptance_log import AcceptanceLog
from gamesim.envs.bandits.speculative_decoding import SpeculativeDecoding
from gamesim.errors import Caution
from gamesim.experiments.over_seeds import band, mean_interval, slope
from gamesim.formats.acceptance import Acceptance
from gamesim.loop import solve
from gamesim.study import Claim, Scale, Study, at_least, at_most

REFERENCE: Mapping[str, Mapping[int, float]] = {
    "ucb-spec": {10**3: 32, 10**4: 68, 10**5: 104},
    "exp3-spec": {10**3: 38, 10**4: 74, 10**5: 106},
    "uniform": {10**3: 143, 10**4: 1441, 10**5: 14406},
}
"""Rounds of regret in an independent simulation, at the rates below."""
RATES, L, DELTA = (0.2, 0.5, 0.7, 0.85), 4, 0.1
SOLVERS: Mapping[str, Any] = {
    "ucb-spec": UCBSpec(DELTA),
    "exp3-spec": EXP3Spec(),
    "hedge-spec": HedgeSpec(),
    "uniform": FixedPolicy(),
}
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int]] = {
    "quick": ((1000, 2000, 5000, 10_000), 64),
    "full": ((1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000), 100),
}


@dataclass(frozen=True)
class BanditspecRegret:
    """Regret in rounds against tokens, over seeds that meet the same luck, and an adversary that UCBSpec falls for."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        budgets, seeds = EFFORT[scale]
        tokens = torch.tensor(budgets, dtype=torch.float64)
        game = SpeculativeDecoding(rates=RATES, length=L, tokens=tokens)
        expected = torch.stack([game.expected_rounds(n) for n in budgets])
        best = int(expected[-1].argmin())
        always = stopping_times(game, FixedPolicy(best), seeds)
        regret = dict[str, Tensor]()
        for name, solver in SOLVERS.items():
            regret[name] = stopping_times(game, solver, seeds) - always
            say(f"  {name}: {[round(x, 1) for x in regret[name].mean(0).tolist()]} rounds at {list(budgets)} tokens")
        claims = [*agreements(regret, budgets), *growths(regret, budgets)]
        bounds = {"ucb-spec": ucb_bound(game, budgets), "exp3-spec": exp3_bound(expected.amin(-1), budgets)}
        for name, bound in bounds.items():
            claims.append(under(name, regret[name], bound))
        for name in ("ucb-spec", "exp3-spec"):
            mean, interval = mean_interval(regret["hedge-spec"][:, -1] - regret[name][:, -1])
            statement = f"hedge-spec, who sees all lengths, loses fewer rounds than {name} (difference)"
            claims.append(at_most(f"hedge-below-{name}", statement, mean, 0.0, interval))
        turns, more = adversary(budgets, seeds)
        say(f"  turns: { ({name: [round(x) for x in y.mean(0).tolist()] for name, y in turns.items()}) }")
        claims += more
        rows = [
            {"arms": arms, "solver": name, "tokens": n, "seed": seed, "regret": float(y[seed, i])}
            for arms, found in (("stationary", regret), ("turns", turns))
            for name, y in found.items()
            for i, n in enumerate(budgets)
            for seed in range(seeds)
        ]
        return Study(claims, [Chart("regret", panels(budgets, regret, turns, bounds))], rows, notes(expected, best))


def stopping_times(game: Any, solver: Any, seeds: int) -> Tensor:
    """ST[seed, budget]; steps after the last run has ended cost nothing."""
    most = int(game.tokens.max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # that UCBSpec is promised nothing on changing arms is the point
        result = solve(game, solver, iterations=most, every=most, seeds=seeds)
    return result.metric("rounds")[..., -1]


def agreements(regret: Mapping[str, Tensor], budgets: Sequence[int]) -> list[Claim]:
    """Regret against the reference, in standard errors."""
    claims = list[Claim]()
    for name, figures in REFERENCE.items():
        for n, figure in figures.items():
            if n in budgets:
                y = regret[name][:, budgets.index(n)]
                away = abs(float(y.mean()) - figure) / float(y.std() / math.sqrt(len(y)))
                statement = (
                    f"{name}: {float(y.mean()):.4g} rounds at {n:,} tokens, reference {figure:g}; standard errors"
                )
                claims.append(at_most(f"{name}-{n}", f"{statement} apart, at most 3", away, 3.0))
    return claims


def growths(regret: Mapping[str, Tensor], budgets: Sequence[int]) -> list[Claim]:
    """UCBSpec's regret over log N does not grow like a root; uniform play's is a line."""
    first, middle, last = 0, _middle(budgets), len(budgets) - 1
    y = regret["ucb-spec"]
    fit, interval = slope(budgets, y)
    statement = "ucb-spec: regret grows more slowly than the root of the tokens: its exponent is below 0.5"
    claims = [at_most("ucb-spec-exponent", statement, fit, 0.5, interval)]
    spans = [math.log(budgets[j] / budgets[i]) for i, j in ((first, middle), (middle, last))]
    early, late = (y[:, middle] - y[:, first]) / spans[0], (y[:, last] - y[:, middle]) / spans[1]
    root = (budgets[last] ** 0.5 - budgets[middle] ** 0.5) / (budgets[middle] ** 0.5 - budgets[first] ** 0.5)
    root *= spans[0] / spans[1]
    mean, interval = mean_interval(late - root * early)
    statement = "ucb-spec: rounds lost per e-fold of tokens grow less from the first half of the range to the second"
    claims.append(at_most("ucb-spec-logarithmic", f"{statement} than under a root (difference)", mean, 0.0, interval))
    fit, interval = slope(budgets, regret["uniform"])
    away = max(abs(fit - 1), *(abs(x - 1) for x in interval))
    claims.append(at_most("uniform-linear", "uniform: the exponent of the tokens is 1, within 0.05", away, 0.05))
    return claims


def _middle(budgets: Sequence[int]) -> int:
    """The budget nearest to the middle of the range, in logarithms."""
    centre = math.sqrt(budgets[0] * budgets[-1])
    return min(range(len(budgets)), key=lambda i: abs(math.log(budgets[i] / centre)))


def under(name: str, y: Tensor, bound: Tensor) -> Claim:
    """Regret[seed, budget] against its bound: the worst budget decides."""
    parts = [mean_interval(y[:, i] / bound[i]) for i in range(len(bound))]
    mean, interval = max(parts, key=lambda part: part[1][1])
    statement = f"{name}: regret over the theorem's bound, at most 1 at every number of tokens"
    return at_most(f"{name}-bound", statement, mean, 1.0, interval)


def ucb_bound(game: SpeculativeDecoding, budgets: Sequence[int]) -> Tensor:
    """sum_i Delta_i / mu* (n_i + 1 + delta pi^2 / 6) + L / mu*, n_i the last n at which 2 cr_i >= Delta_i."""
    mu = game.mean_rewards(0)
    gaps = mu.amax() - mu
    n = torch.arange(1, 100_000, dtype=torch.float64)[:, None]
    bounds = list[float]()
    for tokens in budgets:
        radius = L / 2 * UCBSpec(DELTA).radius(n.expand(-1, len(mu)), torch.tensor(float(tokens)).double())
        pulls = (2 * radius >= gaps).sum(0) + 1 + DELTA * math.pi**2 / 6
        bounds.append(float((gaps * pulls)[gaps > 0].sum() / mu.amax() + L / mu.amax()))
    return torch.tensor(bounds, dtype=torch.float64)


def exp3_bound(rounds: Tensor, budgets: Sequence[int], arms: int = len(RATES)) -> Tensor:
    """2 L min{ sqrt(N K log K), 2 L K log K + sqrt(ST* K log K) }."""
    size = arms * math.log(arms)
    tokens = torch.tensor(budgets, dtype=torch.float64)
    return 2 * L * torch.minimum((tokens * size).sqrt(), 2 * L * size + (rounds * size).sqrt())


def adversary(budgets: Sequence[int], seeds: int) -> tuple[dict[str, Tensor], list[Claim]]:
    """Two arms that bring 1 and L + 1 tokens in turn."""
    table = Acceptance.of([[1, L + 1], [L + 1, 1]])
    game = AcceptanceLog(data=table, tokens=torch.tensor(budgets, dtype=torch.float64))
    best = torch.minimum(*(stopping_times(game, FixedPolicy(arm), 1)[0] for arm in (0, 1)))
    regret = {name: stopping_times(game, SOLVERS[name], seeds) - best for name in ("ucb-spec", "exp3-spec")}
    bound = exp3_bound(best, budgets, arms=2)
    times = float((regret["ucb-spec"].mean(0) / bound)[-1])
    statement = f"turns: ucb-spec loses more than EXP3Spec's bound allows at {budgets[-1]:,} tokens (ratio)"
    claims = [at_least("turns-ucb-spec", statement, times, 1.0)]
    parts = [mean_interval(regret["exp3-spec"][:, i] / bound[i]) for i in range(len(budgets))]
    mean, interval = max(parts, key=lambda part: part[1][1])
    statement = "turns: exp3-spec stays below its bound at every number of tokens (ratio)"
    return regret, [*claims, at_most("turns-exp3-spec", statement, mean, 1.0, interval)]


def panels(
    budgets: Sequence[int], regret: Mapping[str, Tensor], turns: Mapping[str, Tensor], bounds: Mapping[str, Tensor]
) -> list[Panel]:
    x = [float(n) for n in budgets]
    learned = {name: y for name, y in regret.items() if bool((y.mean(0) > 0).all())}
    curves = [band(name, x, y, dots=True) for name, y in learned.items()]
    dashed = [Curve(f"{name}: bound", x, y.tolist(), dashed=True) for name, y in bounds.items()]
    lines = [Curve(name, x, y.mean(0).tolist(), dots=True) for name, y in regret.items() if name != "uniform"]
    adverse = [Curve(name, x, y.mean(0).tolist(), dots=True) for name, y in turns.items()]
    title = "Stationary arms"
    return [
        Panel(title, "tokens", "regret, rounds", [*curves, *dashed], log_x=True),
        Panel("The same, where a logarithm is a line", "tokens", "regret, rounds", lines, log_x=True, log_y=False),
        Panel("Arms that take turns", "tokens", "regret, rounds", adverse, log_x=True, log_y=False),
    ]


def notes(expected: Tensor, best: int) -> str:
    return (
        "Every solver meets the same luck as the best arm pulled always, so that differences of their rounds are not "
        f"those of luck; arm {best} alone takes {float(expected[-1, best]):.1f} rounds on average at the last number "
        "of tokens, by the renewal equation. Standard errors are over seeds of this study alone: that of the reference "
        "is not known."
    )
