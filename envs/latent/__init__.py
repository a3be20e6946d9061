"""Latent worlds: a planner that speaks subgoals must find out which world it is in."""
