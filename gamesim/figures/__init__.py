"""Figures, drawn from the files of runs alone (or from a Result in memory). The only importer of matplotlib."""

from gamesim.figures.estimates import draw_estimate
from gamesim.figures.normal_form import draw_game
from gamesim.figures.pages import draw_chart, report, require_figure, save, save_as, to_svg
from gamesim.figures.runs import draw

__all__ = ["draw", "draw_chart", "draw_estimate", "draw_game", "report", "require_figure", "save", "save_as", "to_svg"]
