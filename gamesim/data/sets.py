"""Transitions of sets of agents, for any number of agents at once: tokens one after another, nothing padded.

A state i is the rows offsets[i] to offsets[i + 1] of `tokens`, those that act first. A transition k leads from state
before[k] to after[k]; the next one begins where it ended, so that no state is stored twice. What the agents did in it
are `agents[k]` rows of `actions` and `rewards`, one transition after another.

Letters: state i, row of a token, transition k, episode e, d features. A return is the mean over agents of the
undiscounted return of an episode.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.data import archives
from gamesim.data.agents import Index, indices_of
from gamesim.data.headers import Header, checked_header, merged
from gamesim.data.ragged import gather_pieces
from gamesim.data.set_checks import checked_parts
from gamesim.errors import refuse, unknown

PARTS = {
    "tokens": torch.float32,
    "types": torch.uint8,
    "offsets": torch.int64,
    "before": torch.int64,
    "after": torch.int64,
    "agents": torch.int64,
    "actions": None,  # uint8 or float32, as the header says
    "rewards": torch.float32,
    "terminated": torch.bool,
    "truncated": torch.bool,
    "episode": torch.int64,
    "time": torch.int64,
    "seed": torch.int64,
    "behaviour": torch.uint8,
    "world": torch.uint8,
}
"""The tensors of a dataset and their types."""


@dataclass(frozen=True, eq=False, repr=False)
class SetData:
    """Transitions of sets of agents: tensors, NumPy arrays or lists, on the device of `tokens`.

    Everything is checked here, once, and refused with the first bad index; nothing is repaired.
    """

    tokens: Tensor
    """All entities of all states, float32 [row, d]."""
    types: Tensor
    """The kind of each, a place in header["kinds_of_entity"]: uint8 [row]."""
    offsets: Tensor
    """Where each state begins and the last one ends: int64 [states + 1]."""
    before: Tensor
    """The state that a transition begins in: int64 [n]."""
    after: Tensor
    """The state that it leads to: int64 [n]."""
    agents: Tensor
    """How many entities act in it, the first ones of its state: int64 [n]."""
    actions: Tensor
    """What they do, one after another: uint8 [agents.sum()], or float32 [agents.sum(), size] in [-1, 1]."""
    rewards: Tensor
    """What each of them gets: float32 [agents.sum()]."""
    terminated: Tensor
    """The episode ended here, and nothing is worth anything after: bool [n]."""
    truncated: Tensor
    """The episode was cut off here, and its end state has a value: bool [n]."""
    episode: Tensor
    """From 0 on, without gaps and in order: int64 [n]."""
    time: Tensor
    """Steps since the episode began: int64 [n]."""
    seed: Tensor
    """What an episode was drawn from: int64 [e]."""
    behaviour: Tensor
    """Who acted in it, a place in header["behaviours"]: uint8 [e]."""
    world: Tensor
    """Where, a place in header["worlds"]: uint8 [e]."""
    header: Header
    """What all that means; see `gamesim.data.headers`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", checked_header(self.header))
        found = checked_parts({name: getattr(self, name) for name in PARTS}, PARTS, self.header)
        for name, part in found.items():
            object.__setattr__(self, name, part)

    # --- sizes -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Transitions."""
        return len(self.before)

    @property
    def sizes(self) -> Tensor:
        """How many agents act in each transition: int64 [n], the same as `agents`."""
        return self.agents

    @cached_property
    def entities(self) -> Tensor:
        """Rows of each state: int64 [states]."""
        return self.offsets.diff()

    @property
    def episodes(self) -> int:
        return len(self.seed)

    @property
    def states(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def agent_offsets(self) -> Tensor:
        """Where the rows of each transition in `actions` and `rewards` begin: int64 [n + 1]."""
        return torch.cat([self.agents.new_zeros(1), self.agents.cumsum(0)])

    @cached_property
    def episode_offsets(self) -> Tensor:
        """Where the transitions of each episode begin: int64 [e + 1]."""
        lengths = torch.bincount(self.episode, minlength=self.episodes)
        return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

    @property
    def starts(self) -> Tensor:
        """The first state of each episode: int64 [e]."""
        return self.before[self.episode_offsets[:-1]]

    # --- rows --------------------------------------------------------------------------------------------------------

    def rows_of(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of tokens of states, int64 [b], one state after another: rows [r] and offsets [b + 1]."""
        return gather_pieces(self.offsets[states], self.entities[states])

    def acts_of(self, transitions: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of actions and rewards of transitions, int64 [b]: rows [r] and offsets [b + 1]."""
        return gather_pieces(self.agent_offsets[transitions], self.agents[transitions])

    # --- returns -----------------------------------------------------------------------------------------------------

    @cached_property
    def team_rewards(self) -> Tensor:
        """The mean reward over the agents of each transition: float64 [n]."""
        even = int(self.agents[0]) if bool((self.agents == self.agents[0]).all()) else 0
        if even:
            return self.rewards.double().view(-1, even).mean(-1)
        owners = torch.repeat_interleave(torch.arange(len(self), device=self.agents.device), self.agents)
        return (
            torch.zeros_like(self.agents, dtype=torch.float64).index_add(0, owners, self.rewards.double()) / self.agents
        )

    @cached_property
    def returns(self) -> Tensor:
        """The undiscounted return of each episode, mean over agents: float64 [e]."""
        return torch.zeros_like(self.seed, dtype=torch.float64).index_add(0, self.episode, self.team_rewards)

    @cached_property
    def scores(self) -> Tensor:
        """Returns on the scale of their world, 0 the random policy's and 100 the expert's: float64 [e]; NaN without."""
        table = torch.full((len(self.header["worlds"]), 2), torch.nan, dtype=torch.float64, device=self.tokens.device)
        for world, known in self.header["references"].items():
            if known.keys() >= {"random", "expert"} and known["random"] != known["expert"]:
                table[int(world)] = torch.tensor([known["random"], known["expert"]], dtype=torch.float64)
        random, expert = table[self.world.long()].unbind(-1)
        return 100 * (self.returns - random) / (expert - random)

    # --- parts and wholes --------------------------------------------------------------------------------------------

    def select(self, episodes: Index) -> "SetData":
        """Some episodes, by slice, mask or indices; these may repeat, as in a bootstrap."""
        e = indices_of(episodes, self.episodes, "episodes").to(self.seed.device)
        lengths = self.episode_offsets.diff()[e]
        k, ends = gather_pieces(self.episode_offsets[e], lengths)
        states = torch.cat([self.before[k], self.after[k]]).unique()
        place = self.offsets.new_zeros(self.states).index_copy(
            0, states, torch.arange(len(states), device=states.device)
        )
        rows, offsets = self.rows_of(states)
        acts, _ = self.acts_of(k)
        number = torch.repeat_interleave(torch.arange(len(e), device=e.device), lengths, output_size=int(ends[-1]))
        return replace(
            self,
            tokens=self.tokens[rows],
            types=self.types[rows],
            offsets=offsets,
            before=place[self.before[k]],
            after=place[self.after[k]],
            agents=self.agents[k],
            actions=self.actions[acts],
            rewards=self.rewards[acts],
            terminated=self.terminated[k],
            truncated=self.truncated[k],
            episode=number,
            time=self.time[k],
            **{name: getattr(self, name)[e] for name in ("seed", "behaviour", "world")},
        )

    @staticmethod
    def join(parts: "Sequence[SetData]") -> "SetData":
        """One dataset from several, of the same features and actions; the rest may differ."""
        parts = list(parts)
        if not parts or not all(isinstance(part, SetData) for part in parts):
            raise refuse("parts", f"{len(parts)} of {sorted({type(p).__name__ for p in parts})}", "one SetData or more")
        header, places = merged([part.header for part in parts])
        device = parts[0].tokens.device
        given: dict[str, list[Tensor]] = {name: [] for name in PARTS}
        shift = {"offsets": 0, "before": 0, "after": 0, "episode": 0}
        for part, place in zip(parts, places, strict=True):
            maps = {"types": "kinds_of_entity", "behaviour": "behaviours", "world": "worlds"}
            for name in PARTS:
                piece = getattr(part, name).to(device)
                if name in maps:
                    piece = torch.tensor(place[maps[name]], dtype=torch.uint8, device=device)[piece.long()]
                elif name in shift:
                    piece = piece + shift[name]
                given[name].append(piece[1:] if name == "offsets" and len(given[name]) else piece)
            shift["offsets"] += len(part.tokens)
            shift["before"] = shift["after"] = shift["before"] + part.states
            shift["episode"] += part.episodes
        return SetData(**{name: torch.cat(pieces) for name, pieces in given.items()}, header=header)

    def to(self, device: Any) -> "SetData":
        """The same data on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in PARTS})

    # --- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the data to an .npz file, whole or not at all; `load` reads it back to the same bits."""
        arrays = {name: getattr(self, name).cpu().numpy() for name in PARTS}
        return archives.write_sets(path, arrays, self.header)

    @staticmethod
    def load(path: str | Path) -> "SetData":
        """The data in a file of `save`. Sizes are checked before anything is allocated, contents by their hashes."""

        def made(header: Header, arrays: dict[str, Any]) -> SetData:
            for name in PARTS:
                if name not in arrays:
                    raise refuse(name, "no such array", "an array, as in every dataset of sets")
            for name in sorted(set(arrays) - set(PARTS)):
                raise unknown("array", name, PARTS)
            return SetData(**arrays, header=header)

        return archives.reading(path, made)

    # --- in words ----------------------------------------------------------------------------------------------------

    @cached_property
    def content(self) -> str:
        """sha256 of the numbers and of what they mean: equal data have the same one, however they are stored."""
        meaning = {name: self.header[name] for name in sorted(self.header) if name not in ("versions", "notes")}
        digest = hashlib.sha256(archives.to_text(meaning).encode())
        for name in PARTS:
            array = np.ascontiguousarray(getattr(self, name).cpu().numpy())
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def plain(self) -> dict[str, Any]:
        """What a run's configuration says about the data: sizes, counts and a hash."""
        sizes, counts = self.agents.unique(return_counts=True)
        return {
            "format": self.header["format"],
            "content": self.content,
            "episodes": self.episodes,
            "transitions": len(self),
            "transitions_by_agents": dict(zip(map(str, sizes.tolist()), counts.tolist(), strict=True)),
            "episodes_by_behaviour": self._counts("behaviours", self.behaviour),
            "episodes_by_world": [
                {**world, "episodes": int(n)}
                for world, n in zip(self.header["worlds"], self._tally("worlds", self.world), strict=True)
            ],
            **{
                name: self.header[name]
                for name in ("references", "kinds_of_entity", "features", "actions", "versions", "notes")
            },
        }

    def _tally(self, name: str, of: Tensor) -> list[int]:
        found: list[int] = torch.bincount(of.long(), minlength=len(self.header[name])).tolist()
        return found

    def _counts(self, name: str, of: Tensor) -> dict[str, int]:
        return dict(zip(self.header[name], self._tally(name, of), strict=True))

    def __str__(self) -> str:
        low, high = int(self.agents.min()), int(self.agents.max())
        agents = f"{low} agent{'s' * (low != 1)}" if low == high else f"{low} to {high} agents"
        shown = self.header["behaviours"]
        acted = ", ".join(shown) if len(shown) <= 6 else f"{len(shown)} behaviours"
        where = ", ".join(dict.fromkeys(world["id"] for world in self.header["worlds"]))
        counts = {"transition": len(self), "episode": self.episodes}
        counted = " of ".join(f"{n:,} {what}{'s' * (n != 1)}" for what, n in counts.items())
        return f"{counted}, {agents}, {where} by {acted}"

    def __repr__(self) -> str:
        return f"SetData({self})"
