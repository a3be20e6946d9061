"""What actors and critics of temporal differences share: targets, limits, and policies that have no noise.

y = clip(r + discount (1 - end) f(S'), V_min, V_max)
"""

from torch import Tensor

from gamesim.games.recorded import Batch, Recorded
from gamesim.networks.heads import Categorical, Head
from gamesim.randomness import Stream

FRESH = 3.0
"""What networks that nobody taught anything say at most, in units of `reward_scale`."""


def target_of(task: Recorded, batch: Batch, following: Tensor) -> Tensor:
    """y, [..., b], from values of what follows."""
    return (batch.rewards + task.discount * (1 - batch.terminated) * following).clamp(*task.bounds)


def beside(number: float | Tensor, dims: int) -> float | Tensor:
    """A batch of hyper-parameters, [..., 1] as `solve` hands them over, against so many dimensions behind the run's."""
    return number.reshape(*number.shape[:-1], *[1] * dims) if isinstance(number, Tensor) and number.dim() else number


def runaway(task: Recorded, advice: str) -> dict[str, tuple[float, str]]:
    """The limits of an algorithm with critics: three times the largest value there can be, or a fresh network's."""
    most = max(*map(abs, task.bounds), FRESH)
    return {"value": (3 * task.reward_scale * most, f"the critics run away: {advice}")}


def decided(head: Head, out: Tensor, generator: Stream) -> Tensor:
    """Actions of policies without noise of their own, [..., agent, size]: the likeliest force, a move as drawn."""
    return head.sample(out, generator)[0] if isinstance(head, Categorical) else head.mode(out)


def distance(head: Head, out: Tensor, actions: Tensor) -> Tensor:
    """How far such a policy is from actions, [..., agent]: -log pi of a move, the mean square to a force."""
    if isinstance(head, Categorical):
        return -head.log_prob(out, actions)
    return (head.mode(out) - actions).square().mean(-1)
