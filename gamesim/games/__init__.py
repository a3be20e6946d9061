"""What a game is: the protocol that every solver relies on, and one file for each family that implements it."""

from gamesim.games.game import Game, OccupancyGame, Policy, RegularizedGame
from gamesim.games.graphon import ActionValues, GraphonGame
from gamesim.games.matrix import DenseGame, MatrixGame, NormalFormGame

__all__ = [
    "ActionValues",
    "DenseGame",
    "Game",
    "GraphonGame",
    "MatrixGame",
    "NormalFormGame",
    "OccupancyGame",
    "Policy",
    "RegularizedGame",
]
