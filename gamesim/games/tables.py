"""What the tables of a stochastic game must be like, with refusals that name the first place that is wrong."""

import math
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import require_rows
from gamesim.games.matrix import LARGEST
from gamesim.games.transitions import Sparse, require_law, rounding


def require_kinds(game: Any) -> None:
    """Refuse tables that are no tensors, and a discount that is no number, before anything is made of them."""
    for name, dims in (("reward", 3), ("transition", 3), ("initial", 1)):
        x = getattr(game, name, None)
        if name == "transition" and isinstance(x, Sparse):
            continue
        if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64) or x.dim() < dims:
            shown = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            shape = {"reward": "player, s, a1, ..., an", "transition": "s, a1, ..., an, t", "initial": "s"}[name]
            raise refuse(name, shown, f"a tensor [..., {shape}] of float32 or float64")
    if not isinstance(game.discount, float | int) or not 0 < game.discount <= 1:
        raise refuse("discount", game.discount, "a number above 0 and at most 1")
    require_law(game.transition, game.action_counts, game.state_count)


def require_tables(game: Any) -> None:
    """Refuse tables that are no stochastic game, naming the first place that is wrong."""
    require_kinds(game)
    reward = game.reward
    if 0 in reward.shape:
        raise refuse("reward", f"shape {list(reward.shape)}", "at least one state, and one action for each player")
    if not bool(reward.isfinite().all()):
        place = tuple((~reward.isfinite()).nonzero()[0].tolist())
        raise refuse(f"reward{list(place)}", float(reward[place]), "a finite reward")
    states = game.state_count
    if states * states > LARGEST:
        raise refuse("reward", f"{states:,} states", f"at most {math.isqrt(LARGEST):,}: values take a system of S x S")
    stopping = game.stopping
    least = rounding(stopping)
    if float(stopping.min()) < least:
        place = tuple((stopping < least).nonzero()[0].tolist())
        wanted = "a positive probability that play stops: rows of transition below 1, or a discount below 1"
        raise refuse(f"stopping{list(place)}", "0", wanted)
    most = float(reward.abs().max()) / float(stopping.min())
    if most > torch.finfo(reward.dtype).max / 4:
        wanted = "rewards whose sums over an episode are finite: count them in a larger unit"
        raise refuse("reward", f"{float(reward.abs().max()):.3g}", wanted)
    if game.initial.shape[-1] != states:
        raise refuse("initial", f"shape {list(game.initial.shape)}", f"[..., {states}], one number for each state")
    require_rows(game.initial, "initial")
    try:
        _ = game.batch
    except RuntimeError:
        shapes = f"reward {list(reward.shape)}, transition {list(game.law.totals.shape)} over joint actions"
        raise refuse("batch", shapes, "leading dimensions that broadcast") from None


def require_names(given: Any, field: str) -> tuple[str, ...]:
    if not isinstance(given, tuple | list) or not all(isinstance(x, str) for x in given):
        raise refuse(field, given, "names, as a tuple of text")
    return tuple(given)


def action_counts(reward: Tensor, player_count: int | None) -> tuple[int, ...]:
    """The last N dimensions of R[..., player, s, a1, ..., an]; where N is open, the largest that fits."""
    for n in range(reward.dim() - 2, 0, -1) if player_count is None else [player_count]:
        if 0 < n <= reward.dim() - 2 and reward.shape[-2 - n] == n:
            return tuple(reward.shape[-n:])
    players = "as many players as" if player_count is None else f"{player_count} players and"
    wanted = f"[..., player, s, a1, ..., an]: {players} dimensions of actions"
    raise refuse("reward", f"shape {list(reward.shape)}", wanted)
