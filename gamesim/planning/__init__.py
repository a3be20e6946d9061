"""Planners of latent worlds: exact ones, learned ones, language models behind a server, and what is put around them."""

from gamesim.planning.exact import MAP, Bail, PosteriorSampling
from gamesim.planning.exploration import Anytime, Constant, Exploration, Gated, NoExploration, Theory
from gamesim.planning.history import History
from gamesim.planning.language.model import LanguageModel
from gamesim.planning.language.replay import Replay
from gamesim.planning.planner import Planner, Proposal, mixture
from gamesim.planning.transformer import TransformerPlanner
from gamesim.planning.world_model import WorldModel
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
    "LanguageModel",
    "NoExploration",
    "Nucleus",
    "Planner",
    "PosteriorSampling",
    "Proposal",
    "Replay",
    "Tempered",
    "Theory",
    "TransformerPlanner",
    "WorldModel",
    "mixture",
]
