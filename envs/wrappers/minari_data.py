"""Datasets of sets as datasets of Minari, and back: Box(entity, d), one action of each agent, rewards [t, n].

    write_minari(data, "spread-minari");   minari.MinariDataset("spread-minari/data")

Minari keeps one shape for a whole dataset, so that there is one number of agents in each. The header of the data goes
along, gamesim.json beside Minari's own folder.
"""

import importlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.data import SetData
from gamesim.data.archives import of_file
from gamesim.errors import InvalidInput, missing_extra, refuse
from gamesim.formats.joint import joint_arrays, read_side, with_side, write_side
from gamesim.formats.set_arrays import Meaning, sets_from_arrays


def write_minari(data: SetData, folder: str | Path, dataset_id: str = "") -> Path:
    """Write a dataset of Minari into a new folder; its id is `gamesim/<folder>-v0` unless said."""
    minari, spaces = _minari()
    path = Path(folder).expanduser()
    if path.exists():
        raise refuse("out", str(path), "a folder that is not there yet")
    joint = joint_arrays(data)
    (_, entities, d), n = joint["before"].shape, joint["rewards"].shape[1]
    kind, count = data.header["actions"]
    if kind == "discrete":
        acting: Any = spaces.MultiDiscrete([count] * n)
        actions = joint["actions"].astype(np.int64)
    else:
        acting, actions = spaces.Box(-1.0, 1.0, (n, count), np.float32), joint["actions"]
    seen = spaces.Box(-np.inf, np.inf, (entities, d), np.float32)
    offsets = data.episode_offsets.tolist()
    buffers = []
    for e, (begin, end) in enumerate(pairwise(offsets)):  # Minari keeps them one by one
        part = slice(begin, end)
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                id=e,
                seed=int(data.seed[e]),
                observations=np.concatenate([joint["before"][part], joint["after"][end - 1 : end]]),
                actions=actions[part],
                rewards=joint["rewards"][part],
                terminations=joint["terminated"][part],
                truncations=joint["truncated"][part],
            )
        )
    name = dataset_id or f"gamesim/{''.join(c if c.isalnum() else '_' for c in path.name)}-v0"
    known = data.header["references"].get("0", {})
    with _root(path) as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like an author, a link and an environment of gymnasium
        minari.create_dataset_from_buffers(
            dataset_id=name,
            buffer=buffers,
            action_space=acting,
            observation_space=seen,
            algorithm_name=", ".join(data.header["behaviours"]),
            ref_min_score=known.get("random"),
            ref_max_score=known.get("expert"),
            description=json.dumps({key: data.header[key] for key in ("worlds", "kinds_of_entity", "features")}),
        )
        made = root / name
        write_side(data, made)
        os.replace(made, path)
    return path


def read_minari(folder: str | Path, meaning: Meaning | None = None) -> SetData:
    """Data from a folder of Minari, one that `write_minari` made or any with observations [t, entity, d]."""
    minari, spaces = _minari()
    path, source = Path(folder).expanduser(), " ".join(str(folder).split())
    inner = path / "data" if (path / "data").is_dir() else path
    try:
        dataset = minari.MinariDataset(inner)
        episodes = list(dataset.iterate_episodes())
    except Exception as error:  # h5py and Minari raise what they like on a broken folder
        words = " ".join(str(error).split())[:160]
        raise refuse("data", source, f"a dataset of Minari ({type(error).__name__}: {words})") from None
    try:
        side, space, given = read_side(path), dataset.action_space, meaning or Meaning()
        if side and meaning is None:  # a world that is given knows these itself
            told = {name: side["header"][name] for name in ("kinds_of_entity", "features", "actions")}
            given = Meaning(types=side["types"], **told)
        if not isinstance(space, spaces.MultiDiscrete | spaces.Box) or not isinstance(
            dataset.observation_space, spaces.Box
        ):
            wanted = "observations in Box(entity, d), actions in MultiDiscrete or Box"
            raise refuse("spaces", f"{dataset.observation_space} and {space}", wanted)
        arrays = {
            "observations": np.concatenate([e.observations[:-1] for e in episodes]),
            "next_observations": np.concatenate([e.observations[1:] for e in episodes]),
            "actions": np.concatenate([e.actions for e in episodes]),
            "rewards": np.concatenate([e.rewards for e in episodes]),
            "terminated": np.concatenate([e.terminations for e in episodes]),
            "truncated": np.concatenate([e.truncations for e in episodes]),
        }
        data = sets_from_arrays(arrays, given)
        return data if side is None or given.behaviour != "unknown" else with_side(data, side, meaning is None)
    except InvalidInput as error:
        raise of_file(source, error) from None


@contextmanager
def _root(path: Path) -> Iterator[Path]:
    """A folder beside the wanted one where Minari keeps its datasets for a moment."""
    root = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    try:
        yield root
    finally:
        os.environ.pop("MINARI_DATASETS_PATH")
        if before is not None:
            os.environ["MINARI_DATASETS_PATH"] = before
        shutil.rmtree(root, ignore_errors=True)


def _minari() -> tuple[Any, Any]:
    try:
        from gymnasium import spaces

        minari = importlib.import_module("minari")
        importlib.import_module("minari.data_collector")
    except ImportError:
        raise missing_extra("data of Minari", "minari with HDF5", "gamesim[minari]") from None
    return minari, spaces
