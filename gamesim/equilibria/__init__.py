"""Equilibria of normal-form games, for learning to be compared with: zero-sum, pure, mixed, correlated."""
