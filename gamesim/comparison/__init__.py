"""Runs compared: groups of runs over tasks, with intervals, ranks and performance profiles, and pictures of these."""

from gamesim.comparison.comparison import Comparison, compare
from gamesim.comparison.pictures import draw_comparison, draw_table
from gamesim.comparison.reading import read_table, table_of
from gamesim.comparison.tables import Run, Table

__all__ = ["Comparison", "Run", "Table", "compare", "draw_comparison", "draw_table", "read_table", "table_of"]
