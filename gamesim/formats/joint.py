"""Datasets of sets as the arrays of libraries that know neither sets nor several numbers of agents at once.

`joint_arrays` gives rectangular arrays of one number of agents. `write_d3rlpy` writes those that d3rlpy's MDPDataset
takes: the whole team as one agent, with joint observations, joint actions (one-hot where they are moves) and the mean
reward,

    d = numpy.load(file);  MDPDataset(d["observations"], d["actions"], d["rewards"], d["terminals"], d["timeouts"])

What a foreign form has no place for goes into a file beside it, gamesim.json: `write_side` and `with_side`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.data import SetData
from gamesim.data.headers import checked_header
from gamesim.errors import refuse
from gamesim.files import read_json, to_json, write_with

SIDE, SIDE_LIMIT = "gamesim.json", 2 * 10**8
"""A file for what does not fit, and its bytes at most."""
OF_EPISODES = ("seed", "behaviour", "world")

Array = np.ndarray[Any, Any]


def joint_arrays(data: SetData) -> dict[str, Array]:
    """before and after [k, entity, d], actions [k, n] or [k, n, size], rewards [k, n], terminated, truncated [k]."""
    agents, entities = int(data.agents[0]), int(data.entities[0])
    if bool((data.agents != agents).any()) or bool((data.entities != entities).any()):
        found = ", ".join(f"{n} agents in {k:,} transitions" for n, k in data.plain()["transitions_by_agents"].items())
        raise refuse("agents", found, "one number of agents and of entities in this form; select them (--agents)")
    tokens = data.tokens.view(-1, entities, data.tokens.shape[-1])
    return {
        "before": tokens[data.before].cpu().numpy(),
        "after": tokens[data.after].cpu().numpy(),
        "actions": data.actions.reshape(len(data), agents, *data.actions.shape[1:]).cpu().numpy(),
        "rewards": data.rewards.view(len(data), agents).cpu().numpy(),
        "terminated": data.terminated.cpu().numpy(),
        "truncated": data.truncated.cpu().numpy(),
    }


def as_vectors(actions: Array, count: int) -> Array:
    """Moves [...] as one-hot vectors [..., count]; forces stay as they are."""
    return actions if actions.dtype.kind == "f" else np.eye(count, dtype=np.float32)[actions]


def write_d3rlpy(data: SetData, path: str | Path) -> Path:
    """Write observations [k, entity * d], actions, rewards, terminals and timeouts [k] to an .npz."""
    path = Path(path).expanduser()
    if path.suffix.lower() != ".npz":
        raise refuse("out", str(path), "a file that ends in .npz")
    joint = joint_arrays(data)
    count = len(data)
    arrays = {
        "observations": joint["before"].reshape(count, -1),
        "actions": as_vectors(joint["actions"], data.header["actions"][1]).reshape(count, -1),
        "rewards": joint["rewards"].mean(-1),
        "terminals": joint["terminated"].astype(np.float32),
        "timeouts": joint["truncated"].astype(np.float32),
    }

    def write(spare: Path) -> None:
        with spare.open("wb") as file:
            np.savez(file, **arrays)

    write_with(path, write)
    return path


def write_side(data: SetData, folder: Path) -> None:
    """The header, the kinds of entities, and the seed, behaviour and world of each episode, as gamesim.json."""
    side = {
        "header": data.header,
        "types": data.types[: int(data.entities[0])].tolist(),
        "episodes": {name: getattr(data, name).tolist() for name in OF_EPISODES},
    }
    (folder / SIDE).write_text(to_json(side) + "\n", encoding="utf-8")


def read_side(folder: Path) -> dict[str, Any] | None:
    """What `write_side` wrote into a folder, if it did."""
    file = folder / SIDE
    if not file.is_file():
        return None
    if file.stat().st_size > SIDE_LIMIT:
        raise refuse(SIDE, f"{file.stat().st_size / 1e6:.0f} MB", f"at most {SIDE_LIMIT / 1e6:.0f} MB")
    side = read_json(file)
    if not isinstance(side, dict) or not isinstance(side.get("episodes"), dict):
        raise refuse(SIDE, type(side).__name__, "an object of JSON with header, types and episodes")
    return {**side, "types": side.get("types"), "header": checked_header(side.get("header"))}


def with_side(data: SetData, side: dict[str, Any], worlds: bool = True) -> SetData:
    """The data with the behaviours and seeds that stand beside them, and worlds and references unless given."""
    known = ["behaviours", "versions", *(["worlds", "references"] if worlds else [])]
    header = data.header | {name: side["header"][name] for name in known}
    header["notes"] = [*side["header"]["notes"], *data.header["notes"]]
    of = {name: side["episodes"].get(name) for name in OF_EPISODES if worlds or name != "world"}
    return replace(data, header=header, **of)
