"""Stochastic games: random families, soccer, grids, commons, congestion, repeated games, constructed equilibria."""
