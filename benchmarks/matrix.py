"""The suite `matrix`: learning of many seeds, zero-sum and correlated equilibria, files, certificates.

Each part stands in a file of its own; peers run in the same call where they are installed.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gamesim.benchmarks import correlated, learning, zero_sum
from gamesim.benchmarks.timing import Row, interleaved, row
from gamesim.certificates import certify_equilibrium
from gamesim.envs.matrix.file import FileGame
from gamesim.formats.game_files import GameFile, write_game_file
from gamesim.games import MatrixGame


def suite() -> Iterator[Row]:
    """Rows as they are measured."""
    yield from learning.rows()
    yield from certificates()
    yield from zero_sum.rows()
    yield from correlated.rows()
    yield from files()


def certificates() -> Iterator[Row]:
    """A stability certificate of 1,000 runs of 10,000 steps, from the game to the interval."""
    u = torch.zeros(2, 3, 3, dtype=torch.float64)
    u[:, range(3), range(3)] = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    game = MatrixGame(u)
    seconds = interleaved({"certify": lambda: certify_equilibrium(game, (0, 0))}, rounds=5)["certify"]
    note = "3 x 3 game, 1,000 runs of 10,000 steps of bandit FTRL in float64, every step watched; the bar is 0.2 s"
    yield row("certify/3x3", seconds, 0.2, 1.0, note)


def files() -> Iterator[Row]:
    """Reading a 100 x 100 game: decimals, and fractions."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(2, 100, 100)).round(6)
    names = tuple(str(a) for a in range(100))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.nfg"
        write_game_file(path, GameFile("large", ("1", "2"), (names, names), u))
        seconds = interleaved({"read": lambda: FileGame(str(path))}, rounds=9)["read"]
        note = "20,000 payoffs in decimals; the bar is 20 ms (pygambit 16.7 takes 570)"
        yield row("read/nfg-100x100", seconds, 0.02, 1.0, note)
