"""Estimates as JSON: numbers in full, so that the game that is read back is the same to the last bit.

Nothing that a file names is run: graphons and games are looked up in gamesim's own tables, and their parameters can
only be numbers.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.data import MOST, require_names
from gamesim.errors import InvalidInput, refuse
from gamesim.estimation.estimate import Estimate, Number
from gamesim.estimation.features import Bumps, Features, Monomials
from gamesim.estimation.mechanism import SHARED, Played
from gamesim.estimation.responses import Regressed, Rescaled, Response
from gamesim.files import read_json
from gamesim.games import GraphonGame
from gamesim.games.game import require_rows
from gamesim.graphons import Graphon
from gamesim.parameters import Count, build, convert, plain

FORMAT = "gamesim estimate 1"
HIGHEST = 20
"""Degree of a polynomial that is read."""
PLAIN = ("scale", "placed", "normalize", "log_likelihood")


def written(estimate: Estimate) -> dict[str, Any]:
    """All of an estimate as JSON data."""
    learner = estimate.learner
    if dataclasses.is_dataclass(learner):
        learner = {f.name: str(getattr(learner, f.name)) for f in dataclasses.fields(learner)}
    return {
        "format": FORMAT,
        "graphon": _graphon_data(estimate.graphon),
        "response": _response_data(estimate.response.inner) | {"scale": estimate.response.scale},
        "initial": estimate.initial.tolist(),
        "horizon": estimate.horizon,
        "positions": estimate.positions.tolist(),
        "labels": None if estimate.labels is None else estimate.labels.tolist(),
        "numbers": {name: number._asdict() for name, number in estimate.numbers.items()},
        "condition": None if estimate.condition is None else estimate.condition.tolist(),
        "warnings": list(estimate.warnings),
        **{name: getattr(estimate, name) for name in PLAIN},
        "learner": learner,
        "states": list(estimate.states),
        "actions": list(estimate.actions),
        "data": estimate.data,
    }


def load_estimate(path: Path | str) -> Estimate:
    """Read what `Estimate.save` wrote; anything else is refused, naming what is wrong."""
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise refuse("data", str(path), "agents (.npz, .csv) or an estimate that `gamesim fit` wrote")
    try:
        return _checked(_read(data))
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, OverflowError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InvalidInput(f"{path}: not an estimate that `gamesim fit` wrote ({reason})") from None


def _read(data: dict[str, Any]) -> Estimate:
    labels, condition = data["labels"], data["condition"]
    return Estimate(
        graphon=_graphon(data["graphon"]),
        response=Rescaled(_response(data["response"]), _number(data["response"]["scale"], "response.scale")),
        initial=_tensor(data["initial"], "initial", 1),
        horizon=convert(data["horizon"], Count, "horizon"),
        positions=_tensor(data["positions"], "positions", 1),
        labels=None if labels is None else torch.tensor([convert(x, int, "labels") for x in labels]),
        numbers={_text(name, "numbers"): _interval(n) for name, n in _typed(data["numbers"], dict, "numbers").items()},
        normalize=_typed(data["normalize"], bool, "normalize"),
        log_likelihood=_number(data["log_likelihood"], "log_likelihood"),
        scale=_text(data["scale"], "scale"),
        placed=_text(data["placed"], "placed"),
        warnings=tuple(_text(x, "warnings") for x in _typed(data["warnings"], list, "warnings")),
        states=require_names(data["states"], "states"),
        actions=require_names(data["actions"], "actions"),
        learner=data["learner"],
        data=data["data"],
        condition=None if condition is None else _tensor(condition, "condition", 2, math.inf),
    )


def _checked(found: Estimate) -> Estimate:
    """The estimate, if its parts fit together."""
    require_rows(found.initial, "initial")
    states = len(found.initial)
    z = torch.zeros(1, states, dtype=torch.float64)
    with torch.no_grad():
        P, r = found.response.transition(0, z), found.response.reward(0, z)
    if P.dim() != 4 or P.shape != (1, states, P.shape[2], states) or r.shape != P.shape[:-1]:
        raise refuse("response", f"shapes {list(P.shape)} and {list(r.shape)}", f"a response of {states} states")
    if not found.response.scale > 0:
        raise refuse("response.scale", found.response.scale, "a number above 0")
    agents = len(found.positions)
    if not bool(((found.positions >= 0) & (found.positions <= 1)).all()):
        raise refuse("positions", found.positions.tolist(), "numbers between 0 and 1")
    if found.labels is not None and (len(found.labels) != agents or bool((found.labels < 0).any())):
        raise refuse("labels", found.labels.tolist(), f"{agents} whole numbers from 0")
    for names, count, field in ((found.states, states, "states"), (found.actions, P.shape[2], "actions")):
        if names and len(names) != count:
            raise refuse(field, list(names), f"{count} names, or none")
    if found.condition is not None and found.condition.shape != r.shape[1:]:
        raise refuse("condition", f"shape {list(found.condition.shape)}", f"{list(r.shape[1:])}")
    return found


def _graphon_data(graphon: Graphon) -> dict[str, Any]:
    if Graphon.kinds.get(graphon.kind) is not type(graphon):
        raise refuse("graphon", str(graphon), "one that can be written down: a family, blocks or low-rank")
    return {"kind": graphon.kind} | {f.name: plain(getattr(graphon, f.name)) for f in dataclasses.fields(graphon)}  # type: ignore[arg-type]


def _graphon(data: dict[str, Any]) -> Graphon:
    kind = data["kind"]
    if kind not in Graphon.kinds:
        raise refuse("graphon.kind", kind, f"one of {', '.join(sorted(Graphon.kinds))}")
    found: Graphon = build(Graphon.kinds[kind], _numbers({k: v for k, v in data.items() if k != "kind"}, "graphon"))
    return found


def _response_data(response: Response) -> dict[str, Any]:
    if isinstance(response, Regressed):
        features = {f.name: plain(getattr(response.features, f.name)) for f in dataclasses.fields(response.features)}
        return {
            "kind": "regressed",
            "features": features,
            "theta": response.theta.tolist(),
            "rho": response.rho.tolist(),
        }
    assert isinstance(response, Played)
    ids = [id for id, (path, _) in catalog.table("games").items() if path == _path(type(response.of))]
    if not ids:
        raise refuse(
            "law", type(response.of).__name__, "a game of `gamesim list games`: another cannot be written down"
        )
    own = {f.name: getattr(response.of, f.name) for f in dataclasses.fields(response.of) if f.name not in SHARED}
    numbers = {name: float(value) for name, value in response.numbers.items()}
    return {"kind": "played", "game": ids[0], "parameters": plain(own | numbers)}


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _response(data: dict[str, Any]) -> Response:
    if data["kind"] == "played":
        table = catalog.table("games")
        if data["game"] not in table:
            raise refuse("response.game", data["game"], "a game of `gamesim list games`")
        kind = catalog.load(table[data["game"]][0])
        parameters = _numbers(data["parameters"], "response.parameters")
        shared = SHARED & parameters.keys()
        if not issubclass(kind, GraphonGame) or shared:
            raise refuse("response.game", data["game"], f"a graphon game, without {', '.join(shared) or 'more'}")
        return Played(build(kind, parameters), {})
    if data["kind"] != "regressed":
        raise refuse("response.kind", data["kind"], "regressed or played")
    theta, rho = _tensor(data["theta"], "response.theta", 4), _tensor(data["rho"], "response.rho", 3)
    features, size = _features(data["features"], theta.shape[0])
    if theta.shape != (*rho.shape, theta.shape[0]) or rho.shape[-1] != size:
        shapes = f"shapes {list(theta.shape)} and {list(rho.shape)}"
        raise refuse("response.theta, response.rho", shapes, f"[s, a, {size}, s] and [s, a, {size}]")
    return Regressed(features, theta, rho)


def _features(data: dict[str, Any], states: int) -> tuple[Features, int]:
    """The features, and how many there are."""
    if "degree" in data:
        degree = convert(data["degree"], Count, "response.features.degree")
        if degree > HIGHEST or states > MOST:
            raise refuse("response.features.degree", degree, f"1 to {HIGHEST}")
        return Monomials(degree), math.comb(states + degree, degree)
    landmarks, whitening = (_tensor(data[name], f"response.features.{name}", 2) for name in ("landmarks", "whitening"))
    width = _number(data["width"], "response.features.width")
    if landmarks.shape[1] != states or len(landmarks) != len(whitening) or not width > 0:
        shapes = f"{list(landmarks.shape)}, {list(whitening.shape)} and width {width}"
        raise refuse("response.features", shapes, f"landmarks[m, {states}], whitening[m, d] and a width above 0")
    return Bumps(landmarks, width, whitening), whitening.shape[1] + 1


def _interval(data: dict[str, Any]) -> Number:
    value, low, high = (_number(data[name], f"numbers.{name}") for name in ("value", "low", "high"))
    return Number(value, low, high, _text(data["source"], "numbers.source"))


def _number(value: Any, field: str) -> float:
    """A finite number; nothing else has been written for it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(field, value, "a finite number")
    found: float = convert(value, float, field)
    return found


def _tensor(value: Any, field: str, dimensions: int, absent: float | None = None) -> Tensor:
    """Finite numbers [...]; where something may be `absent`, null stands for it."""

    def filled(x: Any) -> Any:
        if isinstance(x, list):
            return [filled(one) for one in x]
        return absent if x is None and absent is not None else _number(x, field)

    found = torch.tensor(filled(value), dtype=torch.float64)
    if found.dim() != dimensions or not found.numel():
        raise refuse(field, f"shape {list(found.shape)}", f"numbers in {dimensions} dimensions")
    return found


def _numbers(data: Any, field: str) -> dict[str, Any]:
    """Parameters that are numbers, or lists of them."""
    for name, value in _typed(data, dict, field).items():
        if isinstance(value, list):
            _numbers({f"{name}[{i}]": x for i, x in enumerate(value)}, field)
        else:
            _number(value, f"{field}.{name}")
    return dict(data)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise refuse(field, value, "text in printable letters")
    return value


def _typed(value: Any, kind: type, field: str) -> Any:
    if not isinstance(value, kind):
        raise refuse(field, type(value).__name__, f"a {kind.__name__}")
    return value
