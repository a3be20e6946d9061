"""Transitions of sets from other people's .npz files: plain arrays of episodes, or of transitions one after another.

    of episodes      observations [e, h or h + 1, entity, d], actions [e, h, n] or [e, h, n, size], rewards [e, h, n]
    of transitions   observations [k, entity, d], actions [k, n] or [k, n, size], rewards [k, n]
    packed           tokens [row, d], offsets [states + 1], agents [k], episode [k], actions, rewards: as `SetData` has
                     them, the states of an episode in their order and its last one behind them

Read as well where they are there: next_observations, as observations; terminated (or dones), truncated (or timeouts),
[e, h] or [k], or one for each agent; lengths [e]; seeds [e]; types [entity], or [row] in packed data. A reward of the
team, [e, h] or [k], is given to each of its agents. Usual other names are understood; other arrays are left out.

Of the entities the first n act, as many as there are actions. Transitions are cut into episodes where one is over, or
by `steps`. Whatever had to be derived stands in the notes of the header with its count. Files are read as data only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.data import SetData, make_header
from gamesim.data.archives import declared, of_file, open_archive, read_array
from gamesim.errors import InvalidInput, refuse
from gamesim.formats.set_steps import Steps, told_flags

NAMES = {
    "observations": ("observation", "obs", "tokens", "token", "states", "state"),
    "next_observations": ("next_observation", "next_obs", "next_tokens", "next_states", "next_state"),
    "actions": ("action", "acts", "acs"),
    "rewards": ("reward", "rews"),
    "terminated": ("terminateds", "terminations", "termination", "terminals", "terminal", "dones", "done"),
    "truncated": ("truncateds", "truncations", "truncation", "timeouts", "timeout"),
    "lengths": ("length", "episode_lengths"),
    "seeds": ("seed",),
    "types": ("type", "kinds"),
    "offsets": ("cu_seqlens",),
    "agents": (),
    "episode": ("episodes",),
}
"""What arrays are called here, and elsewhere."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Meaning:
    """What arrays do not say about themselves."""

    world: Mapping[str, Any] = field(default_factory=lambda: {"id": "unknown", "parameters": {}})
    """Where they were recorded, as a header has it."""
    behaviour: str = "unknown"
    kinds_of_entity: Sequence[str] = ("agent", "other")
    types: Sequence[int] | None = None
    """The kind of each entity; none for 0 of those that act, and 1 of the others."""
    features: Sequence[str] | None = None
    """Names of the numbers of a token; none for feature_0, ..."""
    actions: Sequence[Any] | None = None
    """["discrete", 5] or ["continuous", 2]; none for moves where they are whole numbers, else forces in [-1, 1]."""


def read_sets(path: str | Path, meaning: Meaning | None = None, steps: int | None = None) -> SetData:
    """The data in a file of one of the forms above; a file of `SetData.save` is read as it is.

    `steps` cuts transitions into episodes. Raises InvalidInput in one line: the file, the array, what would be right.
    """
    source = " ".join(str(path).split())
    try:
        with open_archive(path) as archive:
            found = declared(archive)
            if "header" in found:
                return SetData.load(path)
            known = {other: name for name, others in NAMES.items() for other in (name, *others)}
            called, notes = dict[str, str](), list[str]()
            for name in found:
                meant = known.get(name.strip().lower())
                if meant is None:
                    notes.append(f"array left out: {name}")
                elif meant in called:
                    raise refuse(name, f"{called[meant]} and {name}", f"one of them: both are {meant}")
                else:
                    called[meant] = name
            arrays = {meant: read_array(archive, name) for meant, name in called.items()}
        return sets_from_arrays(arrays, meaning or Meaning(), called=called, notes=notes, steps=steps)
    except InvalidInput as error:
        raise of_file(source, error) from None


def sets_from_arrays(
    arrays: Mapping[str, Array],
    meaning: Meaning,
    *,
    called: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    steps: int | None = None,
) -> SetData:
    """Data from arrays by the names above; `called` is what each is called where it came from."""
    called, said = {name: name for name in arrays} | dict(called or {}), list(notes)
    for name in ("observations", "actions", "rewards"):
        if name not in arrays:
            listed = ", ".join(list(called.values())[:12]) or "nothing"
            raise refuse(name, f"no such array (here: {listed})", f"{name}, or {', '.join(NAMES[name])}")
    if "offsets" in arrays:
        return _packed(arrays, meaning, called, said)
    played = Steps.of(arrays, called, said, steps)
    (k, entities, d), n = played.before.shape, played.actions.shape[1]
    if n > entities:
        raise refuse(called["actions"], f"{n} agents", f"at most {entities}, the entities of {called['observations']}")
    ends = np.flatnonzero(played.ends)
    number = np.arange(k) + played.episode
    states = np.empty((k + len(ends), entities, d), dtype=np.float32)
    states[number], states[number[ends] + 1] = played.before, played.after[ends]
    given = arrays.get("types", meaning.types)
    kinds = np.asarray([0] * n + [1] * (entities - n) if given is None else given)
    if kinds.shape != (entities,):
        raise refuse(
            called.get("types", "types"), f"shape {list(kinds.shape)}", f"[{entities}], a kind for each entity"
        )
    return _made(
        arrays,
        meaning,
        said,
        tokens=states.reshape(-1, d),
        types=np.tile(kinds, len(states)),
        offsets=np.arange(len(states) + 1) * entities,
        agents=np.full(k, n),
        actions=played.actions.reshape(k * n, *played.actions.shape[2:]),
        rewards=played.rewards.reshape(-1),
        terminated=played.terminated,
        truncated=played.truncated,
        episode=played.episode,
    )


def _packed(arrays: Mapping[str, Array], meaning: Meaning, called: Mapping[str, str], notes: list[str]) -> SetData:
    """Tokens [row, d] under offsets."""
    for name in ("agents", "episode"):
        if name not in arrays or arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu":
            raise refuse(name, "no whole numbers [k]", f"{name} [k]: packed data need offsets, agents and episode")
    agents, given = arrays["agents"], arrays["episode"]
    k, tokens, offsets = len(agents), arrays["observations"], arrays["offsets"]
    if not k or given.shape != (k,):
        raise refuse("episode", f"shape {list(given.shape)}", f"[{max(k, 1)}], as agents has")
    ends = np.append(np.diff(given) != 0, True)
    episode = np.append(0, ends[:-1].cumsum())
    states = k + int(ends.sum())
    if tokens.ndim != 2 or offsets.shape != (states + 1,) or offsets.dtype.kind not in "iu":
        shapes = f"{list(offsets.shape)}, and {called['observations']} {list(tokens.shape)}"
        wanted = "a state before each transition, and one at the end of each episode"
        raise refuse(called["offsets"], shapes, f"whole numbers [{states + 1}] and [row, d]: {wanted}")
    flags = told_flags(arrays, (k, 1), called, ends, notes)
    kinds = arrays.get("types")
    if kinds is None:
        sizes: Array = np.diff(offsets.astype(np.int64)).astype(np.int64)
        if (sizes < 1).any() or int(offsets[-1]) != len(tokens) or int(offsets[0]) != 0:
            raise refuse(called["offsets"], "numbers that fall or end elsewhere", f"rising ones, 0 to {len(tokens)}")
        acting = np.empty(states, dtype=np.int64)
        acting[np.arange(k) + episode] = agents
        acting[np.flatnonzero(ends) + 1 + np.arange(states - k)] = agents[ends]
        place = np.arange(len(tokens)) - np.repeat(offsets[:-1].astype(np.int64), sizes)
        kinds = place >= np.repeat(acting, sizes)
        notes.append("no types: the entities of a state that act are of the first kind, all others of the second")
    return _made(
        arrays,
        meaning,
        notes,
        tokens=tokens,
        types=kinds,
        offsets=offsets,
        agents=agents,
        actions=arrays["actions"],
        rewards=arrays["rewards"],
        terminated=flags[0],
        truncated=flags[1],
        episode=episode,
    )


def _made(arrays: Mapping[str, Array], meaning: Meaning, notes: list[str], **parts: Any) -> SetData:
    """Data whose states follow one another in their order."""
    episode, acts, d = parts["episode"], parts["actions"], parts["tokens"].shape[-1]
    episodes, before = int(episode[-1]) + 1, np.arange(len(episode)) + episode
    begins = np.flatnonzero(np.append(True, np.diff(episode) != 0))
    if meaning.actions is not None:
        actions = list(meaning.actions)
    elif acts.dtype.kind in "iub" or acts.ndim == 1:
        highest = float(acts.max(initial=1))
        actions = ["discrete", 1 + int(min(max(highest, 1), 255)) if np.isfinite(highest) else 256]
        notes.append(f"the moves are taken to be 0 to {actions[1] - 1}, as seen in the data")
    else:
        actions = ["continuous", acts.shape[-1]]
    header = make_header(
        worlds=[meaning.world],
        behaviours=[meaning.behaviour],
        kinds_of_entity=meaning.kinds_of_entity,
        features=meaning.features or [f"feature_{i}" for i in range(d)],
        actions=actions,
        notes=notes,
    )
    zeros = np.zeros(episodes, dtype=np.int64)
    derived: dict[str, Any] = {
        "before": before,
        "after": before + 1,
        "time": np.arange(len(episode)) - begins[episode],
        "seed": arrays.get("seeds", zeros - 1),
        "behaviour": zeros,
        "world": zeros,
    }
    return SetData(**parts, **derived, header=header)
