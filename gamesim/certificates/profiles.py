"""Profiles of a normal-form game: as actions, names or policies, and random ones near by."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Annotated, Any

import torch

from gamesim.errors import refuse
from gamesim.games import NormalFormGame, Policy
from gamesim.games.game import require_policy
from gamesim.parameters import Bounds
from gamesim.randomness import Stream

Radius = Annotated[float, Bounds("a distance above 0 and at most 1", 0, 1, low_open=True)]
INSIDE = 0.999
"""How far of the way to the boundary of the simplex a run may begin: on it scores are infinite."""


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
