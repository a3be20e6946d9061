"""Bridges to the environments of gymnasium and PettingZoo, both ways; nothing else in gamesim imports these libraries.

    as_simulator(make_env)          a user's environment, for learners that see episodes
    tabulate_environment(env)       a small one by its tables, from playing it out
    estimate_game(simulator)        the tables by counting what happened
    tabulate_pettingzoo(env)        what one round of a parallel environment pays
    as_pettingzoo, as_aec           our games as PettingZoo's parallel and AEC environments
    as_gymnasium                    our games as one player meets them, the others fixed
    Planning, Actors                latent worlds: who speaks to all actors, and each actor by itself
    Walking                         the low level under a latent world: an actor's steps towards a subgoal
    Talking, as_text, as_text_aec   latent worlds, and any game of ours, in words

Terry et al., "PettingZoo: gym for multi-agent reinforcement learning", NeurIPS 2021; Towers et al., "Gymnasium: a
standard interface for reinforcement learning environments", arXiv 2407.17032.
"""

from gamesim.envs.wrappers.estimated import (
    ApproximateExploitability,
    EstimatedGame,
    approximate_exploitability,
    estimate_game,
)
from gamesim.envs.wrappers.latent import Actors, Planning
from gamesim.envs.wrappers.one_round import pettingzoo_classic, tabulate_pettingzoo
from gamesim.envs.wrappers.outward import as_aec, as_gymnasium, as_pettingzoo
from gamesim.envs.wrappers.played_out import tabulate_environment
from gamesim.envs.wrappers.rounds import Rounds
from gamesim.envs.wrappers.simulators import GymnasiumSimulator, PettingZooSimulator, as_simulator
from gamesim.envs.wrappers.talking import Talking
from gamesim.envs.wrappers.text import Spoken, as_text, as_text_aec
from gamesim.envs.wrappers.walking import Walking
from gamesim.envs.wrappers.walks import States

__all__ = [
    "Actors",
    "ApproximateExploitability",
    "EstimatedGame",
    "GymnasiumSimulator",
    "PettingZooSimulator",
    "Planning",
    "Rounds",
    "Spoken",
    "States",
    "Talking",
    "Walking",
    "approximate_exploitability",
    "as_aec",
    "as_gymnasium",
    "as_pettingzoo",
    "as_simulator",
    "as_text",
    "as_text_aec",
    "estimate_game",
    "pettingzoo_classic",
    "tabulate_environment",
    "tabulate_pettingzoo",
]
