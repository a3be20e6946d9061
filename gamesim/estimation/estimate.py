"""What was learned from agents: a graphon, a response, how sure both are, and what one should be warned of.

It is saved as JSON, numbers in full, and read back without running anything that a file names: graphons and games are
looked up in gamesim's own tables.
"""

import dataclasses
import math
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.errors import InvalidInput, refuse
from gamesim.estimation.laws import Features, Played, Regressed, Response
from gamesim.files import read_json, to_json, write_json
from gamesim.games import GraphonGame
from gamesim.games.game import require_rows
from gamesim.graphons import Graphon
from gamesim.parameters import build, plain

FORMAT = "gamesim estimate 1"


class Number(NamedTuple):
    """A parameter with its 95% interval, from the `curvature` of the likelihood or the `bootstrap` over episodes."""

    value: float
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Rescaled(Response):
    """A response f told in the units of c W instead of W: f(z / c)."""

    inner: Response
    scale: float = 1.0

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.inner.transition(h, z / self.scale)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.inner.reward(h, z / self.scale)

    def __getitem__(self, index: int) -> "Rescaled":
        return Rescaled(self.inner[index], self.scale)

    def on(self, like: dict[str, Any]) -> "Rescaled":
        return Rescaled(self.inner.on(like), self.scale)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What `Learner.learn` returns."""

    graphon: Graphon
    response: Rescaled
    initial: Tensor
    """The law of the first state, [s]."""
    horizon: int
    positions: Tensor
    """Of the agents, as known or as found, [n]."""
    labels: Tensor | None
    """Of the agents, where blocks were found: 0 is the block of the greatest degree, [n]."""
    numbers: dict[str, Number]
    """Parameters by name, with intervals."""
    scale: str
    """How the ambiguity between graphon and response was settled, in words."""
    placed: str
    """known, sorted or labels."""
    warnings: tuple[str, ...]
    """What the data do not tell, what was repaired, and how often, a sentence each."""
    log_likelihood: float
    normalize: bool
    learner: Any
    """The Learner, with a penalty where cross-validation chose one."""
    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    data: Any = None
    """What it was learned from, as `AgentData.plain` says it."""

    def transition(self, h: int, z: Tensor) -> Tensor:
        """P[..., k, s, a, t] for z[..., k, s], as estimated: not yet kept on the simplex."""
        return self.response.transition(h, z)

    def slopes(self, z: Tensor) -> Tensor:
        """dP(t | s, a, z) / dz(s') at z[s]: [s, a, t, s']. Times W it is what one position does to another."""
        found: Tensor = torch.autograd.functional.jacobian(lambda at: self.response.transition(0, at[None])[0], z)
        return found

    def save(self, path: Path | str) -> Path:
        """Write the estimate, whole or not at all."""
        path = Path(path)
        write_json(path, self.written)
        return path

    @property
    def written(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "format": FORMAT,
            "graphon": _graphon_data(self.graphon),
            "response": _response_data(self.response.inner) | {"scale": self.response.scale},
            "initial": self.initial.tolist(),
            "horizon": self.horizon,
            "positions": self.positions.tolist(),
            "labels": None if self.labels is None else self.labels.tolist(),
            "numbers": {name: number._asdict() for name, number in self.numbers.items()},
            "scale": self.scale,
            "placed": self.placed,
            "warnings": list(self.warnings),
            "log_likelihood": self.log_likelihood,
            "normalize": self.normalize,
            "learner": {f.name: str(getattr(self.learner, f.name)) for f in dataclasses.fields(self.learner)}
            if dataclasses.is_dataclass(self.learner)
            else self.learner,
            "states": list(self.states),
            "actions": list(self.actions),
            "data": self.data,
        }

    def plain(self) -> dict[str, Any]:
        """What a run's configuration says of it."""
        digest = sha256(to_json(self.written).encode()).hexdigest()
        return {"estimate": digest, "graphon": plain(self.graphon), "placed": self.placed, "data": self.data}

    def __str__(self) -> str:
        numbers = ", ".join(f"{n} {v.value:.4g} [{v.low:.4g}, {v.high:.4g}]" for n, v in self.numbers.items())
        return f"{self.graphon} from {self.placed} positions" + (f": {numbers}" if numbers else "")


def load_estimate(path: Path | str) -> Estimate:
    """Read what `Estimate.save` wrote; anything else is refused, naming what is wrong."""
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise refuse("data", str(path), "agents (.npz, .csv) or an estimate that `gamesim fit` wrote")
    try:
        response = _response(data["response"])
        found = Estimate(
            graphon=_graphon(data["graphon"]),
            response=Rescaled(response, float(data["response"]["scale"])),
            initial=torch.tensor(data["initial"], dtype=torch.float64),
            horizon=int(data["horizon"]),
            positions=torch.tensor(data["positions"], dtype=torch.float64),
            labels=None if data["labels"] is None else torch.tensor(data["labels"]),
            numbers={
                str(name): Number(_real(n["value"]), _real(n["low"]), _real(n["high"]), str(n["source"]))
                for name, n in data["numbers"].items()
            },
            normalize=bool(data["normalize"]),
            log_likelihood=_real(data["log_likelihood"]),
            scale=str(data["scale"]),
            placed=str(data["placed"]),
            warnings=tuple(map(str, data["warnings"])),
            states=tuple(map(str, data["states"])),
            actions=tuple(map(str, data["actions"])),
            learner=data["learner"],
            data=data["data"],
        )
        require_rows(found.initial, "initial")
        z = torch.zeros(1, len(found.initial), dtype=torch.float64)
        shape = found.response.transition(0, z).shape
        if found.initial.dim() != 1 or len(shape) != 4 or shape[1] != shape[3] or shape[1] != len(found.initial):
            raise refuse("response", f"shape {list(shape)}", f"one for {len(found.initial)} states")
        if found.horizon < 1 or not math.isfinite(found.response.scale) or found.response.scale <= 0:
            raise refuse("horizon, scale", f"{found.horizon}, {found.response.scale}", "numbers above 0")
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InvalidInput(f"{path}: not an estimate that `gamesim fit` wrote ({reason})") from None
    return found


def _real(value: Any) -> float:
    return math.nan if value is None else float(value)


def _graphon_data(graphon: Graphon) -> dict[str, Any]:
    if Graphon.kinds.get(graphon.kind) is not type(graphon):
        raise refuse("graphon", str(graphon), "one that can be written down: a family, blocks or low-rank")
    return {"kind": graphon.kind} | {f.name: plain(getattr(graphon, f.name)) for f in dataclasses.fields(graphon)}  # type: ignore[arg-type]


def _graphon(data: dict[str, Any]) -> Graphon:
    kind = data.get("kind")
    if kind not in Graphon.kinds:
        raise refuse("graphon.kind", kind, f"one of {', '.join(sorted(Graphon.kinds))}")
    found: Graphon = build(Graphon.kinds[kind], {name: value for name, value in data.items() if name != "kind"})
    return found


def _response_data(response: Response) -> dict[str, Any]:
    if isinstance(response, Regressed):
        features = {f.name: plain(getattr(response.features, f.name)) for f in dataclasses.fields(Features)}
        parts = {name: getattr(response, name).tolist() for name in ("theta", "rho", "condition")}
        return {"kind": "regressed", "features": features} | parts
    assert isinstance(response, Played)
    ids = [id for id, (path, _) in catalog.table("games").items() if path == _path(type(response.of))]
    if not ids:
        raise refuse(
            "law", type(response.of).__name__, "a game of `gamesim list games`: another cannot be written down"
        )
    shared = {f.name for f in dataclasses.fields(GraphonGame)}
    own = {f.name: getattr(response.of, f.name) for f in dataclasses.fields(response.of) if f.name not in shared}
    return {
        "kind": "played",
        "game": ids[0],
        "parameters": plain(own | {n: float(v) for n, v in response.numbers.items()}),
    }


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _response(data: dict[str, Any]) -> Response:
    if data["kind"] == "played":
        kind = catalog.load(catalog.table("games")[data["game"]][0])
        game = build(kind, data["parameters"])
        return Played(game, {})
    landmarks = data["features"]["landmarks"]
    features = Features(
        degree=int(data["features"]["degree"]),
        barycentric=bool(data["features"]["barycentric"]),
        landmarks=None if landmarks is None else torch.tensor(landmarks, dtype=torch.float64),
        width=float(data["features"]["width"]),
    )
    if not 1 <= features.degree <= 10:
        raise refuse("response.features.degree", features.degree, "1 to 10")
    theta, rho = (torch.tensor(data[name], dtype=torch.float64) for name in ("theta", "rho"))
    for name, part in (("theta", theta), ("rho", rho)):
        if not bool(part.isfinite().all()):
            raise refuse(f"response.{name}", "a number that is not finite", "finite numbers")
    condition = [[math.inf if v is None else v for v in row] for row in data["condition"]]
    return Regressed(features, theta, rho, torch.tensor(condition, dtype=torch.float64))
