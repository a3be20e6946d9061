"""Folders of arrays for each agent, as the public datasets of OMAR (Pan et al., ICML 2022) have them.

    obs_0.npy  acs_0.npy  rews_0.npy  next_obs_0.npy  dones_0.npy        of agent 0, and so on: [k, d], [k, a], [k], ...

Moves are one-hot. `dones` is where an episode ended by itself, and 0 where it was cut off; OMAR's own are 0 everywhere,
and an episode there is 25 steps. So that nobody has to know that, two files more are written: truncated_0.npy, ..., and
the header of the dataset, gamesim.json.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.data import SetData
from gamesim.data.archives import of_file
from gamesim.errors import InvalidInput, refuse
from gamesim.formats.joint import as_vectors, joint_arrays, read_side, with_side, write_side
from gamesim.formats.set_arrays import Meaning, sets_from_arrays

FILES = ("obs", "acs", "rews", "next_obs", "dones")
MOST_AGENTS = 10_000
"""Agents that a folder is searched for."""

Array = np.ndarray[Any, Any]
Observe = Callable[[Array], Sequence[Array]]
"""From states [k, entity, d] to what each agent sees, [k, o] of each."""


def own_first(tokens: Array, agents: int) -> list[Array]:
    """All tokens of a state in a row, the agent's own first: what an agent sees where nobody says otherwise."""
    return [
        np.concatenate([tokens[:, i : i + 1], np.delete(tokens, i, 1)], 1).reshape(len(tokens), -1)
        for i in range(agents)
    ]


def write_omar(data: SetData, folder: str | Path, observe: Observe | None = None) -> Path:
    """Write a folder for one number of agents, whole or not at all; `observe` makes observations of states."""
    path = Path(folder).expanduser()
    if path.exists():
        raise refuse("out", str(path), "a folder that is not there yet")
    joint = joint_arrays(data)
    n = joint["rewards"].shape[1]
    see: Observe = observe or (lambda tokens: own_first(tokens, n))
    before, after = see(joint["before"]), see(joint["after"])
    acts = as_vectors(joint["actions"], data.header["actions"][1])
    try:
        spare = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise refuse("out", str(path), f"a folder that can be written ({error.strerror or error})") from None
    try:
        for i in range(n):
            arrays = {
                "obs": before[i],
                "acs": acts[:, i],
                "rews": joint["rewards"][:, i],
                "next_obs": after[i],
                "dones": joint["terminated"].astype(np.float32),
                "truncated": joint["truncated"].astype(np.float32),
            }
            for name, array in arrays.items():
                np.save(spare / f"{name}_{i}.npy", np.ascontiguousarray(array))
        write_side(data, spare)
        spare.chmod(0o755)
        os.replace(spare, path)
    finally:
        shutil.rmtree(spare, ignore_errors=True)
    return path


def read_omar(folder: str | Path, meaning: Meaning | None = None, steps: int | None = None) -> SetData:
    """The data in a folder, observations as tokens; `steps` is the length of an episode, 25 in OMAR's own."""
    path = Path(folder).expanduser()
    source = " ".join(str(folder).split())
    if not path.is_dir():
        raise refuse("data", source, "a folder with obs_0.npy, acs_0.npy, rews_0.npy, next_obs_0.npy and dones_0.npy")
    agents = next((i for i in range(MOST_AGENTS) if not (path / f"obs_{i}.npy").is_file()), MOST_AGENTS)
    if not agents:
        raise refuse("data", source, "a folder with obs_0.npy, acs_0.npy, ... in it")
    try:
        arrays = {name: _stacked(path, name, agents) for name in FILES}
        if (path / "truncated_0.npy").is_file():
            arrays["truncated"] = _stacked(path, "truncated", agents)
        side, given, acts = read_side(path), meaning or Meaning(), arrays["acs"]
        kind, count = given.actions or (side["header"]["actions"] if side else _guessed(acts))
        if kind == "discrete" and acts.ndim == 3:
            acts = _moves(acts, int(count))
        names = {
            "observations": "obs",
            "next_observations": "next_obs",
            "actions": "acs",
            "rewards": "rews",
            "terminated": "dones",
        }
        names |= {"truncated": "truncated"} if "truncated" in arrays else {}
        found = {name: arrays[file] for name, file in names.items()} | {"actions": acts}
        given = replace(given, actions=[kind, count])
        data = sets_from_arrays(found, given, called=names, steps=steps)
        return data if side is None or given.behaviour != "unknown" else with_side(data, side, meaning is None)
    except InvalidInput as error:
        raise of_file(source, error) from None


def _stacked(path: Path, name: str, agents: int) -> Array:
    """One array of all agents, [k, n, ...]."""
    parts = list[Array]()
    for i in range(agents):
        file = path / f"{name}_{i}.npy"
        try:
            part = np.load(file, mmap_mode="r", allow_pickle=False)  # nothing is allocated before shapes are compared
        except Exception as error:  # numpy raises what it likes on a broken file
            words = " ".join(str(error).split())[:120]
            raise refuse(file.name, "no array", f"an .npy of plain numbers ({type(error).__name__}: {words})") from None
        if part.dtype.kind not in "biuf" or part.ndim not in (1, 2):
            raise refuse(file.name, f"{part.dtype} of shape {list(part.shape)}", "plain numbers [k] or [k, d]")
        if parts and part.shape != parts[0].shape:
            wanted = f"{list(parts[0].shape)}, as {name}_0.npy: agents that see the same things"
            raise refuse(file.name, f"shape {list(part.shape)}", wanted)
        parts.append(part)
    found: Array = np.stack(parts, 1)
    scalar = name in ("rews", "dones", "truncated") and found.ndim == 3 and found.shape[-1] == 1
    return found[..., 0] if scalar else found


def _guessed(acts: Array) -> list[Any]:
    if acts.ndim == 2:
        return ["discrete", int(acts.max(initial=1)) + 1]
    one_hot = acts.shape[-1] > 1 and bool((((acts == 0) | (acts == 1)).all(-1) & (acts.sum(-1) == 1)).all())
    return ["discrete" if one_hot else "continuous", acts.shape[-1]]


def _moves(acts: Array, count: int) -> Array:
    fine = ((acts == 0) | (acts == 1)).all(-1) & (acts.sum(-1) == 1)
    if acts.shape[-1] != count or not fine.all():
        at = np.argwhere(~fine)[0].tolist() if not fine.all() else [0, 0]
        raise refuse(f"acs_{at[1]}.npy[{at[0]}]", acts[tuple(at)].tolist(), f"a one-hot vector of {count} moves")
    found: Array = acts.argmax(-1).astype(np.uint8)
    return found
