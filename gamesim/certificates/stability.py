"""Is an equilibrium stable under learning? From a ball around it, how many runs stay near and come back to it.

A Nash equilibrium x* is stochastically *stable* if for every neighbourhood U and every delta > 0 runs that start close
enough stay in U for ever with probability at least 1 - delta, *attracting* if they also converge to it, and then
asymptotically stable. Theorem (Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "Survival of the strictest", COLT
2021, arXiv 2101.04667): under FTRL with noisy, realised or bandit feedback, x* is asymptotically stable with
arbitrarily high probability if and only if it is strict, that is every player has a unique best response.

The certificate is a measurement, of one such neighbourhood and a finite number of steps. B independent runs begin at
total variation `radius` from x* and take T steps:

    stays       max_n d(X_n, x*) <= within        converges    it stays, and d(X_T, x*) <= closeness

and each probability has the exact interval of Clopper and Pearson (`gamesim.certificates.probabilities`).

The statements of the theory hold on an event of high probability, which grows to one as steps become small; the
probability of that event is what is reported.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from gamesim.certificates.learners import learner, require_one_game, span
from gamesim.certificates.probabilities import Probability, Runs, Share
from gamesim.certificates.profiles import Radius, policy_of, pure_profile, sphere
from gamesim.equilibria.pure import strictness
from gamesim.errors import refuse
from gamesim.games import NormalFormGame, Policy
from gamesim.loop import solve
from gamesim.parameters import Natural, convert
from gamesim.randomness import Stream
from gamesim.watching import Watched, distance

NASH = 1e-6
"""Regret relative to the range of payoffs up to which a profile counts as an equilibrium."""
ROUNDING = 1e-12
"""Differences of payoffs, relative to their range, that count as none where payoffs are known as floats only."""
STARTS = 2**32 - 1
"""The iteration whose random numbers place the starts: one that no run comes to."""


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
