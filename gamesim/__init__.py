"""gamesim: simulate games and the agents that learn in them, and measure how far they are from equilibrium.

>>> import gamesim as gs
>>> game = gs.make("graphon/sis", graphon="uniform-attachment", positions=11)
>>> result = gs.solve(game, gs.make_solver("gmfg-ppo", temperature=1.0), iterations=30)
>>> bool(result.regularized_exploitability[0, -1] < 1e-2 * result.regularized_exploitability[0, 0])
True

Names are resolved on first use, so that `import gamesim` costs milliseconds and the command line starts without torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gamesim.attention import set_attention
    from gamesim.certificates import certify, certify_equilibrium, certify_policy
    from gamesim.comparison import compare
    from gamesim.data import AgentData, SetData
    from gamesim.envs.wrappers import (
        approximate_exploitability,
        as_gymnasium,
        as_pettingzoo,
        as_simulator,
        tabulate_environment,
    )
    from gamesim.equilibria.listing import find_equilibria
    from gamesim.equilibria.shapley import solve_shapley
    from gamesim.equilibria.stationary import find_stationary
    from gamesim.errors import Caution, InvalidInput
    from gamesim.estimation import FittedGame, fit_game, fit_graphon, rearrangement_distance
    from gamesim.exports import export, read_run
    from gamesim.figures import draw
    from gamesim.formats.agents import read_agents
    from gamesim.formats.set_arrays import read_sets
    from gamesim.games import (
        Game,
        GraphonGame,
        MatrixGame,
        NormalFormGame,
        Policy,
        Sparse,
        StochasticGame,
        TabularGame,
    )
    from gamesim.games.game import exploitability
    from gamesim.games.simulator import Simulator
    from gamesim.loop import Observer, Result, Solver, Status, solve
    from gamesim.making import make, make_solver
    from gamesim.offline.recording import record_sets
    from gamesim.populations import finite_gap, sample_agents, simulate
    from gamesim.records import Record
    from gamesim.reporting import report_to
    from gamesim.schedules import Constant, Geometric, Power
    from gamesim.sweeps import sweep
    from gamesim.testing import check_batch, check_game, check_solver

_HOMES = {
    "make": "gamesim.making",
    "make_solver": "gamesim.making",
    "Caution": "gamesim.errors",
    "InvalidInput": "gamesim.errors",
    "draw": "gamesim.figures",
    "Game": "gamesim.games",
    "GraphonGame": "gamesim.games",
    "MatrixGame": "gamesim.games",
    "NormalFormGame": "gamesim.games",
    "Policy": "gamesim.games",
    "Sparse": "gamesim.games",
    "StochasticGame": "gamesim.games",
    "TabularGame": "gamesim.games",
    "Simulator": "gamesim.games.simulator",
    "exploitability": "gamesim.games.game",
    "Observer": "gamesim.loop",
    "Result": "gamesim.loop",
    "Solver": "gamesim.loop",
    "Status": "gamesim.loop",
    "solve": "gamesim.loop",
    "Record": "gamesim.records",
    "Constant": "gamesim.schedules",
    "Geometric": "gamesim.schedules",
    "Power": "gamesim.schedules",
    "AgentData": "gamesim.data",
    "SetData": "gamesim.data",
    "set_attention": "gamesim.attention",
    "read_sets": "gamesim.formats.set_arrays",
    "record_sets": "gamesim.offline.recording",
    "FittedGame": "gamesim.estimation",
    "approximate_exploitability": "gamesim.envs.wrappers",
    "as_gymnasium": "gamesim.envs.wrappers",
    "as_pettingzoo": "gamesim.envs.wrappers",
    "as_simulator": "gamesim.envs.wrappers",
    "tabulate_environment": "gamesim.envs.wrappers",
    "compare": "gamesim.comparison",
    "export": "gamesim.exports",
    "read_run": "gamesim.exports",
    "report_to": "gamesim.reporting",
    "sweep": "gamesim.sweeps",
    "certify": "gamesim.certificates",
    "certify_equilibrium": "gamesim.certificates",
    "certify_policy": "gamesim.certificates",
    "find_equilibria": "gamesim.equilibria.listing",
    "find_stationary": "gamesim.equilibria.stationary",
    "solve_shapley": "gamesim.equilibria.shapley",
    "finite_gap": "gamesim.populations",
    "fit_game": "gamesim.estimation",
    "fit_graphon": "gamesim.estimation",
    "read_agents": "gamesim.formats.agents",
    "rearrangement_distance": "gamesim.estimation",
    "sample_agents": "gamesim.populations",
    "simulate": "gamesim.populations",
    "check_batch": "gamesim.testing",
    "check_game": "gamesim.testing",
    "check_solver": "gamesim.testing",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gamesim' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
