"""An actor that learns to reach any goal from what happened: fitted values, every transition relabelled with all goals.

Experience is transitions (s_i, a_i, s_i') of random moves from random cells. In hindsight it is experience of every
goal g at once (Kaelbling, "Learning to achieve goals", IJCAI 1993; Andrychowicz et al., "Hindsight experience replay",
NeurIPS 2017): with n(s, a) how often a was tried in s, each sweep makes

    Q_g(s, a) <- 1/n(s, a) sum_{i: s_i = s, a_i = a} [ 1{s_i' = g} + discount max_a' Q_g(s_i', a') ]

and leaves at 0 what was never tried. The policy is the first best action. It errs as far as experience does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.parameters import Count, convert
from gamesim.randomness import Stream
from gamesim.simplex import drawn


@dataclass(frozen=True)
class Experience:
    """Transitions, [..., i] each: leading dimensions are seeds."""

    state: Tensor
    action: Tensor
    after: Tensor


def experienced(kernel: Tensor, count: int, seed: int | Sequence[int] = 0) -> Experience:
    """So many transitions of kernel[a, s, t] from random states by random actions; a batch for several seeds."""
    convert(count, Count, "samples")
    luck = Stream(seed)
    front = () if isinstance(seed, int) else (len(seed),)
    u = luck.uniform((*front, count, 3))
    actions, states, _ = kernel.shape
    state, action = (u[..., 0] * states).long(), (u[..., 1] * actions).long()
    return Experience(state, action, drawn(kernel[action, state], u[..., 2]))


def learned_actor(
    past: Experience, goals: Tensor, states: int, actions: int, discount: float = 0.95, sweeps: int = 300
) -> Tensor:
    """pi_g(a | s) of fitted values for goals[g], [..., g, s, a]."""
    if past.state.shape[-1] == 0:
        raise refuse("experience", "no transition", "at least one")
    front = past.state.shape[:-1]
    pair = past.state * actions + past.action
    tried = torch.zeros(*front, states * actions, dtype=torch.float64, device=goals.device)
    tried = tried.scatter_add(-1, pair, torch.ones_like(pair, dtype=tried.dtype))
    place = pair.unsqueeze(-2).expand(*front, len(goals), -1)
    reached = past.after.unsqueeze(-2).expand_as(place)
    paid = (reached == goals[:, None]).to(tried)
    q = torch.zeros(*front, len(goals), states * actions, dtype=tried.dtype, device=goals.device)
    for _ in range(sweeps):
        best = q.unflatten(-1, (states, actions)).amax(-1)
        target = paid + discount * best.gather(-1, reached)
        q = torch.zeros_like(q).scatter_add(-1, place, target) / tried.clamp(min=1).unsqueeze(-2)
    q = q.unflatten(-1, (states, actions))
    return torch.nn.functional.one_hot(q.argmax(-1), actions).to(q)
