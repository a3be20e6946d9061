"""pg-rate: near a strict policy the squared distance of policy gradient falls at least as fast as n^-q.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy gradient methods to Nash
equilibria in general stochastic games", NeurIPS 2022, arXiv 2210.08857. With steps gamma / (n + m)^p, a bias of the
gradients of O(n^-b) and a standard deviation of O(n^s), on the event that a run stays near a second-order stationary
policy,

    E ||pi_n - pi*||^2 = O(n^-q),    q = min(b, p - 2 s)

    exact gradients, constant small steps            geometric
    unbiased gradients with errors, p                q = p              b infinite, s = 0
    REINFORCE with exploration eps / (n + m)^(p/2)   q = p / 2          b = p / 2, s = p / 4

It asks for p + b > 1 and p - s > 1/2, and at p = 1 for 2 mu gamma > q with the modulus mu of pi*. Near a strict policy
<v(pi), pi - pi*> <= -c |pi - pi*| falls linearly, so that mu grows without bound as the neighbourhood shrinks, and the
condition on gamma holds in the end. It is an upper bound: what is judged is that nothing falls more slowly.

With exact gradients strictness gives more. Let g be the least that a gradient puts the right action above another on
the way, gamma the step, and e the probability that a player has on the other actions in some state: a projected step
takes at least gamma g / 2 from e, and a lazy one adds gamma g to a lead that needs to be 1. So

    eager    ||pi_n - pi*||^2 <= 2 sum e_0^2 (1 - gamma g / 2)^(2 n),  and 0 from n = 2 e_0 / (gamma g) on
    lazy     0 from n = (1 - lead) / (gamma g) on

Means are over the runs that never were more than half away, as far as it was measured. A run that is exactly at the
policy counts with 0. Slopes are fitted to the last decade in which at least ten runs are elsewhere; intervals join that
of the regression and its windows with a jackknife over seeds.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gamesim.algorithms.policy_gradient import PolicyGradient
from gamesim.certificates.probabilities import Probability
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.stochastic.two_state import TwoState
from gamesim.errors import Caution
from gamesim.experiments.strict_games import StrictGames, first_actions, leads, near, strict_games
from gamesim.feedback import Exact, Feedback, Noisy, Reinforce
from gamesim.games import StochasticGame
from gamesim.loop import Observer, Run, solve
from gamesim.schedules import Constant, Power, Schedule
from gamesim.study import Claim, Interval, Scale, Study, at_least, at_most, fit_slope
from gamesim.watching import Settling

Projection = Literal["lazy", "eager"]
PROJECTIONS: tuple[Projection, ...] = ("lazy", "eager")
AWAY = 0.1
"""The probability that each player begins with on the other actions, in every state."""
MARGIN = 0.15
"""Of the strict policies of random games, at least."""
STEP = 0.01
"""With exact gradients."""
FEW = 10
"""Runs that have to be elsewhere for a mean to count."""
DECADES = 1.0


@dataclass(frozen=True)
class Method:
    """Steps and gradients, and the q that the theorem has for them."""

    id: str
    step_size: Schedule
    feedback: Feedback
    q: float


METHODS = (
    Method("noisy-1", Power(1.0, 1.0, 20.0), Noisy(0.5), 1.0),
    Method("noisy-0.8", Power(0.3, 0.8, 20.0), Noisy(0.5), 0.8),
    Method("reinforce-1-0.5", Power(1.0, 1.0, 1000.0), Reinforce(Power(0.5, 0.5, 1000.0)), 0.5),
    Method("reinforce-0.8-0.4", Power(0.3, 0.8, 1000.0), Reinforce(Power(0.5, 0.4, 1000.0)), 0.4),
    Method("reinforce-0.6-0.3", Power(0.1, 0.6, 1000.0), Reinforce(Power(0.5, 0.3, 1000.0)), 0.3),
)
"""The last is outside the conditions: p + b = 0.9, and p - s = 0.45."""


@dataclass(frozen=True)
class PGRate:
    """Exact, noisy and sampled gradients, lazy and eager, near strict policies of the two-state and random games."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        claims, rows = list[Claim](), list[dict[str, object]]()
        curves: dict[tuple[str, str], list[Curve]] = {}
        for number, family in enumerate(families(scale)):
            suffix = f"-{number + 1}" if number else ""
            for projection in PROJECTIONS:
                claims += exactly(family, projection, suffix)
            events = dict[str, Probability]()
            for method in METHODS:
                for projection in PROJECTIONS:
                    path = follow(family, method, projection, scale)
                    found = path.fitted()
                    events[f"{projection}, {method.id}"] = path.stays
                    claims.append(judge(family, method, projection, suffix, found))
                    rows += path.rows(family, method, projection, found)
                    if not number:
                        kind = method.id.partition("-")[0]
                        curves.setdefault((kind, projection), []).append(path.curve(method))
                    say(f"  {family.name}, {projection}, {method.id}: slope {found.value:.2f} {found.words}, bound "
                        f"{-method.q:g}; {path.stays.value:.3f} stay")  # fmt: skip
            which = min(events, key=lambda name: events[name].interval[0])
            words = f"{family.name}: runs stay near with probability at least 0.9 (least: {which})"
            claims.append(at_least(f"event{suffix}", words, events[which].value, 0.9, events[which].interval))
        theory = {"noisy": {"1/n": -1.0}, "reinforce": {"n^-1/2": -0.5}}
        titles = {"noisy": "Gradients with errors", "reinforce": "REINFORCE"}
        panels = [
            Panel(f"{titles[kind]}, {projection}", "iteration", "mean squared distance", drawn, log_x=True,
                  theory=theory[kind])
            for (kind, projection), drawn in curves.items()
        ]  # fmt: skip
        notes = (
            f"Runs begin with {AWAY} away in every state; random games are those with a strict policy of a margin of "
            f"at least {MARGIN}; {runs_of(scale)} seeds. (p, r) = (0.6, 0.3) lies outside the theorem. Curves end "
            f"where fewer than {FEW} runs are elsewhere: the lazy method is exactly there from then on. The eager one "
            "is moved off whenever an action that it no longer plays is explored in an episode that pays: with a "
            "chance of the order of eps by a step of the order of gamma / eps, so that one would expect n^-(2p - r), "
            "which is faster than the bound. Chosen after trials: 60 seeds and 30,000 episodes at the quick scale, "
            "after 40 and 20,000 left wider intervals."
        )
        return Study(claims, [Chart("rates", panels)], rows, notes)


@dataclass(frozen=True)
class Fitted:
    """A slope, where it was fitted, and how many of the runs are exactly there in the end."""

    value: float
    interval: Interval
    window: Interval
    there: float

    @property
    def words(self) -> str:
        return f"on {self.window[0]:,.0f} to {self.window[1]:,.0f}, {self.there:.0%} exactly there in the end"


@dataclass(frozen=True)
class Path:
    """What was measured of runs of one method."""

    times: list[int]
    squared: Tensor
    """||pi_n - pi*||^2, [seed, game, record]."""
    near: Tensor
    """Whether a run never was more than half away, [seed, game]."""

    @property
    def stays(self) -> Probability:
        """The event of the theorem, of the game in which it is least likely."""
        least = self.near.sum(0).min()
        return Probability(int(least), len(self.near))

    def mean(self) -> Tensor:
        """E[||pi_n - pi*||^2 | near], [record]."""
        return (self.squared * self.near[..., None]).sum((0, 1)) / self.near.sum()

    @property
    def last(self) -> int:
        """The last record at which enough runs are elsewhere."""
        away = ((self.squared > 0) & self.near[..., None]).sum((0, 1)) >= FEW
        return int(away.nonzero()[-1])

    def fitted(self) -> Fitted:
        end = self.times[self.last]
        kept = [k for k, t in enumerate(self.times[: self.last + 1]) if t >= max(1, end / 10**DECADES)]
        x, picked = [float(self.times[k]) for k in kept], self.squared[..., kept]
        total, count = (picked * self.near[..., None]).sum(1), self.near.sum(1)
        fit = fit_slope(x, (total.sum(0) / count.sum()).tolist())
        without = (total.sum(0) - total) / (count.sum() - count)[:, None]  # one seed left out
        u = torch.tensor(x, dtype=torch.float64).log()
        u = u - u.mean()
        each = (without.log() * u).sum(-1) / (u * u).sum()
        half = 2 * float(((len(each) - 1) / len(each) * (each - each.mean()).square().sum()).sqrt())
        low, high = min(fit.value - half, fit.interval[0]), max(fit.value + half, fit.interval[1])
        there = float((self.squared[..., -1] == 0).double().mean())
        return Fitted(fit.value, (low, high), (x[0], x[-1]), there)

    def curve(self, method: Method) -> Curve:
        begin = 1 if isinstance(method.feedback, Noisy) else 50  # what follows is the rate
        shown = [k for k, t in enumerate(self.times[: self.last + 1]) if t >= begin]
        return Curve(method.id, [self.times[k] for k in shown], self.mean()[shown].tolist(), dots=True)

    def rows(self, family: StrictGames, method: Method, projection: str, found: Fitted) -> list[dict[str, object]]:
        there = (self.squared == 0).double().mean((0, 1))
        return [
            {
                "games": family.name,
                "method": method.id,
                "projection": projection,
                "iteration": t,
                "mean_squared_distance": float(mean),
                "exactly_there": float(share),
                "fitted_slope": found.value,
                "bound": -method.q,
            }
            for t, mean, share in zip(self.times, self.mean(), there, strict=True)
        ]


def families(scale: Scale) -> list[StrictGames]:
    """The two-state game among small random ones; in full also larger ones, and some of three players."""
    small = strict_games(3 if scale == "quick" else 7, MARGIN, 2, 2)
    both = [game.law.dense().reshape(-1, 2, 2, 2, 2) for game in (TwoState(), small.game)]
    rewards = torch.cat([TwoState().reward[None], small.game.reward])
    game = StochasticGame(rewards, torch.cat(both), player_count=2)
    found = [StrictGames(f"two-state and {small.name}", game, small.policy)]
    return found if scale == "quick" else [*found, strict_games(8, MARGIN, 3, 3), strict_games(8, MARGIN, 2, 2, 3)]


def runs_of(scale: Scale) -> int:
    return 60 if scale == "quick" else 100


def length_of(feedback: Feedback, scale: Scale) -> int:
    lengths = (300, 3000) if isinstance(feedback, Noisy) else (30_000, 100_000)
    return lengths[0] if scale == "quick" else lengths[1]


def follow(family: StrictGames, method: Method, projection: Projection, scale: Scale) -> Path:
    solver = PolicyGradient(method.step_size, method.feedback, projection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # of what is outside the theorem, on purpose
        result = solve(
            family.game,
            Settling(solver, family.policy),
            iterations=length_of(method.feedback, scale),
            every="log",
            seeds=runs_of(scale),
            start=beginning(family),
        )
    squared = result.metric("squared_distance")
    half = sum(x.shape[-2] for x in family.policy) * 2 * 0.5**2
    return Path(result.trace.iterations, squared, squared.amax(-1) <= half)


def beginning(family: StrictGames) -> tuple[Tensor, ...]:
    return tuple(x.expand(*family.game.batch, *x.shape) for x in near(family.policy, AWAY))


@dataclass
class Leads(Observer):
    """The least that a gradient put the right action above another so far, [game]."""

    least: list[Tensor] = field(default_factory=list)

    def measured(self, run: Run) -> None:
        self.least.append(leads(run.game, run.policy, first_actions(run.game)).amin((-2, -1)))


def exactly(family: StrictGames, projection: Projection, suffix: str) -> list[Claim]:
    """Exact gradients: the bounds that follow from strictness, with the margin on the way."""
    watched = Leads()
    T = int(4 * 2 * AWAY / (STEP * MARGIN))
    result = solve(
        family.game,
        Settling(PolicyGradient(Constant(STEP), Exact(), projection), family.policy),
        iterations=T,
        start=beginning(family),
        observers=[watched],
    )
    squared, last = result.metric("squared_distance"), result.metric("last_wrong")[:, -1]
    g = torch.stack(watched.least).amin(0)
    lead = min(1 - AWAY - AWAY / (x.shape[-1] - 1) for x in family.policy)
    bound = (2 * AWAY if projection == "eager" else 1 - lead) / (STEP * g)
    worst = float((last / bound).max())
    words = f"{family.name}, exact, {projection}: the last iterate that is not exactly there, over its bound (at most "
    claims = [at_most(f"exact-{projection}-finite{suffix}", f"{words}{float(bound.max()):.0f})", worst, 1.0)]
    if projection == "eager":
        rows = sum(x.shape[-2] for x in family.policy)
        n = torch.arange(T + 1)
        limit = 2 * rows * AWAY**2 * (1 - STEP * g[:, None] / 2) ** (2 * n)
        words = f"{family.name}, exact, eager: squared distance over the geometric bound, at most"
        claims.append(at_most(f"exact-eager-geometric{suffix}", words, float((squared / limit)[:, 1:].max()), 1.0))
    return claims


def judge(family: StrictGames, method: Method, projection: str, suffix: str, found: Fitted) -> Claim:
    words = f"{family.name}, {method.id}, {projection}: squared distance falls at least like n^{-method.q:g} "
    words += f"({found.words})"
    return at_most(f"{method.id}-{projection}{suffix}", words, found.value, -method.q, found.interval)
