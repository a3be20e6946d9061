"""What the data do not tell: sentences for the person who reads an estimate."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.estimation.blocks import Blocks
from gamesim.estimation.counts import Counts
from gamesim.estimation.exploration import difference, exploration
from gamesim.estimation.intervals import Information
from gamesim.estimation.projection import Found
from gamesim.estimation.responses import Regressed
from gamesim.estimation.seating import Seated
from gamesim.estimation.shapes import Shape

ILL = 1e6
"""Condition number from which a regression is said to be ill-conditioned."""
SLACK = 1e-6
"""How far outside the simplex an estimated law may be without being counted as repaired."""
MOVED = 4.0
"""Variance of the aggregate, in units of that of its sampling error, from which a direction counts as explored."""
APART = 1.1
"""The same for the difference between agents, from which the graphon shows in more than its degrees."""
KNOWN = 0.3
"""Share of the prior's deviation above which a number counts as not identified."""
TOGETHER = 0.99
"""Correlation from which two numbers are said to be known only together."""


@dataclass(frozen=True)
class Evidence:
    """All that a judgement looks at."""

    data: AgentData
    counts: Counts
    """Of single agents."""
    asked: Shape
    """The graphon that was to be found; `found` may have fewer blocks."""
    where: str
    found: Seated
    information: Information
    bootstrap: bool
    """Whether intervals are those of the bootstrap."""
    condition: Tensor | None
    """Of the regression of each (s, a)."""

    @property
    def best(self) -> Found:
        return self.found.best

    def warnings(self) -> tuple[str, ...]:
        """A sentence each; none when there is nothing to be said."""
        found = [*self.data.notes]
        for judge in (
            unseen, repaired, unmoved, alike, ill_conditioned, unknown_numbers, unsure_intervals, unfinished,
            lost_blocks, few_ranks, different_starts,
        ):  # fmt: skip
            found += judge(self)
        return tuple(found)


def unseen(e: Evidence) -> list[str]:
    """Pairs of a state and an action without data."""
    visits = e.counts.visits.sum((0, 1))
    missing = [(s, a) for s, a in (visits == 0).nonzero().tolist()]
    if not missing or not isinstance(e.best.response, Regressed):
        return []
    words = ", ".join(f"({_state(e, s)}, {_action(e, a)})" for s, a in missing[:5])
    return [
        f"{len(missing)} of {visits.numel()} pairs (state, action) were never seen, as {words}: there the next state "
        "is taken to be any one alike, and the reward 0"
    ]


def repaired(e: Evidence) -> list[str]:
    """Rows of P that are no law at the aggregates that were felt; the game puts each on the nearest law."""
    with torch.no_grad():
        P = e.best.response.transition(0, e.best.z)
    outside = (-P).amax(-1)  # where a row sums to one, it leaves the simplex by an entry below 0
    seen = (e.best.seen.visits.sum(-3, keepdim=True) > 0).expand_as(outside)
    bad = int(((outside > SLACK) & seen).sum())
    if not bad:
        return []
    return [
        f"{bad} of {int(seen.sum())} estimated laws were no distributions (a probability down to "
        f"{-float(outside[seen].max()):.2g}) and were replaced by the nearest ones"
    ]


def unmoved(e: Evidence) -> list[str]:
    """Directions in which the aggregate varies no more than its sampling error."""
    if not isinstance(e.best.response, Regressed):
        return []
    explored = exploration(e.found.problem, e.found.sample, e.best)
    still = int((explored < MOVED).sum())
    if not still:
        return []
    all_of = f"all {still}" if still == len(explored) else f"{still} of {len(explored)}"
    return [
        f"the behaviour kept the population nearly the same: in {all_of} directions the aggregate varied no more than "
        "its sampling error, so the response to these is not identified; sample under a policy that moves the "
        "population, or assume a game's equations as the law"
    ]


def alike(e: Evidence) -> list[str]:
    """Agents whose laws of states do not differ: all that is felt then is a multiple of one population."""
    if e.found.problem.shape.told_by_degree or difference(e.found.sample) > APART:
        return []
    return [
        "agents were in the same states alike wherever they sit, within sampling error, so the data tell the degrees "
        "of the graphon and hardly more; sample under a policy that differs between positions"
    ]


def ill_conditioned(e: Evidence) -> list[str]:
    """Regressions whose features nearly coincide."""
    if e.condition is None or unmoved(e):  # which says why
        return []
    bad = e.condition.isfinite() & (e.condition > ILL)
    if not bool(bad.any()):
        return []
    s, a = divmod(int(torch.where(bad, e.condition, 0.0).argmax()), e.condition.shape[-1])
    return [
        f"{int(bad.sum())} regressions are ill-conditioned (the worst, of {_state(e, s)} and {_action(e, a)}: "
        f"condition number {float(e.condition[s, a]):.1e}): the aggregates that were felt vary too little to tell the "
        "features apart"
    ]


def unknown_numbers(e: Evidence) -> list[str]:
    """Parameters of which the data say hardly more than the weak prior does, and pairs that are known together."""
    found, names, error = list[str](), e.information.names, e.information.error
    loose = error > KNOWN * e.information.before
    for i in range(len(names)):
        if bool(loose[i]) and float(error[i]) > 0:
            found.append(f"{names[i]} is not identified by these data")
    scaled = torch.where(error > 0, error, 1.0)
    correlation = (e.information.covariance / scaled[:, None] / scaled).abs().triu(1)
    for i, j in (correlation > TOGETHER).nonzero().tolist():
        if not bool(loose[i] & loose[j]):
            pair = f"{names[i]} and {names[j]}"
            found.append(f"{pair} are known together far better than one by one (correlation {correlation[i, j]:.3f})")
    return found


def unsure_intervals(e: Evidence) -> list[str]:
    """Intervals from the curvature where rewards depend on the aggregate."""
    if e.bootstrap or not e.found.problem.moving or not e.best.seen.rewards_tell:
        return []
    return ["rewards depend on the aggregate, so intervals from the curvature are too narrow: ask for bootstrap ones"]


def unfinished(e: Evidence) -> list[str]:
    if e.best.converged:
        return []
    return ["the search for the graphon stopped before it had converged: more restarts may help"]


def lost_blocks(e: Evidence) -> list[str]:
    asked, found = e.asked, e.found.problem.shape
    if not isinstance(asked, Blocks) or not isinstance(found, Blocks) or asked.count == found.count:
        return []
    return [f"agents were found in {found.count} of {asked.count} blocks only"]


def few_ranks(e: Evidence) -> list[str]:
    if e.where != "sorted" or e.data.agents >= 10:
        return []
    return [f"positions are ranks of {e.data.agents} agents: at best {1 / e.data.agents:.2g} apart"]


def different_starts(e: Evidence) -> list[str]:
    """The estimated game lets every position begin alike; said where the agents plainly do not."""
    from scipy.stats import chi2

    first = e.data.initial * e.data.episodes
    pooled = first.mean(0, keepdim=True)
    kept = pooled[0] > 0
    statistic = float(((first - pooled) ** 2 / pooled.clamp(min=1e-300))[:, kept].sum())
    freedom = (e.data.agents - 1) * (int(kept.sum()) - 1)
    if freedom < 1 or float(chi2.sf(statistic, freedom)) > 1e-6:
        return []
    return ["agents begin in different laws of states; the estimated game lets all begin in their mean"]


def _state(e: Evidence, index: int) -> str:
    return e.data.state_names[index] if e.data.state_names else str(index)


def _action(e: Evidence, index: int) -> str:
    return e.data.action_names[index] if e.data.action_names else str(index)
