"""Agents of a graphon game, many episodes at once: of the continuum, or finitely many on a network."""

from gamesim.populations.continuum import Play, sample_play
from gamesim.populations.finite import Simulation, simulate
from gamesim.populations.gap_charts import gap_chart
from gamesim.populations.gap_study import finite_gap
from gamesim.populations.gaps import FiniteGap
from gamesim.populations.networks import Network, draw_network
from gamesim.populations.places import place_agents
from gamesim.populations.sampling import sample_agents
from gamesim.populations.settings import Deviation

__all__ = [
    "Deviation",
    "FiniteGap",
    "Network",
    "Play",
    "Simulation",
    "draw_network",
    "finite_gap",
    "gap_chart",
    "place_agents",
    "sample_agents",
    "sample_play",
    "simulate",
]
