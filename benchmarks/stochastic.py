"""The suite `stochastic`: REINFORCE of many seeds, zero-sum games by Shapley iteration, stationary equilibria.

Each part stands in a file of its own; peers run in the same call where they are installed.
"""

from collections.abc import Iterator

from gamesim.benchmarks import reinforce, shapley, stationary
from gamesim.benchmarks.timing import Row


def suite() -> Iterator[Row]:
    """Rows as they are measured."""
    yield from reinforce.rows()
    yield from shapley.rows()
    yield from stationary.rows()
