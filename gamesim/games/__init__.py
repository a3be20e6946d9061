"""What a game is: the protocol that every solver relies on, and one file for each family that implements it."""

from gamesim.games.bandit import BanditGame
from gamesim.games.congestion import CongestionGame
from gamesim.games.episodic import Episodes, EpisodicGame
from gamesim.games.game import Game, OccupancyGame, Policy, RegularizedGame
from gamesim.games.graphon import ActionValues, GraphonGame
from gamesim.games.matrix import DenseGame, MatrixGame, NormalFormGame
from gamesim.games.polymatrix import PolymatrixGame
from gamesim.games.simulator import Moment, Simulator
from gamesim.games.stochastic import StochasticGame, TabularGame
from gamesim.games.structured import StructuredGame, tabulate
from gamesim.games.symmetric import SymmetricGame
from gamesim.games.transitions import Sparse
from gamesim.games.variational import VariationalInequality, VariationalProblem
from gamesim.games.worlds import Particles, Recording, SetWorld

__all__ = [
    "ActionValues",
    "BanditGame",
    "CongestionGame",
    "DenseGame",
    "Episodes",
    "EpisodicGame",
    "Game",
    "GraphonGame",
    "MatrixGame",
    "Moment",
    "NormalFormGame",
    "OccupancyGame",
    "Particles",
    "Policy",
    "PolymatrixGame",
    "Recording",
    "RegularizedGame",
    "SetWorld",
    "Simulator",
    "Sparse",
    "StochasticGame",
    "StructuredGame",
    "SymmetricGame",
    "TabularGame",
    "VariationalInequality",
    "VariationalProblem",
    "tabulate",
]
