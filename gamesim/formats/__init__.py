"""Files that people already have, read as data only: games, graphs, agents, sets of agents, logs of acceptance."""
