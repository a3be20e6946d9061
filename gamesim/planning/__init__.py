"""Planners of latent worlds: exact ones, learned ones, language models behind a server, and what is put around them."""

from gamesim.planning.exact import MAP, Bail, PosteriorSampling
from gamesim.planning.exploration import Anytime, Constant, Exploration, Gated, NoExploration, Theory
from gamesim.planning.history import History
from gamesim.planning.planner import Planner, Proposal, mixture
from gamesim.planning.wrappers import Blurred, Nucleus, Tempered

__all__ = [
    "MAP",
    "Anytime",
    "Bail",
    "Blurred",
    "Constant",
    "Exploration",
    "Gated",
    "History",
    "NoExploration",
    "Nucleus",
    "Planner",
    "PosteriorSampling",
    "Proposal",
    "Tempered",
    "Theory",
    "mixture",
]
