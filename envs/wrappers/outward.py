"""Our games as everybody's environments: PettingZoo's parallel and AEC, and gymnasium's with the others fixed."""

import re
from collections.abc import Sequence
from typing import Any

from pettingzoo.utils import parallel_to_aec  # type: ignore[import-untyped]

from gamesim.envs.sets.discs import Discs
from gamesim.envs.wrappers.alone import OnePlayer
from gamesim.envs.wrappers.particles import Crowd
from gamesim.envs.wrappers.rounds import Rounds
from gamesim.envs.wrappers.walks import Observe, States
from gamesim.errors import refuse
from gamesim.games import NormalFormGame, Policy, TabularGame
from gamesim.parameters import Count, convert


def as_pettingzoo(
    game: NormalFormGame | TabularGame | Discs,
    rounds: int | None = None,
    *,
    observe: Observe = "plain",
    longest: int | None = None,
    agents: Sequence[str] | None = None,
) -> Rounds | States | Crowd:
    """A game as a parallel environment: a normal-form game of so many rounds (1), a stochastic game until it stops.

    A particle world goes on for its own number of steps, and shows what its variant shows.

    Agents have the players' names unless `agents` says others; `longest` truncates the episodes of a stochastic game.

    >>> from gamesim.games import MatrixGame
    >>> env = as_pettingzoo(MatrixGame.zero_sum([[1, -1], [-1, 1]]), rounds=2)
    >>> observations, infos = env.reset(seed=0)
    >>> env.step({"1": 0, "2": 1})[1]
    {'1': -1.0, '2': 1.0}
    """
    observe = convert(observe, Observe, "observe")
    if isinstance(game, Discs):
        for name, given in (("rounds", rounds), ("longest", longest)):
            if given is not None:
                raise refuse(name, given, "none: a world has `steps`")
        return Crowd(game, agents)
    rounds, longest = _lengths(game, rounds, longest)
    if isinstance(game, TabularGame):
        return States(game, observe, longest, agents)
    return Rounds(game, rounds or 1, observe, agents)


def as_aec(
    game: NormalFormGame | TabularGame | Discs,
    rounds: int | None = None,
    *,
    observe: Observe = "one-hot",
    longest: int | None = None,
    agents: Sequence[str] | None = None,
) -> Any:
    """A game as an AEC environment: agents act one after another without seeing what the others chose in that step.

    It follows what PettingZoo's api_test asks for: observations are arrays, and agents are called player_1, player_2
    unless the players have names of that form already.

    >>> from gamesim.games import MatrixGame
    >>> env = as_aec(MatrixGame.zero_sum([[1, -1], [-1, 1]]))
    >>> env.reset(seed=0)
    >>> env.agent_selection, int(env.action_space("player_1").n)
    ('player_1', 2)
    """
    if agents is None:
        players = game.names if isinstance(game, Discs) else tuple(getattr(game, "players", ()))
        formed = len(set(players)) == len(players) and all(re.fullmatch("[a-z]+_[0-9]+", name) for name in players)
        agents = players if formed else tuple(f"player_{i + 1}" for i in range(len(players)))
    return parallel_to_aec(as_pettingzoo(game, rounds, observe=observe, longest=longest, agents=agents))


def as_gymnasium(
    game: NormalFormGame | TabularGame,
    player: int | str = 0,
    opponents: Policy | None = None,
    rounds: int | None = None,
    *,
    observe: Observe = "plain",
    longest: int | None = None,
) -> OnePlayer:
    """A game as one player meets it while the others keep to fixed policies (uniform ones if left out).

    `player` is a number from 0 or a name. `opponents` has a policy for each of the others, or for all players, of which
    the learner's is not used: tensors [s, a] of a stochastic game, [a] of a normal-form game.

    >>> import torch
    >>> from gamesim.games import MatrixGame
    >>> env = as_gymnasium(MatrixGame.zero_sum([[2, 0], [0, 1]]), opponents=(torch.tensor([0.0, 1.0]),))
    >>> observation, info = env.reset(seed=0)
    >>> env.step(1)[1:3]
    (1.0, True)
    """
    observe = convert(observe, Observe, "observe")
    rounds, longest = _lengths(game, rounds, longest)
    names = list(game.players)
    if isinstance(player, str) and names.count(player) == 1:
        player = names.index(player)
    if isinstance(player, bool) or not isinstance(player, int) or not 0 <= player < len(names):
        raise refuse("player", player, f"a number from 0 to {len(names) - 1}, or one of {names}")
    return OnePlayer(game, player, opponents, rounds, observe, longest)


def _lengths(game: Any, rounds: int | None, longest: int | None) -> tuple[int | None, int | None]:
    """The lengths that the family has, checked."""
    if not isinstance(game, NormalFormGame | TabularGame) or game.batch:
        raise refuse("game", type(game).__name__, "one normal-form or stochastic game, not a batch")
    if isinstance(game, TabularGame) and rounds is not None:
        raise refuse("rounds", rounds, "longest, for a stochastic game: it ends by itself, or is cut off there")
    if isinstance(game, NormalFormGame) and longest is not None:
        raise refuse("longest", longest, "rounds, for a normal-form game")
    rounds = None if rounds is None else convert(rounds, Count, "rounds")
    return rounds, None if longest is None else convert(longest, Count, "longest")
