"""Runs told to other tools as they go: TensorBoard, MLflow, Weights & Biases, behind one observer of `solve`.

    gs.solve(game, solver, observers=[gs.report_to("tensorboard(folder=logs)")])

All get the same: the parameters, the points of `gamesim.reporting.points` at each measure, and how it ended.
"""

from gamesim.reporting.event_files import Tensorboard
from gamesim.reporting.kinds import Place, Reporter, Writer
from gamesim.reporting.report import Report, report_to, reporter_named
from gamesim.reporting.tracking import Mlflow
from gamesim.reporting.weights_and_biases import Wandb

__all__ = ["Mlflow", "Place", "Report", "Reporter", "Tensorboard", "Wandb", "Writer", "report_to", "reporter_named"]
