"""MLflow: one run of an experiment, in a database or on a server."""

import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from gamesim.errors import InvalidInput, refuse
from gamesim.parameters import check
from gamesim.reporting.kinds import Place, Point, Reporter, Value, require_text

METRICS, PARAMETERS = 1000, 100
"""How many a server takes at once."""
STATUSES = {"interrupted": "KILLED", "diverged": "FAILED", "running": "FAILED"}
GROWING = ("iterations", "tolerance")
"""Settings that a continued run may change; MLflow's parameters may not."""


@dataclass(frozen=True)
class Mlflow(Reporter):
    """Metrics, parameters and tags of a run of MLflow."""

    uri: str = "sqlite:///mlflow.db"
    """The store: a database, or a server (http, https); its password in MLFLOW_TRACKING_PASSWORD, never here."""
    experiment: str = "gamesim"
    """Made if it is not there."""

    package: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"

    def __post_init__(self) -> None:
        check(self)
        require_text("experiment", self.experiment, "a name")
        try:
            split = urlsplit(self.uri)
            secret, scheme = "@" in split.netloc, split.scheme
        except ValueError:
            secret, scheme = False, ""
        if secret:  # the password must not be printed either
            raise InvalidInput(
                "uri: it has a user or password in it, which would be written to files; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        if scheme not in ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks"):
            raise refuse("uri", self.uri, "a store such as sqlite:///mlflow.db or https://HOST")

    def target(self, place: Place) -> str:
        return f"{self.uri} {self.experiment}"

    def require(self, place: Place) -> None:
        if self.uri.startswith("sqlite:///"):
            path = Path(self.uri.removeprefix("sqlite:///"))
            if not path.absolute().parent.is_dir() or path.is_dir():
                raise refuse("uri", self.uri, "a file in a folder that is there")

    def open(self, place: Place, parameters: Mapping[str, Value]) -> "Tracking":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # what a run is, is nobody else's affair
        warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic)\b")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        return Tracking(self.uri, self.experiment, place, parameters)


class Tracking:
    """One run there."""

    def __init__(self, uri: str, experiment: str, place: Place, parameters: Mapping[str, Value]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client: Any = MlflowClient(uri)
        self._run = self._found(experiment, place)
        self.newest = {
            name: max(m.step for m in self._client.get_metric_history(self._run.info.run_id, name))
            for name in self._run.data.metrics
        }
        id = self._run.info.run_id
        lasting = [Param(named(k), str(v)) for k, v in parameters.items() if k not in GROWING]
        for some in parts([p for p in lasting if p.key not in self._run.data.params], PARAMETERS):
            self._client.log_batch(id, params=some)
        for name in GROWING:
            self._client.set_tag(id, f"gamesim.{name}", str(parameters.get(name, "none")))
        self._client.update_run(id, status="RUNNING")

    def _found(self, experiment: str, place: Place) -> Any:
        home = self._client.get_experiment_by_name(experiment)
        where = home.experiment_id if home is not None else self._client.create_experiment(experiment)
        held = self._client.search_runs([where], f"tags.`gamesim.id` = '{place.id}'", max_results=1)
        if held:
            return held[0]
        tags = {"gamesim.id": place.id} | ({"gamesim.group": place.group} if place.group else {})
        return self._client.create_run(where, run_name=place.full, tags=tags)

    def write(self, points: Iterable[Point]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for some in parts((Metric(named(p.name), p.value, now, p.iteration) for p in points), METRICS):
            self._client.log_batch(self._run.info.run_id, metrics=some)

    def close(self, ending: Mapping[str, Value]) -> None:
        id, at = self._run.info.run_id, int(ending["iterations"])
        points = [Point(at, f"end/{name}", x) for name, x in ending.items() if isinstance(x, float)]
        self.write(p for p in points if at > self.newest.get(p.name, -1))
        for name in ("status", "message"):
            self._client.set_tag(id, f"gamesim.{name}", str(ending[name]))
        self._client.set_terminated(id, STATUSES.get(str(ending["status"]), "FINISHED"))


def parts(things: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """So many at a time, and the rest."""
    left = iter(things)
    while some := list(islice(left, size)):
        yield some


def named(name: str) -> str:
    """A name with the letters that MLflow takes.

    >>> named("return_(team)")
    'return__team_'
    """
    return "".join(x if x.isalnum() or x in "_-. /:" else "_" for x in name)[:250]
