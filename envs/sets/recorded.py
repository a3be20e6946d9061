"""Recorded play of a world of sets, to learn from without playing: a file, or episodes of a behaviour made on the spot.

    gamesim data make sets/spread --behaviour medium --episodes 1000 --out spread.npz
    gamesim run sets/offline atac -g data=spread.npz

Policies are measured in the worlds that the data name. Another world may be given, of the same variant: what was
learned in one definition of a world and measured in another says nothing, unless that is what is asked (`force`).
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Literal, final

import torch

from gamesim.data.sets import SetData
from gamesim.envs.sets.variants import told
from gamesim.errors import InvalidInput, refuse
from gamesim.games.recorded import Recorded
from gamesim.games.worlds import SetWorld
from gamesim.offline.behaviours import Behaviour, Medium
from gamesim.offline.recording import described, record_sets, world_of
from gamesim.parameters import Bounds, Count, Device, Natural, check
from gamesim.parameters import plain as as_plain

Discount = Annotated[float, Bounds("a number from 0 to below 1", 0, 1, high_open=True)]
OWN = ("id", "variant")
"""What makes two worlds one definition; everything else that differs is said as well."""


@final
@dataclass(frozen=True, kw_only=True)
class RecordedPlay(Recorded):
    """Learn from recorded play alone; measured are return and score in the world it was recorded in."""

    data: str | SetData | None = None
    """A file that `gamesim data make` wrote, or the data themselves; none: recorded on the spot."""
    world: str | SetWorld | None = None
    """To record or to measure in: an id or a world; none: that of the data, or else sets/spread."""
    agents: Count | tuple[Count, ...] | None = None
    """How many, to record or to measure with; [3, 6] for a world of each; none: as the data have, or else 3."""
    behaviour: Behaviour = Medium()
    """Who acts in data recorded on the spot: random, medium, expert or replay."""
    episodes: Count = 200
    """How many are recorded on the spot, of each world."""
    data_seed: Natural = 0
    """What those are drawn from."""
    discount: Discount = 0.95
    """Weight of the next step."""
    evaluation_episodes: Count = 64
    """Episodes behind a measure."""
    force: bool = False
    """Measure in another definition of the world than that of the data."""
    precision: Literal["float32", "float64"] = "float32"
    """Of networks."""
    device: Device = "cpu"
    """Where networks are."""

    def __post_init__(self) -> None:
        check(self)
        self._require_same()

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": getattr(torch, self.precision), "device": self.device}

    @cached_property
    def play(self) -> SetData:
        if isinstance(self.data, SetData):
            return self.data
        if self.data is not None:
            return SetData.load(self.data)
        return record_sets(self.worlds, self.behaviour, self.episodes, self.data_seed)

    @cached_property
    def worlds(self) -> tuple[SetWorld, ...]:
        if isinstance(self.world, SetWorld):
            return (self.world,)
        if self.data is not None and self.world is None and self.agents is None:
            return tuple(world_of(entry, self.device) for entry in self.play.header["worlds"])
        own = {} if self.data is None else self.play.header["worlds"][0]
        id = self.world or own.get("id", "sets/spread")
        given = own.get("parameters", {}) if id == own.get("id") else {}
        many = self.agents if isinstance(self.agents, tuple) else (self.agents,)
        return tuple(
            world_of({"id": id, "parameters": given | ({} if n is None else {"agents": n})}, self.device) for n in many
        )

    def _require_same(self) -> None:
        """Refuse data of another definition than that of the worlds to measure in, and say what differs."""
        if self.data is None:
            return
        known = {(entry["id"], entry["parameters"].get("variant")) for entry in self.play.header["worlds"]}
        for world in self.worlds:
            here = described(world)
            if (here["id"], here["parameters"].get("variant")) in known:
                continue
            entry = self.play.header["worlds"][0]
            if self.force:
                self._require_shapes(world)
                continue
            differ = "; ".join(differences(entry, world)) or f"{entry['id']} against {here['id']}"
            wanted = f"the world of the data, {named(entry)} ({differ}), or force=true"
            raise refuse("world", named(here), wanted)
        for world in self.worlds:
            self._require_shapes(world)

    def _require_shapes(self, world: SetWorld) -> None:
        header = self.play.header
        count = world.action_size if world.actions == "continuous" else world.action_count
        for name, mine, other in (
            ("kinds_of_entity", header["kinds_of_entity"], list(world.kinds_of_entity)),
            ("features", header["features"], list(world.features)),
            ("actions", header["actions"], [world.actions, count]),
        ):
            if mine != other:
                raise refuse(f"world.{name}", other, f"{mine}, as in the data")

    def plain(self) -> dict[str, Any]:
        """What a run's configuration says: with what the data hold, not only the name of a file that may change."""
        kind = f"{type(self).__module__}:{type(self).__qualname__}"
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        given["world"] = as_plain(self.world) if isinstance(self.world, SetWorld) else self.world
        if self.data is not None:
            file = self.data[:200] if isinstance(self.data, str) else ""
            given["data"] = {"file": file, "sha256": self.play.content}
        return {"kind": kind, **given}


def named(entry: dict[str, Any]) -> str:
    """A world in words: its id and its variant."""
    variant = entry["parameters"].get("variant")
    return f"{entry['id']}, variant {variant}" if variant else str(entry["id"])


def differences(entry: dict[str, Any], world: SetWorld) -> list[str]:
    """In what two worlds differ: each fact of both where they have facts."""
    try:
        recorded = world_of(entry)
    except InvalidInput:
        return []
    mine, other = (getattr(w, "facts", {}) for w in (recorded, world))
    return told(mine, other, "the one of the data", "the other")
