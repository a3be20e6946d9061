"""What sampled agents did, as data: their states, actions, rewards and next states, at known positions or unknown ones.

An episode is one trajectory of all agents, next_states[e, h, n] = states[e, h + 1, n]. The episodes of a game of the
continuum share one flow, so that at agent n it is estimated by their mean,

    flow[h, n, s] = (1 / E) sum_e 1{states[e, h, n] = s}.

Letters: e episode, h step, n agent, s state. Source of the sampling model: Zhang, Tan, Wang and Yang, "Learning
regularized graphon mean-field games with unknown graphons", arXiv 2310.17531.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import InvalidInput, missing_extra, refuse
from gamesim.files import write_with
from gamesim.parameters import convert

MOST = 10**6
"""States, or actions, that data may tell apart: numbers beyond it are names, and tables over them too large."""
FORMAT = "gamesim-agents-1"
"""What `save` writes into its files, so that a later form can be told apart."""

Index = slice | Sequence[int] | Sequence[bool] | np.ndarray[Any, Any] | Tensor | int


class BadEntry(InvalidInput):
    """One entry of data is refused; where it stands is kept for a reader who knows the line of the file."""

    def __init__(self, field: str, index: tuple[int, ...], value: float, wanted: str) -> None:
        self.field, self.index, self.wanted = field, index, wanted
        self.value = int(value) if float(value).is_integer() else float(value)
        super().__init__(str(refuse(f"{field}[{', '.join(map(str, index))}]", self.value, wanted)))


@dataclass(frozen=True, eq=False, repr=False)
class AgentData:
    """Trajectories of agents: tensors, NumPy arrays or lists of any type of number, on the device of `states`.

    Everything is checked here, once, and refused with the first bad index; nothing is repaired.

    >>> print(AgentData([[[0, 1]]], [[[1, 0]]], [[[0.5, -2.0]]], [[[1, 1]]], positions=[0.25, 0.75]))
    2 agents, 1 episode, 1 step, 2 states, 2 actions, positions known
    """

    states: Tensor
    """The state that each agent is in, numbered from 0: int32 [e, h, n]."""

    actions: Tensor
    """What it does there, numbered from 0: int32 [e, h, n]."""

    rewards: Tensor
    """What it gets for that: float64 [e, h, n]."""

    next_states: Tensor
    """The state that it comes to: int32 [e, h, n]."""

    positions: Tensor | None = None
    """Where in [0, 1] each agent stands: float64 [n]; none where that is unknown."""

    state_count: int | None = None
    """How many states there are: one more than the largest seen, where left out."""

    action_count: int | None = None
    """How many actions there are: one more than the largest seen, where left out."""

    state_names: tuple[str, ...] = ()
    """Names of all states, or none."""

    action_names: tuple[str, ...] = ()
    """Names of all actions, or none."""

    source: str = ""
    """Where the data came from: a game, or a file."""

    file: str = ""
    """The file that they were read from, if any."""

    sha256: str = ""
    """The hash of that file."""

    notes: tuple[str, ...] = ()
    """What a reader left out, each in a sentence with its count."""

    def __post_init__(self) -> None:
        given = {name: _numbers(getattr(self, name), name) for name in ("states", "actions", "rewards", "next_states")}
        shape, device = given["states"].shape, given["states"].device
        if len(shape) != 3 or 0 in shape:
            raise refuse("states", f"shape {list(shape)}", "[episodes, steps, agents], at least one of each: [e, h, n]")
        for name, part in given.items():
            if part.shape != shape:
                raise refuse(name, f"shape {list(part.shape)}", f"{list(shape)}, the shape of states: [e, h, n]")
        found: dict[str, Any] = {
            "state_names": require_names(self.state_names, "state_names"),
            "action_names": require_names(self.action_names, "action_names"),
            "rewards": given["rewards"].to(device, torch.float64),
            "source": " ".join(str(self.source).split()),
            "notes": tuple(map(str, self.notes)),
        }
        for what, fields in (("state", ("states", "next_states")), ("action", ("actions",))):
            names = found[f"{what}_names"]
            count = _count(getattr(self, f"{what}_count"), f"{what}_count", names)
            for name in fields:
                found[name] = _whole(given[name].to(device), name, count)
            found[f"{what}_count"] = count or 1 + max(int(found[name].max()) for name in fields)
        _require(found["rewards"].isfinite(), "rewards", found["rewards"], "a finite number")
        states, following = found["states"][:, 1:], found["next_states"][:, :-1]
        joined = states == following
        _require(
            joined,
            "next_states",
            following,
            lambda e, h, n: (
                f"{int(states[e, h, n])}, this agent's state at the next step "
                f"({int((~joined).sum())} of {joined.numel()} differ)"
            ),
        )
        if self.positions is not None:
            x = _numbers(self.positions, "positions").to(device, torch.float64)
            if x.shape != shape[2:]:
                raise refuse("positions", f"shape {list(x.shape)}", f"one for each of the {shape[2]} agents, or none")
            _require((x >= 0) & (x <= 1), "positions", x, "a position between 0 and 1")
            found["positions"] = x
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def episodes(self) -> int:
        return self.states.shape[0]

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return self.states.shape[1]

    @property
    def agents(self) -> int:
        return self.states.shape[2]

    def __len__(self) -> int:
        """Steps of single agents: episodes times horizon times agents."""
        return self.states.numel()

    @property
    def paths(self) -> Tensor:
        """States with the ones that the last step leads to: int32 [e, h + 1, n]."""
        return torch.cat([self.states, self.next_states[:, -1:]], 1)

    @cached_property
    def flow(self) -> Tensor:
        """The empirical law of the state of each agent at each step, over the episodes: float64 [h, n, s]."""
        states = self.state_count or 0
        if self.horizon * self.agents * states > 10**9:
            raise refuse("state_count", states, "fewer: a flow over steps, agents and states has at most 10^9 entries")
        place = torch.arange(self.horizon * self.agents, device=self.states.device).unflatten(0, (self.horizon, -1))
        visits = torch.bincount((place * states + self.states).flatten(), minlength=place.numel() * states)
        return visits.view(self.horizon, self.agents, states).double() / self.episodes

    @property
    def initial(self) -> Tensor:
        """The empirical law of the first state of each agent: float64 [n, s]."""
        return self.flow[0]

    def without_positions(self) -> "AgentData":
        """The same agents, as if nobody knew where they stand."""
        return replace(self, positions=None)

    def subset(self, episodes: Index | None = None, agents: Index | None = None) -> "AgentData":
        """Some episodes, some agents or both, by slice, mask or indices; these may repeat, as in a bootstrap."""
        e, n = indices_of(episodes, self.episodes, "episodes"), indices_of(agents, self.agents, "agents")
        e, n = e.to(self.states.device), n.to(self.states.device)
        parts = {name: getattr(self, name)[e][:, :, n] for name in ("states", "actions", "rewards", "next_states")}
        source = self.source if self.source.startswith("part of ") else f"part of {self.source or 'data'}"
        x = None if self.positions is None else self.positions[n]
        return replace(self, **parts, positions=x, source=source, file="", sha256="")

    def save(self, path: str | Path) -> Path:
        """Write the data to an .npz file, whole or not at all; `gamesim.formats.agents.read_agents` reads it back."""
        try:
            path = Path(path).expanduser()
            if path.suffix.lower() != ".npz":
                raise refuse("path", str(path), "a name that ends in .npz")
            write_with(path, self._write)
        except InvalidInput:
            raise
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise refuse("path", str(path), f"a file that can be written ({reason})") from None
        return path

    def _write(self, path: Path) -> None:
        def compact(x: Tensor) -> Any:
            return x.cpu().numpy().astype(np.min_scalar_type(int(x.max())))

        arrays = {
            "states": compact(self.paths),
            "actions": compact(self.actions),
            "rewards": self.rewards.cpu().numpy(),
            "state_count": np.array(self.state_count),
            "action_count": np.array(self.action_count),
            "state_names": np.array(self.state_names, dtype=np.str_),
            "action_names": np.array(self.action_names, dtype=np.str_),
            "source": np.array(self.source),
            "notes": np.array(self.notes, dtype=np.str_),
            "format": np.array(FORMAT),
        }
        if self.positions is not None:
            arrays["positions"] = self.positions.cpu().numpy()
        with path.open("wb") as file:  # a name would be given a second suffix
            np.savez_compressed(file, **arrays)

    def frame(self) -> Any:
        """A tidy pandas.DataFrame, a row for each step of each agent; its `to_csv` is a file that can be read back."""
        try:
            import pandas
        except ModuleNotFoundError:
            raise missing_extra("frame()", "pandas", "gamesim[data]") from None
        e, h, n = (i.ravel() for i in np.indices(self.states.shape, dtype=np.int32))
        columns = {"episode": e, "step": h, "agent": n}
        for name in ("states", "actions", "rewards", "next_states"):
            columns[name.removesuffix("s")] = getattr(self, name).cpu().numpy().ravel()
        if self.positions is not None:
            columns["position"] = self.positions.cpu().numpy()[n]
        return pandas.DataFrame(columns)

    def plain(self) -> dict[str, Any]:
        """What a run's configuration says about the data: `content` is a hash of them, however they are stored."""
        return {
            "source": self.source,
            **({"file": self.file, "sha256": self.sha256} if self.file else {}),
            "content": self.content,
            "agents": self.agents,
            "episodes": self.episodes,
            "horizon": self.horizon,
            "states": self.state_count,
            "actions": self.action_count,
            "positions": "unknown" if self.positions is None else "known",
        }

    @cached_property
    def content(self) -> str:
        """sha256 of the numbers: equal data have the same one, whatever game or file they came from."""
        digest = hashlib.sha256(f"{self.state_count} {self.action_count}".encode())
        for part, kind in ((self.paths, "<i4"), (self.actions, "<i4"), (self.rewards, "<f8"), (self.positions, "<f8")):
            if part is not None:
                digest.update(str(list(part.shape)).encode())
                digest.update(np.ascontiguousarray(part.cpu().numpy().astype(kind, copy=False)).data)
        return digest.hexdigest()

    def __str__(self) -> str:
        counts = {
            "agent": self.agents,
            "episode": self.episodes,
            "step": self.horizon,
            "state": self.state_count,
            "action": self.action_count,
        }
        words = [f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items()]
        return ", ".join([*words, f"positions {'unknown' if self.positions is None else 'known'}"])

    def __repr__(self) -> str:
        return f"AgentData({self})"


def _numbers(value: Any, field: str) -> Tensor:
    """A tensor of real numbers that PyTorch computes with, from a tensor, an array or nested lists."""
    wanted = "a rectangular array of numbers"
    if isinstance(value, Tensor):
        if value.is_complex() or value.is_quantized or value.layout != torch.strided:
            raise refuse(field, f"{value.dtype}, {value.layout}", wanted)
        if value.is_floating_point():
            return value.detach().double()
        return value.detach() if value.dtype in (torch.int32, torch.int64) else value.detach().long()
    try:
        array = np.asarray(value)
        kind = array.dtype.kind
        if kind not in "biuf":
            raise TypeError(f"these are of type {array.dtype}")
        if kind == "u" and array.size and int(array.max()) > 2**63 - 1:
            raise TypeError(f"{array.max()} is too large")
        whole = np.int32 if np.can_cast(array.dtype, np.int32) else np.int64
        return torch.from_numpy(np.array(array, dtype=np.float64 if kind == "f" else whole, order="C"))
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        words = " ".join(str(error).split())[:120]
        raise refuse(field, type(value).__name__, f"{wanted} ({words})") from None


def _whole(part: Tensor, field: str, count: int | None) -> Tensor:
    """Numbers of states or actions as int32, below `count`."""
    fine = (part >= 0) & (part < (count or MOST))
    if part.is_floating_point():
        fine &= part == part.floor()
    _require(fine, field, part, "a whole number from 0" + (f" to {count - 1}" if count else f", below {MOST:,}"))
    return part.to(torch.int32)


def _require(fine: Tensor, field: str, values: Tensor, wanted: str | Callable[..., str]) -> None:
    """Refuse the first entry that is not fine; `wanted` is words, or finds them from the index."""
    if not bool(fine.all()):
        index = tuple(int(i) for i in (~fine).nonzero()[0])
        raise BadEntry(field, index, values[index].item(), wanted if isinstance(wanted, str) else wanted(*index))


def require_names(value: Any, field: str) -> tuple[str, ...]:
    """Different names in printable letters, any number of them."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise refuse(field, value, "a list of names")
    names = tuple(value)
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise refuse(f"{field}[{i}]", name, "a name in printable letters")
    if len(set(names)) != len(names):
        raise refuse(field, next(name for name in names if names.count(name) > 1), "different names")
    return tuple(map(str, names))


def _count(value: Any, field: str, names: tuple[str, ...]) -> int | None:
    """A number of states or actions, given or counted from the names, or None."""
    if value is None:
        return len(names) or None
    count: int = convert(value, int, field)
    if not 1 <= count <= MOST:
        raise refuse(field, value, f"a whole number from 1 to {MOST:,}")
    if names and len(names) != count:
        raise refuse(field, count, f"{len(names)}, as there are names")
    return count


def indices_of(value: Any, size: int, field: str) -> Tensor:
    """Indices below `size`, at least one."""
    value = slice(None) if value is None else value.cpu().numpy() if isinstance(value, Tensor) else value
    try:
        chosen = np.arange(size)[list(value) if isinstance(value, tuple) else value]
    except (IndexError, TypeError, ValueError):
        chosen = np.zeros((0,), dtype=np.int64)
    if isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_):
        chosen = chosen.reshape(-1)
    if chosen.ndim != 1 or not len(chosen):
        raise refuse(field, value, f"a slice or indices from 0 to {size - 1}, or a mask of {size}; at least one")
    return torch.from_numpy(np.ascontiguousarray(chosen))
