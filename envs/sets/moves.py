"""Actions as people pass them: what is none is refused, with its place."""

from typing import Literal

import torch
from torch import Tensor

from gamesim.errors import refuse

Outside = Literal["clip", "refuse"]
"""What is done with numbers beyond their bounds."""


def whole_moves(actions: Tensor, agents: int, count: int) -> Tensor:
    """Moves [..., n], whole numbers from 0 to below `count`, as int64."""
    numbers = actions.is_floating_point() or actions.is_complex() or actions.dtype == torch.bool
    if actions.shape[-1:] != (agents,) or numbers:
        what = f"{actions.dtype} of shape {list(actions.shape)}"
        raise refuse("actions", what, f"moves [..., {agents}], whole numbers, one for each agent")
    wrong = (actions < 0) | (actions >= count)
    if bool(wrong.any()):
        at = wrong.nonzero()[0].tolist()
        wanted = f"a whole number from 0 to {count - 1}"
        raise refuse(f"actions[{', '.join(map(str, at))}]", int(actions[tuple(at)]), wanted)
    return actions.long()


def bounded_forces(actions: Tensor, agents: int, low: Tensor, outside: Outside) -> Tensor:
    """Forces [..., n, d] from low[d] to 1: cut off there, or refused; what is no number is refused."""
    if tuple(actions.shape[-2:]) != (agents, len(low)) or not actions.is_floating_point():
        what = f"{actions.dtype} of shape {list(actions.shape)}"
        raise refuse("actions", what, f"forces [..., {agents}, {len(low)}], floating-point numbers")
    low = low.to(actions)
    inside = (actions >= low) & (actions <= 1)
    if bool(inside.all()):
        return actions
    wrong = actions.isnan() if outside == "clip" else ~inside
    if bool(wrong.any()):
        at = wrong.nonzero()[0].tolist()
        wanted = f"from {float(low[at[-1]]):g} to 1; outside=clip cuts off the rest"
        field = f"actions[{', '.join(map(str, at))}]"
        raise refuse(field, float(actions[tuple(at)]), "a number" if outside == "clip" else wanted)
    return torch.minimum(torch.maximum(actions, low), torch.ones_like(low))
