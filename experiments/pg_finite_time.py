"""pg-finite-time: lazy policy gradient reaches strict equilibria exactly, after finitely many episodes; eager does not.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy gradient methods to Nash
equilibria in general stochastic games", NeurIPS 2022, arXiv 2210.08857: with

    y_{n+1} = y_n + gamma_n vhat_n,    pi_{n+1} = Proj(y_{n+1})

and REINFORCE's estimates of gradients, steps gamma / (n + m)^p and exploration eps / (n + m)^r with p + r > 1 and
p - r / 2 > 1/2, a run that stays near a deterministic strict Nash policy is exactly there from some iteration on. The
projection of scores of which one leads by 1 is a corner, and leads grow like the sum of the steps: a power of n for
p < 1, a logarithm at p = 1. The eager method, pi_{n+1} = Proj(pi_n + gamma_n vhat_n), forgets by how much it leads, and
is moved off by an action that is explored, with a probability that never ends.

One episode an iteration, from uniform policies, gamma = 0.3, m = 10, eps = 0.5, in the two-state game in which the
first action is always better by 0.7. The last wrong iterate is the last one that was not exactly the equilibrium, of
all iterations. Probabilities have the 99% interval of Clopper and Pearson.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from gamesim.algorithms.policy_gradient import PolicyGradient
from gamesim.certificates.probabilities import Probability
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.errors import Caution
from gamesim.experiments.over_seeds import below
from gamesim.experiments.strict_games import near, strict_games
from gamesim.feedback import Reinforce
from gamesim.games import Policy, TabularGame
from gamesim.loop import solve
from gamesim.schedules import Power
from gamesim.study import Claim, Scale, Study, at_least, at_most
from gamesim.watching import Settling

Projection = Literal["lazy", "eager"]
Schedules = tuple[float, float]
"""p and r."""
OUTSIDE, INSIDE, SLOW = (0.6, 0.3), (0.8, 0.4), (1.0, 0.5)
WITHIN = {OUTSIDE: 30_000, INSIDE: 100_000, SLOW: 30_000}
"""Episodes."""
RUNS = 100
LIKELY, RARE = 0.9, 0.1
"""Probabilities that a claim asks for."""
AWAY = 0.1
"""In random games: where players begin, in every state."""


@dataclass(frozen=True)
class PGFiniteTime:
    """Lazy and eager REINFORCE with three pairs of schedules, and random games with a strict policy."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        game = TwoState()
        found, projections = dict[tuple[Projection, Schedules], Path](), get_args(Projection)
        for pair, T in WITHIN.items():
            for projection in projections:
                path = follow(game, game.equilibrium, game.start(), projection, pair, T, runs_of(scale))
                found[projection, pair] = path
                say(f"  {projection}, {pair}: {path.words}")
        claims = [self.all_arrive(found["lazy", pair], pair) for pair in (OUTSIDE, INSIDE)]
        claims += [self.likely(found["lazy", pair], pair) for pair in (OUTSIDE, INSIDE)]
        claims.append(self.slower(found["lazy", SLOW], found["lazy", OUTSIDE]))
        claims += [self.rare(found["eager", pair], pair) for pair in WITHIN]
        claims += [self.checked(game, pair) for pair in WITHIN]
        rows = [row for (projection, pair), path in found.items() for row in path.rows("two-state", projection, pair)]
        claim, more = random_games(scale, say)
        panels = [
            Panel("Settled", "iteration n", "share of runs exactly there from n on",
                  [found["lazy", pair].settled(f"lazy, {name(pair)}") for pair in WITHIN]
                  + [found["eager", INSIDE].settled(f"eager, {name(INSIDE)}")], log_x=True, log_y=False),
            Panel("Eager", "iteration n", "mean squared distance",
                  [found["eager", pair].apart(name(pair)) for pair in WITHIN], log_x=True),
        ]  # fmt: skip
        lazy = "; ".join(f"{name(pair)}: {found['lazy', pair].words}" for pair in WITHIN)
        notes = (
            f"{runs_of(scale)} seeds; claims on all runs are about the first {RUNS}. Lazy, {lazy}. At p = 1 leads grow "
            "like a logarithm, and the theorem asks for a gamma that is large enough besides. (0.6, 0.3) is outside "
            "the theorem, as the solver's caution says, and is the fastest: the variance of scores grows without "
            "bound, but like n^0.1, while the squares of their leads grow like n^0.8. In random games steps begin "
            "smaller, with m = 1000: the first estimates are large, and there are other equilibria to be thrown to. "
            "Chosen after trials: at the quick scale 50,000 episodes of 100 runs, after 30,000 of 60 left it open."
        )
        return Study([*claims, claim], [Chart("finite-time", panels)], [*rows, *more], notes)

    def all_arrive(self, path: "Path", pair: Schedules) -> Claim:
        worst = int(path.last_wrong[:RUNS].max())
        words = f"lazy, {name(pair)}: of {RUNS} runs all are exactly there within {path.T:,} episodes (the largest last"
        return at_most(f"lazy-{pair[0]:g}-all", f"{words} wrong iterate)", worst, path.T - 1)

    def likely(self, path: "Path", pair: Schedules) -> Claim:
        words = f"lazy, {name(pair)}: exactly there within {path.T:,} episodes with probability at least {LIKELY}"
        return at_least(f"lazy-{pair[0]:g}", words, path.arrived.value, LIKELY, path.arrived.interval)

    def slower(self, slow: "Path", fast: "Path") -> Claim:
        words = "lazy: runs are exactly there sooner with p = 0.6 than with p = 1, of which some are not there yet"
        return below("lazy-sooner", words, 1.0 + fast.last_wrong, 1.0 + slow.last_wrong)

    def rare(self, path: "Path", pair: Schedules) -> Claim:
        words = f"eager, {name(pair)}: exactly there after {path.T:,} episodes with a probability of at most {RARE}"
        return at_most(f"eager-{pair[0]:g}", words, path.arrived.value, RARE, path.arrived.interval)

    def checked(self, game: TabularGame, pair: Schedules) -> Claim:
        cautions = solver("lazy", pair).cautions(game)
        if pair == INSIDE:
            return at_most("checker-0.8", f"{name(pair)}: the solver has no caution", len(cautions), 0)
        what = "p + r and 2 p - r are not above 1" if pair == OUTSIDE else "gamma has to be large enough"
        count = 2 if pair == OUTSIDE else 1
        return at_least(f"checker-{pair[0]:g}", f"{name(pair)}: the solver cautions that {what}", len(cautions), count)


@dataclass(frozen=True)
class Path:
    """What was measured of runs [seed] of T iterations."""

    T: int
    times: list[int]
    squared: Tensor
    """||pi_n - pi*||^2, [seed, record]."""
    last_wrong: Tensor
    """[seed]."""

    @property
    def arrived(self) -> Probability:
        """The last policy of all is exactly the equilibrium."""
        return Probability(int((self.last_wrong < self.T).sum()), len(self.last_wrong))

    @property
    def words(self) -> str:
        median, most = int(self.last_wrong.median()), int(self.last_wrong.max())
        return (
            f"{self.arrived.value:.1%} exactly there after {self.T:,}, last wrong iterate {median:,} ({most:,} at most)"
        )

    def settled(self, label: str) -> Curve:
        y = [float((self.last_wrong < t).double().mean()) for t in self.times[1:]]
        return Curve(label, self.times[1:], y, dots=True)

    def apart(self, label: str) -> Curve:
        return Curve(label, self.times[1:], self.squared[:, 1:].mean(0).tolist(), dots=True)

    def rows(self, game: str, projection: str, pair: Schedules) -> list[dict[str, object]]:
        return [
            {
                "game": game,
                "projection": projection,
                "p": pair[0],
                "r": pair[1],
                "iteration": t,
                "exactly_there_from_here_on": float((self.last_wrong < t).double().mean()),
                "exactly_there": float((self.squared[:, k] == 0).double().mean()),
                "mean_squared_distance": float(self.squared[:, k].mean()),
            }
            for k, t in enumerate(self.times)
        ]


def name(pair: Schedules) -> str:
    return f"(p, r) = ({pair[0]:g}, {pair[1]:g})"


def solver(projection: Projection, pair: Schedules, m: float = 10.0) -> PolicyGradient:
    p, r = pair
    return PolicyGradient(Power(0.3, p, m), Reinforce(Power(0.5, r, m)), projection)


def runs_of(scale: Scale) -> int:
    return RUNS if scale == "quick" else 1000


def follow(
    game: TabularGame, target: Policy, start: Policy, projection: Projection, pair: Schedules, T: int, runs: int,
    m: float = 10.0,
) -> Path:  # fmt: skip
    """Runs [seed], or [seed and game] of a batch of games."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # of what is outside the theorem, on purpose
        result = solve(
            game, Settling(solver(projection, pair, m), target), iterations=T, every="log", seeds=runs, start=start
        )
    squared, last = result.metric("squared_distance"), result.metric("last_wrong")[..., -1]
    return Path(T, result.trace.iterations, squared.flatten(0, -2), last.flatten())


def random_games(scale: Scale, say: Callable[[str], None]) -> tuple[Claim, list[dict[str, object]]]:
    """Inside the conditions, from near by, with smaller steps at the start: the worst game decides."""
    family = strict_games(4 if scale == "quick" else 16, 0.15, 2, 2)
    start = tuple(x.expand(family.count, *x.shape) for x in near(family.policy, AWAY))
    T, runs = (50_000, 100) if scale == "quick" else (100_000, 200)
    path = follow(family.game, family.policy, start, "lazy", INSIDE, T, runs, m=1000.0)
    each = (path.last_wrong < T).reshape(runs, family.count).sum(0)
    worst = Probability(int(each.min()), runs)
    say(f"  {family.name}, lazy: {path.words}; in the worst game {worst.value:.3f}")
    words = f"{family.name}, lazy, {name(INSIDE)}, m = 1000, from {AWAY} away in every state: exactly there within "
    words += f"{T:,} episodes with probability at least {LIKELY} in each game (least: game {int(each.argmin()) + 1})"
    claim = at_least("lazy-random", words, worst.value, LIKELY, worst.interval)
    return claim, path.rows(family.name, "lazy", INSIDE)
