"""Episodes of one world, [e, h, ...], as transitions of sets."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gamesim.data.headers import Header
from gamesim.data.sets import SetData
from gamesim.errors import refuse


def from_episodes(
    tokens: Tensor,
    actions: Tensor,
    rewards: Tensor,
    types: Tensor | Sequence[int],
    *,
    header: Header,
    seed: Tensor | Sequence[int],
    behaviour: Tensor | Sequence[int] | int = 0,
    world: int = 0,
    lengths: Tensor | None = None,
    terminated: Tensor | None = None,
) -> SetData:
    """Transitions of episodes: tokens [e, h + 1, entity, d], actions [e, h, n(, size)], rewards [e, h, n].

    types [entity] are the kinds of the entities; `lengths` [e] the steps of each episode where they are not all h;
    `terminated` [e] which of them ended by themselves, none if left out: the others were cut off.
    """
    if tokens.dim() != 4 or rewards.dim() != 3 or 0 in rewards.shape:
        shapes = f"shapes {list(tokens.shape)} and {list(rewards.shape)}"
        raise refuse("tokens and rewards", shapes, "[e, h + 1, entity, d] and [e, h, n], at least one of each")
    (many, states, entities, d), (_, steps, n) = tokens.shape, rewards.shape
    if rewards.shape[0] != many or states != steps + 1 or actions.shape[:3] != rewards.shape:
        shapes = f"tokens {list(tokens.shape)}, actions {list(actions.shape)}, rewards {list(rewards.shape)}"
        raise refuse("shapes", shapes, "[e, h + 1, entity, d], [e, h, n(, size)] and [e, h, n]")
    device = tokens.device
    kinds = torch.as_tensor(types, dtype=torch.uint8, device=device)
    if kinds.shape != (entities,):
        raise refuse("types", f"shape {list(kinds.shape)}", f"[{entities}], a kind for each entity")
    k = torch.arange(many * steps, device=device)
    episode, time = k // steps, k % steps
    before = k + episode
    length = torch.full((many,), steps, device=device) if lengths is None else lengths.to(device, torch.int64)
    if length.shape != (many,) or bool(((length < 1) | (length > steps)).any()):
        raise refuse("lengths", length.tolist()[:8], f"[{many}] whole numbers from 1 to {steps}")
    ends = time == length[episode] - 1
    ended = torch.zeros(many, dtype=torch.bool) if terminated is None else terminated
    over = ends & ended.to(device, torch.bool)[episode]
    tokens = tokens.reshape(-1, d)
    actions, rewards = actions.reshape(many * steps, n, *actions.shape[3:]), rewards.reshape(-1, n)
    count = many * states
    if lengths is not None and bool((length < steps).any()):
        kept = time < length[episode]
        stays = (torch.arange(states, device=device) <= length[:, None]).flatten()
        place = stays.cumsum(0) - 1
        tokens = tokens.view(-1, entities, d)[stays].reshape(-1, d)
        actions, rewards, count = actions[kept], rewards[kept], int(stays.sum())
        before = place[before[kept]]
        episode, time, ends, over = episode[kept], time[kept], ends[kept], over[kept]
    return SetData(
        tokens=tokens,
        types=kinds.repeat(count),
        offsets=torch.arange(count + 1, device=device) * entities,
        before=before,
        after=before + 1,
        agents=torch.full_like(before, n),
        actions=actions.flatten(0, 1),
        rewards=rewards.flatten(),
        terminated=over,
        truncated=ends & ~over,
        episode=episode,
        time=time,
        seed=torch.as_tensor(seed, dtype=torch.int64),
        behaviour=torch.full((many,), behaviour) if isinstance(behaviour, int) else torch.as_tensor(behaviour),
        world=torch.full((many,), world),
        header=header,
    )
