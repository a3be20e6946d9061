"""What the data do not tell: sentences for the person who reads an estimate."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.estimation.counts import Counts
from gamesim.estimation.laws import Regressed, Response
from gamesim.estimation.projection import Found, Problem, Sample
from gamesim.estimation.search import curvature
from gamesim.estimation.shapes import WIDE

ILL = 1e6
"""Condition number from which a regression is said to be ill-conditioned."""
SLACK = 1e-6
"""How far outside the simplex an estimated law may be without being counted as repaired."""


@dataclass(frozen=True)
class Information:
    """What the likelihood says of the named numbers: covariance[q, q] after the data, spread[q] of the prior alone."""

    names: tuple[str, ...]
    value: Tensor
    covariance: Tensor
    before: Tensor

    @property
    def error(self) -> Tensor:
        """Standard errors, [q]."""
        return self.covariance.diagonal().clamp(min=0).sqrt()

    @classmethod
    def of(cls, problem: Problem, sample: Sample, best: Found, scale: float = 1.0) -> "Information":
        """From the curvature at the estimate, carried from the free numbers to the natural ones by their slope."""
        names = problem.names
        if not names:
            none = torch.zeros(0, dtype=torch.float64)
            return cls((), none, none[:, None], none)
        hessian = curvature(problem.objective(sample, best.weights, best.response), best.free)[0]
        slope = torch.autograd.functional.jacobian(lambda free: problem.natural(free, scale), best.free[0])
        value, vector = torch.linalg.eigh(hessian)  # a likelihood with a kink there may curve the wrong way
        inverse = vector @ (vector.mT / value.abs().clamp(min=0.1 / WIDE**2)[:, None])
        covariance = slope @ inverse @ slope.mT
        before = (slope @ slope.mT).diagonal().sqrt() * WIDE
        return cls(names, problem.natural(best.free[0], scale).detach(), covariance, before)


def judge(
    data: AgentData,
    counts: Counts,
    problem: Problem,
    best: Found,
    response: Response,
    information: Information,
    where: str,
) -> list[str]:
    """Warnings, a sentence each; none when there is nothing to be said."""
    found = [*data.notes]
    found += unseen(data, counts)
    found += repaired(best, response)
    found += ill_conditioned(data, response)
    found += unknown_numbers(problem, information)
    if not bool(best.converged.all()):
        found.append("the search for the graphon stopped before it had converged: more restarts may help")
    if where == "sorted" and data.agents < 10:
        found.append(f"positions are ranks of {data.agents} agents: at best {1 / data.agents:.2g} apart")
    found += different_starts(data)
    return found


def unseen(data: AgentData, counts: Counts) -> list[str]:
    visits = counts.visits.sum((0, 1))
    missing = [(s, a) for s, a in (visits == 0).nonzero().tolist()]
    if not missing:
        return []
    words = ", ".join(f"({_name(data.state_names, s)}, {_name(data.action_names, a)})" for s, a in missing[:5])
    return [
        f"{len(missing)} of {visits.numel()} pairs (state, action) were never seen, as {words}: there the next state "
        "is taken to be any one alike, and the reward 0"
    ]


def repaired(best: Found, response: Response) -> list[str]:
    """Rows of P that are no law at the aggregates that were felt; the game puts each on the nearest law."""
    with torch.no_grad():
        P = response.transition(0, best.places.z)
    outside = (-P).clamp(min=0).amax(-1)
    bad = (outside > SLACK) & (best.places.visits.sum(-3, keepdim=True) > 0)
    if not bool(bad.any()):
        return []
    share = int(bad.sum()), bad.expand_as(outside).numel()
    return [
        f"{share[0]} of {share[1]} estimated laws were no distributions (a probability down to "
        f"{-float(outside.max()):.2g}) and were replaced by the nearest ones"
    ]


def ill_conditioned(data: AgentData, response: Response) -> list[str]:
    if not isinstance(response, Regressed):
        return []
    condition = response.condition.flatten(0, -3)[0]
    bad = condition.isfinite() & (condition > ILL)
    if not bool(bad.any()):
        return []
    s, a = divmod(int(torch.where(bad, condition, 0.0).argmax()), condition.shape[-1])
    return [
        f"{int(bad.sum())} regressions are ill-conditioned (the worst, of {_name(data.state_names, s)} and "
        f"{_name(data.action_names, a)}: condition number {float(condition[bad].max()):.1e}): the aggregates that were "
        "felt vary too little to tell the features apart"
    ]


def unknown_numbers(problem: Problem, information: Information) -> list[str]:
    """Parameters about which the data say hardly more than the weak prior does, and pairs that are known together."""
    jumps = getattr(getattr(problem.shape, "cls", None), "jumps", ())
    found, error = list[str](), information.error
    known = error > 1e-9
    for i, name in enumerate(information.names):
        if name not in jumps and bool(known[i]) and float(error[i]) > 0.3 * float(information.before[i]):
            found.append(f"{name} is not identified by these data")
    scaled = torch.where(known, error, 1.0)
    correlation = information.covariance / scaled[:, None] / scaled
    correlation = torch.where(known[:, None] & known, correlation, 0.0).abs().triu(1)
    for i, j in (correlation > 0.99).nonzero().tolist():
        pair = f"{information.names[i]} and {information.names[j]}"
        found.append(f"{pair} are known together far better than one by one (correlation {correlation[i, j]:.3f})")
    return found


def different_starts(data: AgentData) -> list[str]:
    """The estimated game lets every position begin alike; said where the agents plainly do not."""
    from scipy.stats import chi2

    first = data.initial * data.episodes
    pooled = first.mean(0, keepdim=True)
    kept = pooled[0] > 0
    statistic = float(((first - pooled) ** 2 / pooled.clamp(min=1e-300))[:, kept].sum())
    freedom = (data.agents - 1) * (int(kept.sum()) - 1)
    if freedom < 1 or float(chi2.sf(statistic, freedom)) > 1e-6:
        return []
    return ["agents begin in different laws of states; the estimated game lets all begin in their mean"]


def _name(names: tuple[str, ...], index: int) -> str:
    return names[index] if index < len(names) else str(index)
