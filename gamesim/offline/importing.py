"""Data from elsewhere, made the data of a world: entities are named, states recovered, transitions played again.

Arrays do not say which definition of a world they are from, and several go by one name. Who says so is taken at their
word where transitions, played again, come out as they were recorded; a note says where they do not, and which variant
would do what was recorded, if one does.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import get_args

import torch

from gamesim.data import SetData
from gamesim.errors import InvalidInput, refuse
from gamesim.formats.set_arrays import Meaning
from gamesim.games.worlds import SetWorld
from gamesim.offline.recording import described, measured_references
from gamesim.offline.replaying import Agreement, replayed, seen_states
from gamesim.parameters import hints_of

Read = Callable[[Meaning | None], SetData]
"""A reader of one file or folder, given what it does not say; None for what stands beside it, if anything."""


def import_sets(
    read: Read, world: SetWorld | None = None, behaviour: str = "unknown", references: bool = True
) -> tuple[SetData, Agreement | None]:
    """The data, and how many of some transitions the world repeats."""
    if world is None:
        return read(None if behaviour == "unknown" else Meaning(behaviour=behaviour)), None
    count = world.action_size if world.actions == "continuous" else world.action_count
    given = Meaning(world=described(world), behaviour=behaviour, actions=[world.actions, count])
    data = in_world(read(given), world)
    told = replayed(data, world)
    header, notes = data.header, list(data.header["notes"])
    if not told.whole:
        notes.append(f"{_name(world)} repeats only {told}{_better(data, world)}")
    if references and (known := measured_references(world)):
        header = header | {"references": {"0": known}}
    return replace(data, header=header | {"notes": notes}), told


def in_world(data: SetData, world: SetWorld) -> SetData:
    """The same data with the tokens of a world: as they are, or recovered from what agents saw."""
    sizes, d = data.entities.unique().tolist(), data.tokens.shape[-1]
    if bool((data.agents != world.acting).any()):
        found = ", ".join(map(str, data.agents.unique().tolist()))
        raise refuse("agents", found, f"{world.acting}, as act in {_name(world)}")
    header = data.header | {"kinds_of_entity": list(world.kinds_of_entity), "features": list(world.features)}
    if sizes == [world.entities] and d == len(world.features):
        tokens, note = data.tokens, []
    elif sizes == [world.acting]:
        seen = data.tokens.view(data.states, world.acting, d)
        tokens = seen_states(world, seen).float().flatten(0, 1)
        note = [f"states are recovered from what agents saw ({data.states} of them)"]
    else:
        found = f"{' or '.join(map(str, sizes))} entities of {d} numbers"
        wanted = f"{world.entities} of {len(world.features)}, the tokens of {_name(world)}, or its agents' observations"
        raise refuse("observations", found, wanted)
    offsets = torch.arange(data.states + 1, device=tokens.device) * world.entities
    types = world.types.to(tokens.device).repeat(data.states)
    header = header | {"notes": [*data.header["notes"], *note]}
    return replace(data, tokens=tokens, types=types, offsets=offsets, header=header)


def _better(data: SetData, world: SetWorld) -> str:
    """Which variants of the world repeat the data, in words."""
    if not is_dataclass(world) or "variant" not in {f.name for f in fields(world)}:
        return ""
    fitting = []
    for variant in get_args(hints_of(type(world))["variant"]):
        try:
            if replayed(data, replace(world, variant=variant)).whole:
                fitting.append(variant)
        except InvalidInput:  # it has other parameters
            continue
    return f"; variant {' or '.join(fitting)} repeats them" if fitting else "; no variant of it does"


def _name(world: SetWorld) -> str:
    variant = getattr(world, "variant", None)
    return f"{described(world)['id']} (variant {variant})" if variant else str(described(world)["id"])
