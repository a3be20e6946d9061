"""Episodes of a tabular game, thousands in a batch.

At step k one draw of n + 2 numbers an episode decides everything: who plays which action, the next state, and, before
the first step, where it begins. The draws are the same for every game and hyper-parameter of a batch (common random
numbers) and differ by seed.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.episodic import Episodes, require_room
from gamesim.games.game import Policy
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

if TYPE_CHECKING:
    from gamesim.games.stochastic import TabularGame


MANY = 10**7
"""Steps that are played without a look at how many they will be."""
LONGEST = 10**5
"""Steps of an episode in the mean, at most: each is a step of Python here."""


def mean_length(game: "TabularGame", policy: Policy) -> float:
    """Steps of an episode under the mean of a batch of policies, about."""
    front = policy[0].dim() - 2 - len(game.batch)
    mean = tuple(x.flatten(0, front - 1).mean(0) if front > 0 else x for x in policy)
    return float(game.occupancy(mean).sum(-1).mean())


def require_end(steps: float, most: int) -> None:
    """Refuse to wait for the end of episodes of so many steps in the mean."""
    if steps > most:
        wanted = f"at most {most:,}: a lower discount, or transitions that stop more often"
        raise refuse("discount", f"one with which an episode takes {steps:,.0f} steps in the mean", wanted)


def play_episodes(game: "TabularGame", policy: Policy, episodes: int, generator: Stream) -> Episodes:
    """So many episodes m under policies [..., s, a], for each element of their batch."""
    counts = game.action_counts
    n, states = len(counts), game.state_count
    batch = broadcast_shapes(game.batch, *(x.shape[:-2] for x in policy))
    require_room(batch, episodes, n, 1)
    if (most := 1 / float(game.stopping.min())) * math.prod(batch) * episodes > MANY or most > LONGEST:
        steps = mean_length(game, policy)
        require_end(steps, LONGEST)
        require_room(batch, episodes, n, steps)
    luck = (*generator.alike(batch), episodes, n + 2)
    below = [x.cumsum(-1)[..., :-1].expand(*batch, states, count - 1) for x, count in zip(policy, counts, strict=True)]
    begin = game.initial.cumsum(-1)[..., :-1].expand(*batch, states - 1)
    paid = game.reward.flatten(-1 - n).expand(*batch, n, states * game.joint_count)

    generator = generator.aside()  # the longest episode of a batch decides how often is drawn

    def drawn() -> Tensor:
        return generator.quick(luck, policy[0].dtype, policy[0].device).expand(*batch, episodes, n + 2)

    u = drawn()
    state = (begin.unsqueeze(-2) <= u[..., n + 1 :]).sum(-1)
    alive = torch.ones_like(state, dtype=torch.bool)
    seen, played, rewards, living = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
    while True:
        chosen = [(_rows(x, state) <= u[..., i : i + 1]).sum(-1) for i, x in enumerate(below)]
        joint = chosen[0]
        for action, count in zip(chosen[1:], counts[1:], strict=True):
            joint = joint * count + action
        place = (state * game.joint_count + joint).unsqueeze(-2).expand(*batch, n, episodes)
        reward = paid.gather(-1, place).mT
        seen.append(torch.where(alive, state, 0))
        played.append(torch.where(alive[..., None], torch.stack(chosen, -1), 0))
        rewards.append(torch.where(alive[..., None], reward, 0.0))
        living.append(alive)
        after = game.law.draw(u[..., n], state, joint)
        alive = alive & (after < states)
        require_room(batch, episodes, n, len(seen))
        if not bool(alive.any()):
            break
        state = torch.where(alive, after, 0)
        u = drawn()
    return Episodes(
        torch.stack(seen, -1)[..., None].expand(*batch, episodes, len(seen), n),
        torch.stack(played, -2),
        torch.stack(rewards, -2),
        torch.stack(living, -1),
    )


def _rows(table: Tensor, state: Tensor) -> Tensor:
    """table[..., s, x] at states[..., m]: [..., m, x]."""
    return table.gather(-2, state[..., None].expand(*state.shape, table.shape[-1]))
