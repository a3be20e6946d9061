"""What a game is: the protocol that every solver relies on, and one file for each family that implements it."""

from gamesim.games.bandit import BanditGame
from gamesim.games.game import Game, OccupancyGame, Policy, RegularizedGame
from gamesim.games.graphon import ActionValues, GraphonGame
from gamesim.games.matrix import DenseGame, MatrixGame, NormalFormGame
from gamesim.games.variational import VariationalInequality, VariationalProblem

__all__ = [
    "ActionValues",
    "BanditGame",
    "DenseGame",
    "Game",
    "GraphonGame",
    "MatrixGame",
    "NormalFormGame",
    "OccupancyGame",
    "Policy",
    "RegularizedGame",
    "VariationalInequality",
    "VariationalProblem",
]
