"""What agents did, as data: trajectories of sampled agents, and transitions of sets of agents."""

from gamesim.data.agents import FORMAT, MOST, AgentData, BadEntry, require_names
from gamesim.data.dense import from_episodes
from gamesim.data.headers import SETS_FORMAT, Header, make_header
from gamesim.data.ragged import gather_pieces
from gamesim.data.sets import SetData

__all__ = [
    "FORMAT",
    "MOST",
    "SETS_FORMAT",
    "AgentData",
    "BadEntry",
    "Header",
    "SetData",
    "from_episodes",
    "gather_pieces",
    "make_header",
    "require_names",
]
