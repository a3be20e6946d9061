"""Policies that are tables, with what their dimensions are: names of the axes, and of what stands along each."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gamesim.errors import refuse
from gamesim.exports.saved import SavedRun
from gamesim.games import EpisodicGame, GraphonGame, NormalFormGame, Policy
from gamesim.games.bandit import BanditGame
from gamesim.games.latent import LatentWorld
from gamesim.games.recorded import Recorded
from gamesim.games.variational import VariationalProblem

AXES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (NormalFormGame, ("action",)),
    (EpisodicGame, ("state", "action")),
    (GraphonGame, ("step", "position", "state", "action")),
    (BanditGame, ("arm",)),
    (LatentWorld, ("latent",)),
    (VariationalProblem, ("coordinate",)),
)
"""The dimensions of a player's policy, by the family of the game."""


@dataclass(frozen=True)
class Labelled:
    """One player's policy."""

    player: str
    values: Tensor
    axes: tuple[str, ...]
    """A name for each dimension of the values."""
    labels: dict[str, list[str] | list[float]]
    """What stands along an axis, where it has names; elsewhere it counts from 0."""


def labelled(run: SavedRun, policy: Policy) -> list[Labelled]:
    """The policy of a run, player by player; weights of networks are refused."""
    game = run.game
    if isinstance(game, Recorded):
        raise refuse("run", str(run.folder), "a policy that is a table; this is a network: safetensors or onnx")
    own = game.start()
    inner = next((axes for family, axes in AXES if isinstance(game, family)), None)
    players = _names(game, "players", len(policy))
    found = []
    for i, (x, like) in enumerate(zip(policy, own, strict=True)):
        axes = inner if inner is not None and like.dim() >= len(inner) else _numbered("axis", like.dim())
        games = _numbered("game", like.dim() - len(axes))
        axes = (*_front(run, x.dim() - like.dim()), *games, *axes)
        labels = {name: values for name, values in _along(run, game, i).items() if name in axes}
        sizes = dict(zip(axes, x.shape, strict=True))
        labels = {name: values for name, values in labels.items() if len(values) == sizes[name]}
        found.append(Labelled(players[i], x.detach().cpu(), axes, labels))
    return found


def _front(run: SavedRun, count: int) -> tuple[str, ...]:
    """Names for the leading dimensions of a run: its members in a sweep, or seeds and then hyper-parameters."""
    seeds = run.config.get("seeds")
    if count == 1 and isinstance(run.config.get("runs"), list):
        return ("run",)
    several = isinstance(seeds, list) or (isinstance(seeds, int) and seeds > 1) or (count == 1 and seeds is not None)
    if not count or not several:
        return _numbered("batch", count)
    return ("seed", *_numbered("batch", count - 1))


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}_{i}" for i in range(count))


def _along(run: SavedRun, game: Any, player: int) -> dict[str, list[str] | list[float]]:
    """What stands along the axes of a player's policy, as far as the game says."""
    seeds, first = run.config.get("seeds"), run.config.get("seed", 0)
    found: dict[str, list[str] | list[float]] = {}
    found["run"] = [str(name) for name in run.config.get("runs") or []]
    found["seed"] = list(seeds) if isinstance(seeds, list) else [first + i for i in range(seeds or 1)]
    actions = getattr(game, "actions", None)
    if isinstance(game, GraphonGame):
        found["position"] = game.grid.positions.tolist()
        found["state"], found["action"] = list(game.state_names), list(game.action_names)
    elif isinstance(actions, tuple) and len(actions) > player:
        found["action"] = [str(a) for a in actions[player]]
    if isinstance(getattr(game, "states", None), tuple):
        found["state"] = [str(s) for s in game.states]
    return found


def _names(game: Any, what: str, count: int) -> list[str]:
    names = getattr(game, what, None)
    return (
        [str(n) for n in names] if isinstance(names, tuple) and len(names) == count else [str(i) for i in range(count)]
    )
