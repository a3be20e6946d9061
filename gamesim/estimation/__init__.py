"""Learning a graphon game from what sampled agents did, and graphons from observed networks."""

from gamesim.estimation.adjacency import GraphonEstimate, fit_graphon
from gamesim.estimation.blocks import Blocks
from gamesim.estimation.estimate import Estimate, Number
from gamesim.estimation.fitted import FittedGame, fit_game
from gamesim.estimation.kernel_ridge import KernelRidge
from gamesim.estimation.learning import Learner
from gamesim.estimation.low_rank import LowRank
from gamesim.estimation.rearrangement import rearrangement_distance
from gamesim.estimation.shapes import Family, Fixed
from gamesim.estimation.storage import load_estimate

__all__ = [
    "Blocks",
    "Estimate",
    "Family",
    "FittedGame",
    "Fixed",
    "GraphonEstimate",
    "KernelRidge",
    "Learner",
    "LowRank",
    "Number",
    "fit_game",
    "fit_graphon",
    "load_estimate",
    "rearrangement_distance",
]
