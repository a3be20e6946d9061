"""Learning a graphon game from what sampled agents did, and graphons from observed networks."""

from gamesim.estimation.adjacency import GraphonEstimate, fit_graphon
from gamesim.estimation.estimate import Estimate, Number, load_estimate
from gamesim.estimation.fitted import FittedGame, fit_game
from gamesim.estimation.kernel_ridge import KernelRidge
from gamesim.estimation.learning import Learner
from gamesim.estimation.rearrangement import rearrangement_distance

__all__ = [
    "Estimate",
    "FittedGame",
    "GraphonEstimate",
    "KernelRidge",
    "Learner",
    "Number",
    "fit_game",
    "fit_graphon",
    "load_estimate",
    "rearrangement_distance",
]
