"""One run or sweep as one file of another program's format; a format that says nothing there is refused.

npz            a table policy: arrays, the names of their axes and what stands along them; numpy alone reads it
safetensors    the same, or a network: weights, and in the header every step from inputs to probabilities
onnx           a network, for onnxruntime and its like
csv, parquet   tidy tables: the policy, the trace, or the results of a sweep
"""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.exports.graphs import Graph
from gamesim.exports.labels import Labelled, labelled
from gamesim.exports.networks import graph_of_players, graph_of_sets
from gamesim.exports.onnx_files import write_onnx
from gamesim.exports.saved import SavedRun, read_run
from gamesim.exports.tables import policy_table, results_table, trace_table, write_table
from gamesim.files import to_json, write_with
from gamesim.games import Policy
from gamesim.games.recorded import Recorded
from gamesim.offline.critics import front_of

FORMATS = ("npz", "safetensors", "onnx", "csv", "parquet")
WHAT = ("policy", "trace", "results")


def export(
    run: SavedRun | Path | str, out: Path | str, *, to: str | None = None, what: str | None = None,
    best: bool = False, member: int | None = None,
) -> Path:  # fmt: skip
    """Write a run, or the results of a sweep, for other programs; the path.

    to:     npz, safetensors, onnx, csv or parquet; that of out's name if it is not said.
    what:   "policy" (of a run, unless said otherwise), "trace", or "results" (of a sweep).
    best:   the best policy that the run kept instead of its last.
    member: one of a batch, counted from 0; a network is always of one, the first unless it is said.
    """
    out, folder = Path(out), run.folder if isinstance(run, SavedRun) else Path(run)
    to = out.suffix.removeprefix(".") if to is None else to
    if to not in FORMATS:
        raise unknown("to", to, FORMATS)
    sweep = not isinstance(run, SavedRun) and (folder / "plan.json").is_file()
    what = what or ("results" if sweep else "policy")
    if what not in WHAT:
        raise unknown("what", what, WHAT)
    if sweep != (what == "results"):
        raise refuse("what", what, "results: it is a sweep" if sweep else "policy or trace: it is no sweep")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise refuse("out", str(out), "a file in a folder that is there")
    if what != "policy":
        if to not in ("csv", "parquet"):
            raise refuse("to", to, f"csv or parquet for {what}, which is a table")
        table = results_table(folder / "results.csv") if sweep else trace_table(_read(run).trace)
        write_table(out, table, to)
        return out
    saved = _read(run)
    policy = saved.best if best else saved.policy
    graph, chosen = _network(saved, policy, member)
    about = _about(saved, best, chosen)
    if to == "onnx" or (to == "safetensors" and graph is not None):
        if graph is None:
            wanted = "npz, safetensors, csv or parquet: the policy of this run is a table, and no network"
            raise refuse("to", to, wanted)
        if to == "onnx":
            write_onnx(out, graph, about)
        else:
            _write_safetensors(out, graph.weights, {**about, "network": graph.plain()})
        return out
    if isinstance(saved.game, Recorded):
        raise refuse("to", to, "safetensors or onnx: the policy of this run is a network, and no table")
    players = [_one(x, member) for x in labelled(saved, policy)]
    if to in ("csv", "parquet"):
        write_table(out, policy_table(players), to)
    elif to == "safetensors":
        tensors = {f"policy.{i}": x.values.contiguous().clone() for i, x in enumerate(players)}
        _write_safetensors(out, tensors, {**about, "players": [_said(x) for x in players]})
    else:
        _write_npz(out, players, about)
    return out


def _read(run: SavedRun | Path | str) -> SavedRun:
    return run if isinstance(run, SavedRun) else read_run(run)


def _about(run: SavedRun, best: bool, member: int | None) -> dict[str, Any]:
    parts = {name: {k: run.config[name].get(k) for k in ("id", "parameters")} for name in ("game", "solver")}
    found = {"format": "gamesim-policy-1", **parts, "which": "best" if best else "last", "member": member}
    if isinstance(run.game, Recorded):
        header = run.game.play.header
        found |= {key: header[key] for key in ("features", "kinds_of_entity", "actions")}
    return found


def _network(run: SavedRun, policy: Policy, member: int | None) -> tuple[Graph | None, int | None]:
    """The run's policy network, of one member of its batch; none where it has none."""
    if isinstance(run.game, Recorded):
        actor = run.solver.actor(run.game)
        front = len(front_of(policy, actor.network))
        weights = [x.flatten(0, front - 1) if front else x[None] for x in policy]
        at = _place(member, len(weights[0]))
        return graph_of_sets(run.game, actor, [x[at] for x in weights]), at
    crews = getattr(run.state, "crews", None)
    if crews is None:
        return None, member
    sizes = list(zip(run.game.observation_counts, run.game.action_counts, strict=True))
    players = [[i for i, x in enumerate(sizes) if x == size] for size in dict.fromkeys(sizes)]
    found, at = [], 0
    for those, crew in zip(players, crews, strict=True):
        flat = [x.reshape(-1, *x.shape[-3:]) for x in crew.actor.parameters]
        prior = crew.prior.reshape(-1, *crew.prior.shape[-3:])
        at = _place(member, len(flat[0]))
        found.append((those, [x[at] for x in flat], prior[at if len(prior) > 1 else 0]))
    return graph_of_players(found), at


def _place(member: int | None, count: int) -> int:
    at = 0 if member is None else member
    if not 0 <= at < count:
        raise refuse("member", at, f"one from 0 to {count - 1}" if count > 1 else "0: there is one")
    return at


def _one(player: Labelled, member: int | None) -> Labelled:
    """One member of a batch, without the batch's dimensions."""
    batch = [axis for axis in player.axes if axis in ("seed", "run") or axis.startswith("batch_")]
    if member is None or (not batch and member == 0):
        return player
    if not batch:
        raise refuse("member", member, "0: there is one")
    flat = player.values.flatten(0, len(batch) - 1)
    labels = {name: values for name, values in player.labels.items() if name not in batch}
    return Labelled(player.player, flat[_place(member, len(flat))], player.axes[len(batch) :], labels)


def _said(player: Labelled) -> dict[str, Any]:
    return {"player": player.player, "axes": list(player.axes), "labels": player.labels}


def _write_npz(path: Path, players: list[Labelled], about: dict[str, Any]) -> None:
    """policy.0, axes.0, labels.0.action, ...: numbers and text, so that no reader needs pickle."""
    arrays: dict[str, Any] = {"about": np.array(to_json(about)), "players": np.array([x.player for x in players])}
    for i, x in enumerate(players):
        arrays |= {f"policy.{i}": x.values.numpy(), f"axes.{i}": np.array(x.axes)}
        arrays |= {f"labels.{i}.{name}": np.array(values) for name, values in x.labels.items()}

    def write(spare: Path) -> None:
        with spare.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    write_with(path, write)


def _write_safetensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    whole = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    write_with(path, lambda spare: save_file(whole, spare, metadata={"gamesim": to_json(about)}))
