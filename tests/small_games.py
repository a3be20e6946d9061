"""Every game of the catalogue made small, and which solvers take it: what conformance tests run over."""

from functools import cache
from pathlib import Path
from typing import Any

import gamesim as gs
from gamesim import catalog
from gamesim.games import Game

GAMES, SOLVERS = sorted(catalog.table("games")), sorted(catalog.table("solvers"))
HERE = Path(__file__).parent
SMALL: dict[str, dict[str, Any]] = {"graphon": {"positions": 3, "horizon": 3}, "mean-field": {"horizon": 3}}
"""What makes the games of a family small."""
NEEDED = {
    "graphon/fitted": {"data": str(HERE / "agents.csv")},
    "bandits/acceptance-log": {"data": str(HERE / "acceptance.csv")},
    "sets/offline": {"episodes": 4, "evaluation_episodes": 2},
    "matrix/el-farol": {"player_count": 6},
    "simulator/pettingzoo": {"environment": "little_environments:Nim", "illegal": "redirect", "copies": 8},
    "stochastic/soccer": {"rows": 2, "columns": 3},
    "matrix/file": {"file": str(HERE / "games" / "battle.nfg")},
}


def small(name: str = "graphon/sis", **parameters: Any) -> Any:
    """A game with its needs filled in, few positions and a short horizon."""
    return gs.make(name, **(SMALL.get(name.partition("/")[0], {}) | NEEDED.get(name, {}) | parameters))


LITTLE = {"network": "set-transformer(width=8, heads=2, blocks=1)", "batch_size": 8}
"""What makes solvers with networks on sets quick."""


@cache
def _built(name: str) -> Any:
    return small(name)


def small_solver(name: str) -> Any:
    """A solver with its defaults; of networks, small ones that see few transitions at a time."""
    fields = getattr(catalog.find("solvers", name), "__dataclass_fields__", {})
    return gs.make_solver(name, **{field: value for field, value in LITTLE.items() if "network" in fields})


def fits(game: str, solver: str) -> bool:
    """Whether a solver with its defaults takes a game."""
    if game.startswith("simulator/") and solver == "policy-gradient":
        return False  # which asks for feedback=reinforce by name
    return isinstance(_built(game), getattr(gs.make_solver(solver), "requires", Game))


PAIRS = [(game, solver) for game in GAMES for solver in SOLVERS if fits(game, solver)]
FAMILY = {game: game.partition("/")[0] for game in GAMES}
