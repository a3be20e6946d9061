"""What a game is: the protocol that every solver relies on, and one file for each family that implements it."""

from gamesim.games.game import Game, Policy, RegularizedGame
from gamesim.games.graphon import ActionValues, GraphonGame

__all__ = ["ActionValues", "Game", "GraphonGame", "Policy", "RegularizedGame"]
