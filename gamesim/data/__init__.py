"""What agents did, as data: trajectories of sampled agents, and transitions of sets of agents."""

from gamesim.data.agents import FORMAT, MOST, AgentData, BadEntry, require_names

__all__ = ["FORMAT", "MOST", "AgentData", "BadEntry", "require_names"]
