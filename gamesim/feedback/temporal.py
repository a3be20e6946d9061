"""Temporal differences: tables of values moved along the transitions of episodes.

A visit of a pair p = (s, a) that paid r and led to s' moves the pair's value by a share of what it was wrong by,

    Q(p) <- Q(p) + alpha (r + discount V(s') - Q(p)),    V(s') = 0 where the episode came to an end of its own

Visits of an iteration count one after the other, episode after episode, each with its own alpha, while V is that of the
iteration's beginning. So every alpha is known before its transition is drawn, which is what stochastic approximation
asks; that V lags by an iteration is allowed (Tsitsiklis, "Asynchronous stochastic approximation and Q-learning",
Machine Learning 16, 1994). A step towards the mean over the visits of an iteration would go wrong, however small: how
many visits there are depends on where they led. For a state that pays 1 and is left with chance 1/3 the mean of
r + V(s') over an episode's visits leads to Q = 2 / ln 3 = 1.82 in place of 3.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamesim.errors import refuse
from gamesim.feedback.oracle import unbiased_cautions
from gamesim.games import Episodes, EpisodicGame, Policy
from gamesim.games.simulator import Simulator
from gamesim.parameters import Bounds
from gamesim.randomness import Stream
from gamesim.schedules import Geometric, Schedule

Clock = Literal["visits", "iterations"]
"""What the t of a step size counts: earlier visits of the pair, or iterations."""
UpTo1 = Annotated[Schedule, Bounds("a number or schedule from 0 to 1", 0, 1)]
Finite = Annotated[float, Bounds("a finite number")]
Alpha = Callable[[Tensor], Tensor | float]
"""Earlier visits of a place -> the step size of the next, of the same shape or one number for all."""
BLOCK = 64
"""Steps are rounded up to so many: torch rounds powers differently at the odd end of an array."""


class Played(NamedTuple):
    """Episodes, and how they ended."""

    episodes: Episodes
    cut: Tensor | None
    """Whether an episode was cut off though it would have gone on, [..., m]; none ever was where there is nothing."""
    end: Tensor | None
    """What everyone saw when it was, [..., m, player]."""


def play_out(game: EpisodicGame, policy: Policy, episodes: int, generator: Stream) -> Played:
    """So many episodes, with the ends that a simulator tells of; those of tabular games are never cut off."""
    if isinstance(game, Simulator):
        return Played(*game.play_out(policy, episodes, generator))
    return Played(game.rollout(policy, episodes, generator), None, None)


def following(
    values: Tensor, observed: Tensor, alive: Tensor, cut: Tensor | None = None, end: Tensor | None = None
) -> Tensor:
    """V of what is observed next, [..., m, time]: values[..., s], observed[..., m, time], cut and end[..., m].

    After the last step it is 0, or V of the end where an episode was cut off.
    """
    after, goes_on = observed.roll(-1, -1), alive.roll(-1, -1)
    goes_on[..., -1] = False
    if cut is not None and end is not None:
        last = alive & ~goes_on
        after, goes_on = torch.where(last, end[..., None], after), goes_on | (last & cut[..., None])
    flat = after.flatten(-2)
    known = values.expand(*flat.shape[:-1], values.shape[-1]).gather(-1, flat)
    return torch.where(goes_on, known.reshape(after.shape), 0.0)


def shares(step_size: Schedule, clock: Clock, t: int) -> Alpha:
    """The step sizes of visits, by how many came before or, for all alike, by the iteration."""
    at: Any = step_size if clock == "visits" else lambda _: step_size(t)

    def alpha(before: Tensor) -> Tensor | float:
        found: Tensor | float = at(before[..., None])  # batches of parameters have two dimensions for s and a
        return found[..., 0] if isinstance(found, Tensor) and found.dim() else found

    return alpha


def visited(
    table: Tensor, counts: Tensor, place: Tensor, target: Tensor, alive: Tensor, alpha: Alpha
) -> tuple[Tensor, Tensor]:
    """A table[..., p] and how often each of its places was visited, after every step moved its place[..., m, time].

    target[..., m, time] is r + discount V(s'); what was not alive moves nothing.
    """
    size, batch = table.shape[-1], place.shape[:-2]
    key = torch.where(alive, place, size).flatten(-2)
    more = -key.shape[-1] % BLOCK
    key, order = pad(key, (0, more), value=size).sort(dim=-1, stable=True)
    target = pad(target.flatten(-2), (0, more)).gather(-1, order)
    table, counts = (pad(x.expand(*batch, size), (0, 1)) for x in (table, counts))

    index = torch.arange(key.shape[-1], device=key.device)
    new = torch.ones_like(key, dtype=torch.bool)
    new[..., 1:] = key[..., 1:] != key[..., :-1]
    rank = torch.where(key < size, index - torch.where(new, index, 0).cummax(-1).values, 0)
    share = torch.as_tensor(alpha((counts.gather(-1, key) + rank).to(table)), dtype=target.dtype, device=target.device)

    # a visit maps Q to keep * Q + gain; visits of one place are composed in windows of 1, 2, 4, ...
    keep, gain = (1 - share).expand_as(target), share * target
    reach, longest = 1, int(rank.max())
    while reach <= longest:
        joined = rank >= reach
        gain = torch.where(joined, keep * gain.roll(reach, -1) + gain, gain)
        keep = torch.where(joined, keep * keep.roll(reach, -1), keep)
        reach *= 2
    last = torch.where(new.roll(-1, -1).index_fill(-1, index[-1:], True), key, size)
    moved = table.scatter(-1, last, keep * table.gather(-1, key) + gain)
    return moved[..., :size], counts.scatter_add(-1, key, torch.ones_like(key))[..., :size]


def step_cautions(step_size: Schedule) -> list[str]:
    """Where step sizes leave what stochastic approximation asks: a sum that is infinite, of squares that is finite."""
    if step_size.decay > 1:
        wanted = "take an exponent of at most 1"
        return [f"step_size: {step_size} sums to a finite number, so values stop before they are right; {wanted}"]
    return unbiased_cautions(step_size)


def require_countable(step_size: Schedule, clock: Clock) -> None:
    """Refuse a schedule that cannot be asked for many visits at once."""
    if clock == "visits" and isinstance(step_size, Geometric):
        raise refuse("step_size", step_size, "power(...) or a number with clock=visits; geometric takes iterations")
