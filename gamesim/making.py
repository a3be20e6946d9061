"""Games and solvers by name, with their parameters as text or as objects."""

from typing import Any

from gamesim import catalog
from gamesim.parameters import build


def make(game: str, /, **parameters: Any) -> Any:
    """A game by its id (`gamesim list games`), by `module:Class`, or by the file that it is in (.nfg, .gam, .efg).

    >>> make("graphon/sis", positions=5, **{"graphon": "power-law", "graphon.a": 0.3, "normalize": True}).graphon
    PowerLaw(a=0.3)
    """
    kind, own = catalog.named("games", game)
    return build(kind, own | parameters, what=game)


def make_solver(solver: str, /, **parameters: Any) -> Any:
    """A solver by its id (`gamesim list solvers`) or by `module:Class`.

    >>> make_solver("policy-mirror-descent", step_size="power(0.5, 0.5)").step_size(3)
    0.25
    """
    return build(catalog.find("solvers", solver), parameters, what=solver)
