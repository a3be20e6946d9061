"""Is an equilibrium stable under learning? From a ball around it, how many runs stay near and come back to it.

A Nash equilibrium x* is stochastically *stable* if for every neighbourhood U and every delta > 0 runs that start close
enough stay in U for ever with probability at least 1 - delta, *attracting* if they also converge to it, and then
asymptotically stable. Theorem (Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "Survival of the strictest", COLT
2021, arXiv 2101.04667): under FTRL with noisy, realised or bandit feedback, x* is asymptotically stable with
arbitrarily high probability if and only if it is strict, that is every player has a unique best response.

The certificate is a measurement, of one such neighbourhood and a finite number of steps. B independent runs begin at
total variation `radius` from x* and take T steps:

    stays       max_n d(X_n, x*) <= within        converges    it stays, and d(X_T, x*) <= closeness

and each probability has the exact interval of Clopper and Pearson, Biometrika 26 (1934):

    k of B        [Beta^-1(alpha / 2; k, B - k + 1), Beta^-1(1 - alpha / 2; k + 1, B - k)]
    B of B        [(alpha / 2)^(1 / B), 1]

The statements of the theory hold on an event of high probability, which grows to one as steps become small; the
probability of that event is what is reported.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Annotated, Any

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.equilibria.pure import strictness
from gamesim.errors import refuse
from gamesim.feedback import Bandit, Feedback
from gamesim.games import DenseGame, NormalFormGame, Policy
from gamesim.games.game import require_policy
from gamesim.loop import solve
from gamesim.parameters import Bounds, Natural, build, convert
from gamesim.randomness import Stream
from gamesim.regularizers import Regularizer
from gamesim.watching import Watched, distance

STEP = 0.3
"""Of a learner unless it is said, in units of the payoffs and of what moves a probability of the radius."""
Radius = Annotated[float, Bounds("a distance above 0 and at most 1", 0, 1, low_open=True)]
Share = Annotated[float, Bounds("a probability between 0 and 1", 0, 1, low_open=True, high_open=True)]
Runs = Annotated[int, Bounds("a whole number from 1 to 1,000,000", 1, 10**6)]
NASH = 1e-6
"""Regret relative to the range of payoffs up to which a profile counts as an equilibrium."""
ROUNDING = 1e-12
"""Differences of payoffs, relative to their range, that count as none where payoffs are known as floats only."""
INSIDE = 0.999
"""How far of the way to the boundary of the simplex a run may begin: on it scores are infinite."""
STARTS = 2**32 - 1
"""The iteration whose random numbers place the starts: one that no run comes to."""


@dataclass(frozen=True)
class Probability:
    """A probability estimated from independent runs, k of B."""

    successes: int
    runs: int
    confidence: float = 0.99

    @property
    def value(self) -> float:
        return self.successes / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's exact interval, two-sided.

        >>> low, high = Probability(1000, 1000, 0.99).interval
        >>> round(low, 4), round(0.005 ** (1 / 1000), 4), high
        (0.9947, 0.9947, 1.0)
        """
        from scipy.special import betaincinv

        k, n, tail = self.successes, self.runs, (1 - self.confidence) / 2
        low = betaincinv(k, n - k + 1, tail) if k > 0 else 0.0
        high = betaincinv(k + 1, n - k, 1 - tail) if k < n else 1.0
        return float(low), float(high)

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
        k, (low, high) = self.converges, self.converges.interval
        found = f"{k.successes} of {k.runs} runs stay and converge, [{low:.4f}, {high:.4f}] against {self.level:g}"
        if self.verdict == "holds":
            said = "as the theorem says of a strict equilibrium"
            odd = "the theorem says of one that is not strict that it is left in the end: run longer, or begin nearer"
            return f"{found}; {said if self.strict else odd}"
        if self.verdict == "fails" and not self.strict:
            return f"{found}; as the theorem says of an equilibrium that is not strict"
        if not self.strict:
            return f"{found}; the theorem says of one that is not strict that it is left in the end: more runs decide"
        if self.verdict == "undecided" and k.successes == k.runs:
            more = "more runs decide"
        elif self.stays.interval[0] >= self.level or self.stays.value - k.value > 0.5 * (1 - k.value):
            more = "runs stay but are not there yet: more iterations"
        else:
            more = "runs are thrown out on the way: smaller steps or a smaller radius"
        return f"{found}; the theorem says of a strict one that it is stable and attracting, {more}"

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "profile": [list(x) for x in self.profile],
            "pure": None if self.pure is None else list(self.pure),
            "strict": self.strict,
            "margin": float(self.margin) if math.isfinite(self.margin) else None,
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
    profile: Policy | Sequence[Any],
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

    profile:    actions for a pure equilibrium, from 0 or by name, or a policy for each player.
    solver:     how they learn; FTRL under bandit feedback, with steps in units of the payoffs, if left out.
    radius:     where runs begin: this far from it, in random directions, in total variation.
    within:     how far a run that stays may go; three times the radius if left out.
    closeness:  how near a run that converges ends; half the radius if left out.
    level:      the probability that is asked for; the verdict is about the interval of this confidence.
    seed:       runs are the seeds `seed`, `seed + 1`, ...
    """
    game = require_one_game(game)
    radius = convert(radius, Radius, "radius")
    within = convert(min(1.0, 3 * radius) if within is None else within, Radius, "within")
    closeness = convert(radius / 2 if closeness is None else closeness, Radius, "closeness")
    if within < radius:
        raise refuse("within", within, f"at least the radius at which runs begin, {radius:g}")
    if closeness > radius:
        raise refuse("closeness", closeness, f"at most the radius at which runs begin, {radius:g}")
    level, confidence = convert(level, Share, "level"), convert(confidence, Share, "confidence")
    runs, iterations = convert(runs, Runs, "runs"), convert(iterations, Natural, "iterations")
    seed = convert(seed, Natural, "seed")
    solver = learner(game, radius) if solver is None else solver
    if isinstance(solver, type) or not callable(getattr(solver, "step", None)):
        raise refuse("solver", solver, "a solver such as learner(game) or gs.make_solver('ftrl')")
    x = policy_of(game, profile)
    pure, regret = pure_profile(x), float(game.regrets(x).max())
    margin = _margin(game, x, pure)
    if margin < 0 or regret > NASH * span(game):
        raise refuse("equilibrium", f"a profile with a regret of {max(regret, -float(margin)):.3g}",
                     f"a Nash equilibrium, up to a regret of {NASH:g} of the range of payoffs")  # fmt: skip
    starts = sphere(x, radius, runs, Stream(seed, iteration=STARTS))
    result = solve(
        game, Watched(solver, x), iterations=iterations, every=max(iterations, 1), seeds=runs, seed=seed, start=starts
    )
    finite = torch.stack([p.isfinite().all(-1) for p in result.policy]).all(0)
    near = finite & (result.state.farthest <= within)
    back = near & (distance(result.policy, x) <= closeness)
    cautions = list(getattr(solver, "cautions", lambda game: ())(game))
    lost = int((~finite).sum())
    if lost:
        cautions.append(f"runs: {lost} of {runs} are no longer finite and count as gone; smaller steps may keep them")
    return Stability(
        tuple(tuple(p.tolist()) for p in x), pure, margin > 0, margin, regret,
        Probability(int(near.sum()), runs, confidence), Probability(int(back.sum()), runs, confidence),
        level, radius, within, closeness, iterations, tuple(cautions),
    )  # fmt: skip


def learner(game: NormalFormGame, radius: float = 0.1, /, **parameters: Any) -> Any:
    """FTRL under bandit feedback, inside the conditions of the theorem.

    Steps are in units of the payoffs, and of the scores that it takes to move a probability of the radius by itself:
    p theta''(p), so that every regulariser begins alike. An importance-weighted payoff is as large as the payoff
    itself, so under bandit feedback it is their size that counts, and not their differences alone.
    """
    game = require_one_game(game)
    p = min(convert(radius, Radius, "radius"), 1 / max(game.action_counts))
    own = {"feedback": "bandit(power(0.5, 0.3, 10))"} | parameters
    h = convert(own.get("regularizer", "entropic"), Regularizer, "regularizer")
    weighted = isinstance(convert(own["feedback"], Feedback, "feedback"), Bandit)
    size = STEP * p * h.curvature(p) / (magnitude(game) if weighted else span(game))
    return build(catalog.find("solvers", "ftrl"), {"step_size": f"power({size:.6g}, 0.7, 10)"} | own, what="ftrl")


def require_one_game(game: Any) -> NormalFormGame:
    """Refuse what is not a single normal-form game."""
    if not isinstance(game, NormalFormGame):
        raise refuse("game", type(game).__name__, "a normal-form game: graphon games have certificates of their own")
    if game.batch:
        raise refuse("game", f"a batch of games of shape {list(game.batch)}", "one game")
    return game


def span(game: NormalFormGame) -> float:
    """The difference between the largest and the smallest payoff of a player; 1 if there is none."""
    paid = _paid(game)
    return float((paid.amax(0) - paid.amin(0)).max()) or 1.0


def magnitude(game: NormalFormGame) -> float:
    """The largest payoff in absolute value, or their span if that is more."""
    return max(float(_paid(game).abs().max()), span(game))


def _paid(game: NormalFormGame) -> Tensor:
    """All payoffs [profile, player], or those of 1,000 random profiles where they are not written out."""
    if isinstance(game, DenseGame):
        return game.payoffs.flatten(1).mT
    u = Stream(0).uniform((1000, len(game.action_counts)))
    return game.play((u * torch.tensor(game.action_counts)).long().to(game.like["device"]))


def policy_of(game: NormalFormGame, profile: Policy | Sequence[Any]) -> Policy:
    """A profile as policies, from actions by number or name, or from policies; refused with its first fault."""
    counts = game.action_counts
    if not isinstance(profile, Sequence) or isinstance(profile, str):
        raise refuse("equilibrium", profile, "an action or a policy for each player")
    if len(profile) != len(counts):
        raise refuse("equilibrium", f"{len(profile)} players", f"{len(counts)}, as the game has")
    if any(isinstance(a, Integral | str) for a in profile):
        return game.chosen(torch.tensor([_action(game, i, a) for i, a in enumerate(profile)]))
    found = []
    for i, p in enumerate(profile):
        try:
            row = torch.as_tensor(p, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise refuse(f"equilibrium[{i}]", p, "probabilities") from None
        found.append(row.to(**game.like))
    x = tuple(found)
    require_policy(x, game.start(), "equilibrium")
    for i, (row, count) in enumerate(zip(x, counts, strict=True)):
        if row.shape != (count,):
            raise refuse(f"equilibrium[{i}]", f"shape {tuple(row.shape)}", f"({count},): one profile")
    return x


def _action(game: NormalFormGame, player: int, action: Any) -> int:
    names = game.actions[player]
    if isinstance(action, str) and names.count(action) == 1:
        return names.index(action)
    if isinstance(action, Integral) and not isinstance(action, bool) and 0 <= int(action) < len(names):
        return int(action)
    raise refuse(f"equilibrium[{player}]", action, f"an action from 0 to {len(names) - 1}, or its name")


def pure_profile(policy: Policy) -> tuple[int, ...] | None:
    """The actions of a pure profile; None of a mixed one."""
    sure = all(bool((p.max(-1).values == 1).all()) for p in policy)
    return tuple(int(p.argmax(-1)) for p in policy) if sure else None


def sphere(policy: Policy, radius: float, count: int, generator: Stream) -> Policy:
    """Policies [b, a] at distance `radius` from x, or nearly as far as the simplex goes there, in random directions.

    Players share the radius at random: were the shares all the same, symmetric games would start on curves that lead
    into saddles. Each moves towards a uniformly random policy and, if need be, past it.
    """
    like: dict[str, Any] = {"dtype": policy[0].dtype, "device": policy[0].device}
    can = torch.tensor([x.shape[-1] > 1 for x in policy], device=like["device"])
    shares = generator.uniform((count, len(policy)), **like) * can
    shares = radius * shares / shares.sum(-1, keepdim=True).clamp(min=1e-300)
    found = []
    for i, given in enumerate(policy):
        x = given / given.sum(-1, keepdim=True)  # a row may be given with six digits
        spread = -generator.uniform((count, *x.shape), **like).log()
        way = spread / spread.sum(-1, keepdim=True) - x  # towards a point that is uniform on the simplex
        apart = way.abs().sum(-1, keepdim=True) / 2
        edge = torch.where(way < 0, -x / way, math.inf).amin(-1, keepdim=True)
        weight = torch.minimum(shares[:, i : i + 1] / apart.clamp(min=1e-300), INSIDE * edge)
        found.append((x + way * weight).clamp(min=0) if can[i] else x.expand_as(way))
    return tuple(found)


def _margin(game: NormalFormGame, x: Policy, pure: tuple[int, ...] | None) -> Fraction | float:
    """c of a pure profile, exactly where payoffs are known exactly; a mixed one has several best responses."""
    if pure is None:
        return Fraction(0)
    rational = getattr(game, "rational", None)
    if rational is None:
        found = float(strictness(game.values(x), pure))
        return 0.0 if abs(found) <= ROUNDING * span(game) else found
    rows = [
        [rational(i, (*pure[:i], a, *pure[i + 1 :])) for a in range(count)]
        for i, count in enumerate(game.action_counts)
    ]
    return strictness(rows, pure)
