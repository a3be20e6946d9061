"""Recorded play of a world of sets, to learn from without playing: a file, or episodes of a behaviour made on the spot.

    gamesim data make sets/spread --behaviour medium --episodes 1000 --out spread.npz
    gamesim run sets/offline atac -g data=spread.npz --iterations 4000 --every 500

Policies are measured in the worlds that the data name. Another world may be given, of the same variant: what was
learned in one definition of a world and measured in another says nothing, unless that is what is asked (`force`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal, final

import torch

from gamesim.data.sets import SetData
from gamesim.envs.sets.variants import told
from gamesim.errors import InvalidInput, refuse
from gamesim.games.recorded import Recorded
from gamesim.games.worlds import SetWorld
from gamesim.offline.behaviours import Behaviour, Medium
from gamesim.offline.recording import LARGEST, MOST_ENTITIES, described, measured_references, record_sets, world_of
from gamesim.parameters import Bounds, Count, Device, Natural, check
from gamesim.parameters import plain as as_plain

Discount = Annotated[float, Bounds("a number from 0 to below 1", 0, 1, high_open=True)]
HOW = ("dtype", "outside", "device")
"""Parameters that say how a world is computed, not which one it is."""


@final
@dataclass(frozen=True, kw_only=True)
class RecordedPlay(Recorded):
    """Learn from recorded play alone; measured are return and score in the world it was recorded in."""

    data: str | SetData | None = None
    """A file that `gamesim data make` wrote, or the data themselves; none: recorded on the spot."""
    world: str | SetWorld | None = None
    """To record or to measure in: a world, or an id with what differs, as sets/spread(variant=omar, actions=continuous)
    from the world of the data or else from defaults; none: that of the data, or sets/spread."""
    agents: Count | tuple[Count, ...] | None = None
    """How many, to record or to measure with; [3,6] for a world of each; none: as the data have, or else 3."""
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
        if isinstance(self.agents, tuple) and not 0 < len(set(self.agents)) == len(self.agents):
            raise refuse("agents", list(self.agents), "one number or more, each once")
        self._require_same()
        for world in self.worlds:
            self._require_room(world)

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": getattr(torch, self.precision), "device": self.device}

    @cached_property
    def play(self) -> SetData:
        if isinstance(self.data, SetData):
            return self.data.to("cpu")
        if self.data is not None:
            return SetData.load(self.data)
        return record_sets(self.worlds, self.behaviour, self.episodes, self.data_seed)

    @cached_property
    def worlds(self) -> tuple[SetWorld, ...]:
        many = self.agents if isinstance(self.agents, tuple) else (self.agents,)
        if isinstance(self.world, SetWorld):
            return tuple(_of_so_many(self.world, n) for n in many)
        recorded = self._recorded
        id, said = (recorded[0]["id"] if recorded else "sets/spread", {}) if self.world is None else _typed(self.world)
        if "agents" in said and self.agents is not None:
            raise refuse("agents", self.agents, f"nothing beside world={self.world}, which says it")
        own = [entry["parameters"] for entry in recorded if entry["id"] == id] or [{}]
        given = [mine | said for mine in (own if self.agents is None else own[:1])]
        if self.world is not None or self.agents is not None:
            made = [world_of({"id": id, "parameters": x}, self.device, typed=self.world is not None) for x in given]
        else:
            made = [world_of(entry, self.device) for entry in recorded or [{"id": id}]]
        return tuple(dict.fromkeys(_of_so_many(world, n) for world in made for n in many))

    @cached_property
    def _recorded(self) -> list[dict[str, Any]]:
        """The header's entries of worlds that episodes of the data are from; none where there are no data yet."""
        if self.data is None:
            return []
        return [self.play.header["worlds"][i] for i in self.play.world.unique().tolist()]

    @cached_property
    def references(self) -> tuple[Mapping[str, float] | None, ...]:
        """Those of the header, and measured here for other worlds, unless the data have been recorded without."""
        header = self.play.header
        known = dict[str, Mapping[str, float]]()
        for i, entry in enumerate(header["worlds"]):
            built = _built(entry)  # a parameter that a header leaves out is at its default
            here = _meaning(entry if built is None else described(built))
            known[here] = header["references"].get(str(i), {})
        found = list[Mapping[str, float] | None]()
        for world in self.worlds:
            own = known.get(_meaning(described(world)))
            if own is None:
                own = measured_references(world) if any(known.values()) else {}
            scale = own.keys() >= {"random", "expert"} and own["random"] != own["expert"]
            found.append(own if scale else None)
        return tuple(found)

    def _require_room(self, world: SetWorld) -> None:
        """Refuse a world elsewhere, and measures that no memory holds."""
        if world.entities > MOST_ENTITIES:
            raise refuse("world", f"one of {world.entities:,} entities", f"at most {MOST_ENTITIES:,}")
        place = torch.device(world.like["device"])
        if place.type != torch.device(self.device).type:
            raise refuse("world", f"one on {place}", f"one on {self.device}, as device says")
        most = LARGEST // (world.entities * len(world.features))
        if self.evaluation_episodes > most:
            raise refuse("evaluation_episodes", self.evaluation_episodes, f"at most {most:,} in {type(world).__name__}")

    def _require_sizes(self) -> None:
        """Refuse data that are not of the sizes of the worlds that they name."""
        for group in self._groups:
            world = _built(self.play.header["worlds"][group.world])
            if world is not None and (world.acting, world.entities) != (group.acting, group.size):
                what = f"{group.acting} agents among {group.size} entities"
                wanted = f"{world.acting} among {world.entities}, as header.worlds[{group.world}] says"
                raise refuse(f"data.agents[{int(group.transitions[0])}]", what, wanted)

    def _require_same(self) -> None:
        """Refuse data of another definition than that of the worlds to measure in, and say what differs."""
        if self.data is None:
            return
        self._require_sizes()
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
    mine, other = (getattr(w, "facts", {}) for w in (_built(entry), world))
    return told(mine, other, "the one of the data", "the other")


def _built(entry: dict[str, Any]) -> SetWorld | None:
    """The world that a header names, if there is one here."""
    try:
        return world_of(entry)
    except InvalidInput:
        return None


def _meaning(entry: dict[str, Any]) -> str:
    """Which world an entry of a header is, however it is computed."""
    kept = {name: value for name, value in entry["parameters"].items() if name not in HOW}
    return json.dumps([entry["id"], as_plain(kept)], sort_keys=True)


def _of_so_many(world: SetWorld, agents: int | None) -> SetWorld:
    """The world with another number of agents."""
    if agents is None:
        return world
    if not is_dataclass(world) or "agents" not in {f.name for f in fields(world)}:
        id = described(world)["id"]
        wanted = f"none: {id} has no parameter of that name; write others as world={id}(name=value)"
        raise refuse("agents", agents, wanted)
    if agents > MOST_ENTITIES:
        raise refuse("agents", agents, f"at most {MOST_ENTITIES:,}")
    return replace(world, agents=agents)


def _typed(text: str) -> tuple[str, dict[str, Any]]:
    """An id and parameters, as `sets/spread(variant=omar, actions=continuous)`."""
    id, opens, rest = (part.strip() for part in text.partition("("))
    if bool(opens) != rest.endswith(")") or not id:
        raise refuse("world", text, "an id, or an id with parameters, as sets/spread(variant=omar)")
    found = dict[str, Any]()
    for part in re.split(r",(?![^\[(]*[\])])", rest.removesuffix(")")) if rest.removesuffix(")").strip() else []:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name or name in found:
            raise refuse("world", text, f"name=value, each name once; {part.strip()!r} is none")
        found[name] = int(float(value)) if re.fullmatch(r"\d+(\.0*)?(e\+?\d{1,2})?", value) else value
    return id, found
