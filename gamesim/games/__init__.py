"""What a game is: the protocol that every solver relies on, and one file for each family that implements it."""

from gamesim.games.bandit import BanditGame
from gamesim.games.congestion import CongestionGame
from gamesim.games.game import Game, OccupancyGame, Policy, RegularizedGame
from gamesim.games.graphon import ActionValues, GraphonGame
from gamesim.games.matrix import DenseGame, MatrixGame, NormalFormGame
from gamesim.games.polymatrix import PolymatrixGame
from gamesim.games.structured import StructuredGame, tabulate
from gamesim.games.symmetric import SymmetricGame
from gamesim.games.variational import VariationalInequality, VariationalProblem

__all__ = [
    "ActionValues",
    "BanditGame",
    "CongestionGame",
    "DenseGame",
    "Game",
    "GraphonGame",
    "MatrixGame",
    "NormalFormGame",
    "OccupancyGame",
    "Policy",
    "PolymatrixGame",
    "RegularizedGame",
    "StructuredGame",
    "SymmetricGame",
    "VariationalInequality",
    "VariationalProblem",
    "tabulate",
]
