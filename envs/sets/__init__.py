"""Worlds whose agents are a set: whoever is renamed, nothing changes."""
