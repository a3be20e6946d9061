"""pg-sos-attraction: policy gradient stays at and comes back to strict policies, and leaves all other equilibria.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy gradient methods to Nash
equilibria in general stochastic games", NeurIPS 2022, arXiv 2210.08857: a second-order stationary (SOS) policy attracts
projected and lazy policy gradient with a probability as near to 1 as one likes, if steps are small enough. In games
given by tables SOS policies are the strict ones that visit every state (`gamesim.certificates.second_order`), so that
the theorem is silent about mixed equilibria, partly mixed ones, and pure ones with a second best action.

What is measured is both sides. Runs begin on a sphere around an equilibrium, in total variation 0.2 summed over players
and states; they stay if they never go beyond 0.6, and converge if they stay and end within 0.005. Basins are measured
from policies that are uniformly random in every state. Probabilities have the 99% interval of Clopper and Pearson.

Meeting places: in each of two states two players are paid 2 if both choose the first action, 1 if both choose the
second, and nothing else, and states follow one another by chance; every choice of (1, 1), (2, 2) or the mixture
(1/3, 2/3) in each state is an equilibrium, nine in all, four of them strict. In the constructed games actions move the
states.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.algorithms.policy_gradient import PolicyGradient
from gamesim.certificates.probabilities import Probability
from gamesim.certificates.profiles import sphere
from gamesim.certificates.second_order import certify_policy
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.stochastic.constructed import Constructed
from gamesim.errors import Caution
from gamesim.feedback import Exact, Noisy, Reinforce
from gamesim.games import Policy, StochasticGame, TabularGame
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power
from gamesim.study import Claim, Scale, Study, at_least, at_most
from gamesim.watching import Watched, distance

RADIUS, WITHIN, CLOSENESS = 0.2, 0.6, 0.005
STARTS = 2**32 - 1
"""The iteration whose random numbers place the starts: one that no run comes to."""
LEARNERS = ("exact", "exact-eager", "noisy-eager", "reinforce")
"""Lazy where not said."""
Kind = Literal["strict", "mixed", "copied"]
BOUNDS: dict[Kind, float] = {"strict": 0.9, "mixed": 0.25, "copied": 0.5}
"""The probability that a strict policy's is above, and that of a mixed one or of a pure one with a copy below."""
PAYOFFS = (1.0, 1.5, 2.0, 3.0, 4.0)
"""Of (1, 1) in meeting places, against 1 of (2, 2), for the basins."""
KINDS: dict[Any, Kind] = {"strict": "strict", "interior": "mixed", "partial": "mixed", "duplicate": "copied"}
"""Of the constructed games."""
MIXED = 3
"""In the list of what is played in a state: 1 for (1, 1), 2 for (2, 2), 3 for the mixture."""


@dataclass(frozen=True, eq=False)
class Case:
    """An equilibrium of a game."""

    name: str
    game: TabularGame
    policy: Policy
    kind: Kind

    @property
    def strict(self) -> bool:
        return self.kind == "strict"


def learner_of(name: str, game: TabularGame) -> PolicyGradient:
    """Inside the conditions of the theorem, with steps in units of the largest reward."""
    unit = float(game.reward.abs().amax())
    match name:
        case "exact":
            return PolicyGradient(Constant(0.1 / unit), Exact())
        case "exact-eager":
            return PolicyGradient(Constant(0.1 / unit), Exact(), "eager")
        case "noisy-eager":
            return PolicyGradient(Power(0.3 / unit, 0.8, 20.0), Noisy(0.5 * unit), "eager")
    return PolicyGradient(Power(0.6 / unit, 0.8, 5000.0), Reinforce(Power(0.5, 0.4, 5000.0)))


@dataclass(frozen=True)
class Found:
    """What became of runs that began near an equilibrium."""

    stays: Probability
    converges: Probability


@dataclass(frozen=True)
class PGSOSAttraction:
    """Spheres around strict and other equilibria, four learners; then basins from random policies."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        cases, found, rows = cases_of(scale), dict[tuple[str, str], Found](), list[dict[str, object]]()
        verdicts = {case.name: certify_policy(case.game, case.policy).verdict for case in cases}
        for k, case in enumerate(cases):
            for learner in learners_of(scale):
                one = begin_near(case, learner, scale, seed=100_000 * k)
                found[case.name, learner] = one
                rows.append(row(case, verdicts[case.name], learner, one))
            shown = {learner: found[case.name, learner].converges.value for learner in learners_of(scale)}
            say(f"  {case.name} ({verdicts[case.name]}): {shown}")
        wrong = [case.name for case in cases if (verdicts[case.name] == "strict") != case.strict]
        words = f"certificates say strict of the strict ones of {len(cases)} equilibria, and of no other (wrong)"
        claims = [at_most("certified", words, len(wrong), 0)]
        claims += [judge(cases, found, learner, kind) for kind in BOUNDS for learner in learners_of(scale)]
        more, panel, basin_rows = basins(scale, say)
        names = [case.name for case in cases]
        panels = [near_panel(cases, found, scale), panel]
        notes = (
            f"Equilibria: {', '.join(f'{k + 1} {name}' for k, name in enumerate(names))}. {runs_of('exact', scale)} "
            f"runs of {length_of('reinforce', scale):,} episodes, {length_of('exact', scale):,} iterations with exact "
            "gradients. That equilibria that are not strict are left is no theorem of the paper. The lazy methods "
            "reach strict policies exactly, so closeness may be small. It tells pure ones with a copy of an action "
            "apart: nothing pulls runs out of the mixtures of the two, so that with exact gradients only those come "
            "back that began so near, while with REINFORCE errors carry some to the corner. Chosen after trials: "
            "closeness (0.1 counted most of these as back), steps in units of the largest reward, and m = 5000 (with "
            "gamma = 0.3 and m = 1000 returns of up to 4 threw 4% to 20% of the runs out, which are to be kept by "
            "small steps). The eager method with errors is never exactly there: after 2,000 iterations 80% of the "
            "runs were so near in the worst game, so that it has 4,000 here; with REINFORCE it is left out, for it "
            "comes back as slowly as `pg-rate` says. Equilibria with a copy were split from the mixed ones, with a "
            "bound of their own, after they had been undecided under the same one."
        )
        return Study([*claims, *more], [Chart("attraction", panels)], [*rows, *basin_rows], notes)


def cases_of(scale: Scale) -> list[Case]:
    """Strict ones first."""
    game, few = meeting_places(), scale == "quick"
    both = [(1, 1), (1, 2)] if few else [(1, 1), (1, 2), (2, 2)]
    other = [(3, 3), (1, 3)] if few else [(3, 3), (1, 3), (2, 3)]
    strict = [Case(f"meeting places {pair}", game, meeting(*pair), "strict") for pair in both]
    rest = [Case(f"meeting places {pair}", game, meeting(*pair), "mixed") for pair in other]
    sizes: list[dict[str, Any]] = [{"state_count": 2, "action_count": 2}]
    if not few:
        sizes += [{"state_count": 3, "action_count": 3}, {"state_count": 2, "action_count": 2, "player_count": 3}]
    for kind in KINDS:
        for size in sizes:
            for seed in range(1 if few else 2):
                made = Constructed(built=kind, seed=seed, margin=0.5, **size)
                shape = f"S = {size['state_count']}, A = {size['action_count']}, N = {size.get('player_count', 2)}"
                case = Case(f"{kind} {seed} ({shape})", made, made.equilibrium, KINDS[kind])
                (strict if case.strict else rest).append(case)
    return [*strict, *rest]


def meeting_places(first: float = 2.0) -> StochasticGame:
    """Two states, in each of which players want to do the same; play stops with a chance of a half."""
    paid = torch.tensor([[first, 0.0], [0.0, 1.0]], dtype=torch.float64).expand(2, 2, 2, 2)
    law = torch.tensor([[0.3, 0.2], [0.1, 0.4]], dtype=torch.float64)[:, None, None, :].expand(2, 2, 2, 2)
    return StochasticGame(paid, law)


def meeting(*played: int, first: float = 2.0) -> Policy:
    """What is played in each state: 1, 2, or 3 for the mixture that makes both actions worth the same."""
    p = 1 / (1 + first)
    rows = [[[1.0, 0.0], [0.0, 1.0], [p, 1 - p]][choice - 1] for choice in played]
    policy = torch.tensor(rows, dtype=torch.float64)
    return policy, policy


def learners_of(scale: Scale) -> list[str]:
    return [name for name in LEARNERS if scale == "full" or name != "noisy-eager"]


def runs_of(learner: str, scale: Scale) -> int:
    return 100 if scale == "quick" or learner == "noisy-eager" else 300


def length_of(learner: str, scale: Scale) -> int:
    lengths = {"exact": (200, 1000), "exact-eager": (200, 1000), "noisy-eager": (200, 4000)}.get(
        learner, (20_000, 100_000)
    )
    return lengths[0] if scale == "quick" else lengths[1]


def around(policy: Policy, count: int, seed: int) -> Policy:
    """Policies [b, s, a] at the radius from one policy, or nearly as far as it goes there."""
    rows = tuple(row for x in policy for row in x)
    points = iter(sphere(rows, RADIUS, count, Stream(seed, iteration=STARTS)))
    return tuple(torch.stack([next(points) for _ in x], 1) for x in policy)


def begin_near(case: Case, learner: str, scale: Scale, seed: int) -> Found:
    runs, T = runs_of(learner, scale), length_of(learner, scale)
    result = solve(
        case.game,
        Watched(learner_of(learner, case.game), case.policy),
        iterations=T,
        every=T,
        seeds=runs,
        seed=seed,
        start=around(case.policy, runs, seed),
    )
    near = result.state.farthest <= WITHIN
    back = near & (distance(result.policy, case.policy) <= CLOSENESS)
    return Found(Probability(int(near.sum()), runs), Probability(int(back.sum()), runs))


def judge(cases: list[Case], found: dict[tuple[str, str], Found], learner: str, kind: Kind) -> Claim:
    """The worst equilibrium decides."""
    kept, bound = {c.name: found[c.name, learner].converges for c in cases if c.kind == kind}, BOUNDS[kind]
    if kind == "strict":
        name, worst = min(kept.items(), key=lambda item: item[1].interval[0])
        words = f"{learner}: runs stay at and converge to every strict policy with probability at least {bound}"
        return at_least(f"strict-{learner}", f"{words} (least: {name})", worst.value, bound, worst.interval)
    name, worst = max(kept.items(), key=lambda item: item[1].interval[1])
    which = "mixed equilibrium" if kind == "mixed" else "pure equilibrium with a copy of an action"
    words = f"{learner}: runs stay at and converge to no {which} with a probability above {bound} (most: {name})"
    return at_most(f"{kind}-{learner}", words, worst.value, bound, worst.interval)


def row(case: Case, verdict: str, learner: str, one: Found) -> dict[str, object]:
    return {
        "what": case.name,
        "verdict": verdict,
        "learner": learner,
        "runs": one.converges.runs,
        "stays": one.stays.value,
        "converges": one.converges.value,
        "low": one.converges.interval[0],
        "high": one.converges.interval[1],
    }


def near_panel(cases: list[Case], found: dict[tuple[str, str], Found], scale: Scale) -> Panel:
    curves = list[Curve]()
    for learner in learners_of(scale):
        each = [found[case.name, learner].converges for case in cases]
        low, high = ([p.interval[k] for p in each] for k in (0, 1))
        curves.append(Curve(learner, [k + 1.0 for k in range(len(cases))], [p.value for p in each], low, high,
                            dots=True))  # fmt: skip
    title = f"1 to {sum(case.strict for case in cases)}: strict; the rest are not"
    return Panel(title, "equilibrium", "P(stays and converges)", curves, log_y=False)


def basins(scale: Scale, say: Callable[[str], None]) -> tuple[list[Claim], Panel, list[dict[str, object]]]:
    """Where lazy REINFORCE ends from random policies in meeting places, and how that moves with what (1, 1) pays."""
    runs = 400 if scale == "quick" else 2000
    claims, rows, shares = list[Claim](), list[dict[str, object]](), dict[float, list[Probability]]()
    for first in PAYOFFS[::2] if scale == "quick" else PAYOFFS:
        ends = random_ends(first, runs, length_of("reinforce", scale))
        counts = torch.bincount(ends + 1, minlength=10).tolist()
        strict = sum(counts[1 + k] for k in range(9) if MIXED - 1 not in divmod(k, 3))
        nowhere, other = counts[0], runs - strict - counts[0]
        in_first = [torch.where(ends < 0, -1, place) for place in (ends // 3, ends % 3)]
        both = torch.stack(in_first)
        shares[first] = [Probability(int((both[0] == k).sum()), runs) for k in range(3)]
        for k, count in enumerate(counts[1:]):
            share = Probability(count, runs)
            rows.append({
                "what": f"basin of {tuple(j + 1 for j in divmod(k, 3))}, (1, 1) pays {first:g}",
                "verdict": "" if MIXED - 1 in divmod(k, 3) else "strict", "learner": "reinforce", "runs": runs,
                "stays": None, "converges": share.value, "low": share.interval[0], "high": share.interval[1],
            })  # fmt: skip
        say(f"  random policies, (1, 1) pays {first:g}: strict {strict}, other {other}, nowhere {nowhere} of {runs}")
        if first != 2.0:
            continue
        there, rest = Probability(strict, runs), Probability(other + nowhere, runs)
        words = "meeting places from random policies: runs end at a strict policy with probability at least 0.9"
        claims.append(at_least("basin-strict", words, there.value, 0.9, there.interval))
        words = "meeting places from random policies: runs end elsewhere with a probability of at most 0.1"
        claims.append(at_most("basin-other", words, rest.value, 0.1, rest.interval))
        one = shares[first][0]
        words = "meeting places: in the first state more runs end at (1, 1), which pays 2, than at (2, 2), which pays 1"
        claims.append(at_least("basin-larger", words, one.value, 0.5, one.interval))
    names = ["(1, 1)", "(2, 2)", "mixed"]
    curves = list[Curve]()
    for k, name in enumerate(names):
        low, high = ([found[k].interval[side] for found in shares.values()] for side in (0, 1))
        curves.append(Curve(name, list(shares), [found[k].value for found in shares.values()], low, high, dots=True))
    panel = Panel("From random policies", "what (1, 1) pays", "share that ends there, first state", curves, log_y=False)
    return claims, panel, rows


def random_ends(first: float, runs: int, T: int) -> Tensor:
    """Which of the nine equilibria runs end at, [seed]: 3 j + k where the states play j and k, from 0; -1 for none."""
    game = meeting_places(first)
    draws = -Stream(0, iteration=STARTS).uniform((runs, 2, 2, 2)).log()
    start = (draws / draws.sum(-1, keepdim=True)).unbind(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        end = solve(game, learner_of("reinforce", game), iterations=T, every=T, seeds=runs, start=start).policy
    apart = torch.stack([distance(end, meeting(1 + k // 3, 1 + k % 3, first=first)) for k in range(9)])
    nearest = apart.min(0)
    return torch.where(nearest.values <= CLOSENESS, nearest.indices, -1)
