"""Is an equilibrium stable under learning? From a ball around it, how many runs stay near and come back to it.

A Nash equilibrium x* is stochastically *stable* if for every neighbourhood U and every delta > 0 runs that start close
enough stay in U for ever with probability at least 1 - delta, *attracting* if they also converge to it, and then
asymptotically stable. Theorem (Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "Survival of the strictest", COLT
2021, arXiv 2101.04667): under FTRL with noisy, realised or bandit feedback, x* is asymptotically stable with
arbitrarily high probability if and only if it is strict, that is every player has a unique best response.

The certificate is a measurement. B independent runs begin at total variation `radius` from x* and take T steps:

    stays       max_n d(X_n, x*) <= within        converges    d(X_T, x*) <= closeness

and each probability has the exact interval of Clopper and Pearson, Biometrika 26 (1934). The statements of the theory
hold on an event of high probability; the probability of that event is what is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from gamesim import catalog
from gamesim.equilibria.pure import strictness
from gamesim.errors import refuse
from gamesim.games import NormalFormGame, Policy
from gamesim.games.game import require_policy
from gamesim.loop import solve
from gamesim.parameters import Bounds, Count, Natural, build, convert
from gamesim.randomness import Stream
from gamesim.regularizers import Regularizer
from gamesim.watching import Watched, distance

STEP = 0.3
"""Of a learner unless it is said, before it is divided by the span of payoffs."""
Radius = Bounds("a distance above 0 and at most 1", 0, 1, low_open=True)
NASH = 1e-6
"""Regret relative to the range of payoffs up to which a profile counts as an equilibrium."""


@dataclass(frozen=True)
class Probability:
    """A probability estimated from independent runs."""

    successes: int
    runs: int
    confidence: float = 0.99

    @property
    def value(self) -> float:
        return self.successes / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's exact interval.

        >>> low, high = Probability(1000, 1000, 0.99).interval
        >>> round(low, 4), high
        (0.9947, 1.0)
        """
        from scipy.stats import binomtest

        found = binomtest(self.successes, self.runs).proportion_ci(self.confidence, method="exact")
        return float(found.low), float(found.high)

    def plain(self) -> dict[str, Any]:
        return {"probability": self.value, "interval": list(self.interval), "runs": self.runs}


@dataclass(frozen=True)
class Stability:
    """What was found of one equilibrium under one way of learning."""

    profile: tuple[tuple[float, ...], ...]
    """x_i*(a), one tuple per player."""
    pure: tuple[int, ...] | None
    """Its actions from 0, where it is pure."""
    strict: bool
    margin: Fraction | float
    """By how much each best response is better than anything else, at least; 0 or less where it is not unique."""
    max_regret: float
    stays: Probability
    converges: Probability
    """Stays, and ends near it."""
    level: float
    """The probability that was asked for."""
    radius: float
    within: float
    closeness: float
    iterations: int
    cautions: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """holds, fails or undecided: stable and attracting with at least the probability that was asked for."""
        low, high = self.converges.interval
        return "holds" if low >= self.level else "fails" if high < self.level else "undecided"

    @property
    def reason(self) -> str:
        """What the verdict rests on, and what the theorem says."""
        low, high = self.converges.interval
        runs = f"{self.converges.successes} of {self.converges.runs} runs stay and converge, [{low:.4f}, {high:.4f}]"
        kind = "strict: stable and attracting" if self.strict else "not strict: not stable and attracting"
        agree = {("holds", True), ("fails", False)}
        if (self.verdict, self.strict) in agree:
            return f"{runs}; as the theorem says of an equilibrium that is {kind}"
        more = "more iterations, a smaller radius or smaller steps may decide" if self.strict else "run longer"
        return f"{runs}; the theorem says of one that is {kind}: {more}"

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "profile": [list(x) for x in self.profile],
            "pure": None if self.pure is None else list(self.pure),
            "strict": self.strict,
            "margin": float(self.margin),
            "max_regret": self.max_regret,
            "verdict": self.verdict,
            "reason": self.reason,
            "stays": self.stays.plain(),
            "converges": self.converges.plain(),
            "level": self.level,
            "radius": self.radius,
            "within": self.within,
            "closeness": self.closeness,
            "iterations": self.iterations,
            "cautions": list(self.cautions),
        }


def certify_equilibrium(
    game: NormalFormGame,
    profile: Policy | Sequence[int],
    solver: Any = None,
    *,
    radius: float = 0.1,
    within: float | None = None,
    closeness: float | None = None,
    runs: int = 1000,
    iterations: int = 10_000,
    level: float = 0.95,
    confidence: float = 0.99,
    seed: int = 0,
) -> Stability:
    """Whether learners that start near an equilibrium stay and come back to it, with which probability.

    profile:    actions from 0 for a pure equilibrium, or a policy for each player.
    solver:     how they learn; FTRL under bandit feedback, with steps in units of the payoffs, if left out.
    radius:     where runs begin: this far from it, in random directions, in total variation.
    within:     how far a run that stays may go; three times the radius if left out.
    closeness:  how near a run that converges ends; half the radius if left out.
    """
    if not isinstance(game, NormalFormGame) or game.batch:
        raise refuse("game", type(game).__name__, "one normal-form game: graphon games have certificates of their own")
    solver = learner(game) if solver is None else solver
    radius = convert_distance(radius, "radius")
    within = convert_distance(min(1.0, 3 * radius) if within is None else within, "within")
    closeness = convert_distance(radius / 2 if closeness is None else closeness, "closeness")
    if not closeness <= radius <= within:
        raise refuse(
            "within", f"{within} with radius {radius} and closeness {closeness}", "closeness <= radius <= within"
        )
    runs, iterations = convert(runs, Count, "runs"), convert(iterations, Natural, "iterations")
    x = policy_of(game, profile)
    regrets, pure = game.regrets(x), pure_profile(x)
    if float(regrets.max()) > NASH * span(game):
        raise refuse("equilibrium", f"a profile with a regret of {float(regrets.max()):.3g}", "a Nash equilibrium")
    margin = _margin(game, x, pure)
    starts = sphere(x, radius, runs, Stream(seed, iteration=0))
    result = solve(
        game, Watched(solver, x), iterations=iterations, every=max(iterations, 1), seeds=runs, seed=seed, start=starts
    )
    near = result.state.farthest <= within
    back = near & (distance(result.policy, x) <= closeness)
    return Stability(
        tuple(tuple(p.tolist()) for p in x), pure, margin > 0, margin, float(regrets.max()),
        Probability(int(near.sum()), runs, confidence), Probability(int(back.sum()), runs, confidence),
        level, radius, within, closeness, iterations, tuple(getattr(solver, "cautions", lambda game: ())(game)),
    )  # fmt: skip


def learner(game: NormalFormGame, **parameters: Any) -> Any:
    """FTRL under bandit feedback, inside the conditions of the theorem.

    Steps are in units of the payoffs, and of what it takes to move the regulariser from the centre of the simplex.
    """
    actions = max(game.action_counts)
    h = convert(parameters.get("regularizer", "entropic"), Regularizer, "regularizer")
    size = STEP * h.curvature(1 / actions) / (actions * span(game))
    own = {"step_size": f"power({size:.6g}, 0.7, 10)", "feedback": "bandit(power(0.5, 0.3, 10))"}
    return build(catalog.find("solvers", "ftrl"), own | parameters, what="ftrl")


def span(game: NormalFormGame) -> float:
    """The difference between the largest and the smallest payoff of a player, at 1,000 random profiles; 1 if none."""
    u = Stream(0).uniform((1000, len(game.action_counts)))
    profiles = (u * torch.tensor(game.action_counts)).long().to(game.like["device"])
    paid = game.play(profiles)
    return float((paid.amax(0) - paid.amin(0)).max()) or 1.0


def convert_distance(value: Any, name: str) -> float:
    number: float = convert(value, float, name)
    if number not in Radius:
        raise refuse(name, value, Radius.words)
    return number


def policy_of(game: NormalFormGame, profile: Policy | Sequence[int]) -> Policy:
    """A profile as policies, from actions or from policies; refused with its first fault."""
    counts = game.action_counts
    if len(profile) != len(counts):
        raise refuse("equilibrium", f"{len(profile)} players", f"{len(counts)}, as the game has")
    if all(isinstance(a, int) for a in profile):
        for i, (a, count) in enumerate(zip(profile, counts, strict=True)):
            if not 0 <= a < count:  # type: ignore[operator]
                raise refuse(f"equilibrium[{i}]", a, f"an action from 0 to {count - 1}")
        return game.chosen(torch.tensor(list(profile)))
    x = tuple(torch.as_tensor(p).to(**game.like) for p in profile)
    require_policy(x, game.start(), "equilibrium")
    return x


def pure_profile(policy: Policy) -> tuple[int, ...] | None:
    """The actions of a pure profile; None of a mixed one."""
    sure = all(bool((p.max(-1).values == 1).all()) for p in policy)
    return tuple(int(p.argmax(-1)) for p in policy) if sure else None


def sphere(policy: Policy, radius: float, count: int, generator: Stream) -> Policy:
    """Policies [b, a] at distance `radius` from x, or as far as the simplex goes, in random directions.

    Players are moved by random shares of the radius, the largest of which is 1: were they all the same, symmetric games
    would start on curves that lead into saddles.
    """
    like: dict[str, Any] = {"dtype": policy[0].dtype, "device": policy[0].device}
    shares = generator.uniform((count, len(policy)), **like)
    shares = radius * shares / shares.amax(-1, keepdim=True)
    found = []
    for i, x in enumerate(policy):
        spread = -generator.uniform((count, *x.shape), **like).log()
        z = spread / spread.sum(-1, keepdim=True)  # uniform on the simplex
        apart = (z - x).abs().sum(-1, keepdim=True) / 2
        weight = (shares[:, i : i + 1] / apart.clamp(min=1e-300)).clamp(max=1.0)
        found.append(torch.lerp(x.expand_as(z), z, weight))
    return tuple(found)


def _margin(game: NormalFormGame, x: Policy, pure: tuple[int, ...] | None) -> Fraction | float:
    """c of a pure profile, exactly where payoffs are known exactly; a mixed one has several best responses."""
    if pure is None:
        return Fraction(0)
    rational = getattr(game, "rational", None)
    if rational is None:
        return strictness(game.values(x), pure)
    rows = [
        [rational(i, (*pure[:i], a, *pure[i + 1 :])) for a in range(count)]
        for i, count in enumerate(game.action_counts)
    ]
    return strictness(rows, pure)
