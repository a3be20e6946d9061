"""Environments: concrete games, in folders by family. One line in TABLE makes a game known everywhere."""

if __name__ != "gamesim.envs":
    raise ImportError("this folder is the package gamesim.envs: write `from gamesim.envs import ...`")

from gamesim.catalog import lazily

TABLE = {
    "graphon/sis": ("gamesim.envs.graphon.sis:SIS", "epidemic: go out and risk infection, or stay in"),
}

__getattr__, __all__ = lazily(__name__, TABLE)
