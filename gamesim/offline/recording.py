"""Datasets recorded in worlds: episodes of a behaviour, each from a seed of its own, with scores to compare with.

Episode i of a dataset of seed s has the i-th number of NumPy's SeedSequence(s) as its seed. It begins and goes on the
same whether it is recorded alone or among a million, on any machine that computes with the same bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim import catalog
from gamesim.data import Header, SetData, from_episodes, make_header
from gamesim.data.headers import MANY
from gamesim.errors import InvalidInput, refuse
from gamesim.games.worlds import SetWorld
from gamesim.offline.behaviours import Behaviour, Expert, Random, acting
from gamesim.offline.experts import comparable
from gamesim.parameters import Count, Natural, build, convert, plain
from gamesim.randomness import Stream

BEGINNING, PLAYING = 2**31 - 5, 2**31 - 6
"""Iterations of the streams that episodes begin from and are played with; no run of a solver reaches them."""
MEASURED_EPISODES, MEASURED_SEED = 1000, 2**40
"""Episodes behind a reference, fewer where entities are many, and their seed, the same for every dataset of a world."""
MEASURED_PAIRS = 2 * 10**7
"""Pairs of entities in those episodes, beyond 32 of them."""
AT_ONCE = 2**17
"""Pairs of entities in the episodes that are played together: more would not be faster, only larger."""
LEAST = 4096
"""Agents that are played together at least: few may be computed by other loops than many, with other last bits."""
LARGEST = 5 * 10**8
"""Numbers of a dataset's tokens."""
MOST_ENTITIES = 10**4
"""Entities of a world that is played here: an expert's work and memory grow with their square. Nor may a world that a
file names have more of anything."""


def record_sets(
    worlds: SetWorld | Sequence[SetWorld],
    behaviour: str | Behaviour | Sequence[str | Behaviour] = "random",
    episodes: int = 1000,
    seed: int = 0,
    references: bool = True,
) -> SetData:
    """So many episodes of each behaviour in each of some worlds, of any numbers of agents, as one dataset.

    With `references` the mean returns of random play and of the expert are measured in each world and stored beside.
    """
    given = list(behaviour) if isinstance(behaviour, list | tuple) else [behaviour]
    chosen: list[Behaviour] = [convert(b, Behaviour, "behaviour") for b in given]
    if not chosen:
        raise refuse("behaviour", "none", f"at least one of {', '.join(Behaviour.kinds)}")
    many, seed = convert(episodes, Count, "episodes"), convert(seed, Natural, "seed")
    places: list[Any] = list(worlds) if isinstance(worlds, list | tuple) else [worlds]
    if not 1 <= len(places) <= MANY:
        raise refuse("worlds", len(places) or "none", f"1 to {MANY} worlds to record in")
    for world in places:
        if not isinstance(world, SetWorld):
            raise refuse("world", type(world).__name__, "a world of sets; `gamesim list games` shows them as sets/...")
        if world.entities > MOST_ENTITIES:
            raise refuse("world", f"one of {world.entities:,} entities", f"at most {MOST_ENTITIES:,}")
        size = len(chosen) * many * (world.steps + 1) * world.entities * len(world.features)
        if size > LARGEST:
            raise refuse("episodes", many, f"fewer: {size:.3g} numbers of tokens, where {LARGEST:.0e} are the most")
    seeds = episode_seeds(seed, many * len(chosen))
    parts = []
    for world in places:
        known = measured_references(world) if references else None
        for i, one in enumerate(chosen):
            parts.append(_recorded(world, one, seeds[i * many : (i + 1) * many], known))
    return SetData.join(parts) if len(parts) > 1 else parts[0]


def episode_seeds(seed: int, count: int) -> list[int]:
    """The seeds of the first episodes of a dataset.

    >>> episode_seeds(0, 2) == episode_seeds(0, 5)[:2]
    True
    """
    words = np.random.SeedSequence(seed).generate_state(count, np.uint64)
    found: list[int] = (words >> np.uint64(1)).tolist()
    return found


def measured_references(world: SetWorld, episodes: int | None = None) -> dict[str, float]:
    """Mean returns of random play and of the expert, standard errors beside them; nothing where there is no scale.

    Always of the same episodes, so that they belong to the world and not to a dataset.
    """
    found = dict[str, float]()
    if not comparable(world):
        return found
    most = MEASURED_PAIRS // world.entities**2
    many = min(MEASURED_EPISODES, max(32, most)) if episodes is None else episodes
    seeds = episode_seeds(MEASURED_SEED, many)
    for name, behaviour in (("random", Random()), ("expert", Expert())):
        epsilon = torch.full((many,), behaviour.epsilons[0], dtype=torch.float64)
        returns = torch.cat([x[2].double().mean(-1).sum(-1) for x in _played(world, epsilon, seeds)])
        found[name] = float(returns.mean())
        found[f"{name}_error"] = float(returns.std() / many**0.5)
    return found


def described(world: SetWorld) -> dict[str, Any]:
    """A world by its id in the catalogue, or else by module:Class, and its parameters but for the device."""
    path = f"{type(world).__module__}:{type(world).__qualname__}"
    ids = [name for name, (where, _) in catalog.table("games").items() if where == path]
    parameters = {name: value for name, value in plain(world).items() if name not in ("kind", "device")}
    return {"id": ids[0] if ids else path, "parameters": parameters}


def world_of(entry: Mapping[str, Any], device: str | None = None, typed: bool = False) -> SetWorld:
    """The world that a header names by its id and parameters: what `described` is undone by.

    Headers are read from files of anybody: only what the catalogue has is built, and nothing that is huge; what
    somebody `typed` may also be a module:Class of their own.
    """
    id = str(entry["id"])
    if id not in catalog.entries("games") and not (typed and ":" in id):  # nothing is imported because a file says so
        wanted = f"one of {', '.join(_known())}"
        wanted += "; sets/... in full" if typed else "; the data name it: say world=... where it is another one"
        raise refuse("world", id, wanted)
    kind, own = catalog.named("games", id)
    if not (isinstance(kind, type) and issubclass(kind, SetWorld)):
        raise refuse("world", id, f"a world of sets: {', '.join(_known())}")
    given = own | dict(entry.get("parameters", {}))
    for name, value in given.items():
        if isinstance(value, int) and value > MOST_ENTITIES:
            raise refuse(f"world.{name}", value, f"at most {MOST_ENTITIES:,}")
    if device is not None and "device" in getattr(kind, "__dataclass_fields__", {}):
        given = given | {"device": device}
    try:
        return build(kind, given, what=entry["id"])
    except InvalidInput as error:
        raise InvalidInput(f"world.{error}") from None


def _known() -> list[str]:
    """The ids of the worlds of sets."""
    found = [name for name in sorted(catalog.table("games")) if name.startswith("sets/")]
    return [name for name in found if issubclass(catalog.find("games", name), SetWorld)]


def header_for(world: SetWorld, behaviour: Behaviour, references: dict[str, float] | None = None) -> Header:
    """What a dataset of one world and one behaviour says about itself."""
    count = world.action_size if world.actions == "continuous" else world.action_count
    return make_header(
        worlds=[described(world)],
        behaviours=behaviour.names,
        kinds_of_entity=world.kinds_of_entity,
        features=world.features,
        actions=[world.actions, count],
        references={"0": references} if references else None,
    )


def _recorded(world: SetWorld, behaviour: Behaviour, seeds: list[int], known: dict[str, float] | None) -> SetData:
    rung = behaviour.rung(torch.arange(len(seeds)))
    epsilon = torch.tensor(behaviour.epsilons, dtype=torch.float64)[rung]
    tokens, actions, rewards = (torch.cat(x) for x in zip(*_played(world, epsilon, seeds), strict=True))
    header = header_for(world, behaviour, known)
    return from_episodes(tokens, actions, rewards, world.types, header=header, seed=seeds, behaviour=rung)


def _played(world: SetWorld, epsilon: Tensor, seeds: list[int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Episodes with these chances of random moves [e], in pieces: tokens, actions and rewards of each."""
    least = -(-LEAST // world.acting)
    step = max(least, AT_ONCE // world.entities**2)
    small = torch.uint8 if world.actions == "discrete" else torch.float32
    for begin in range(0, len(seeds), step):
        here = torch.arange(begin, min(begin + step, len(seeds)))
        kept, many = len(here), max(least, len(here))
        here = torch.cat([here, here[-1:].expand(many - kept)])  # the last one again, and thrown away
        part = Stream([seeds[i] for i in here.tolist()], BEGINNING)
        act = acting(world, epsilon[here], part.at(PLAYING))
        with torch.no_grad():
            played = world.play(act, (many,), part)
        found = played.tokens.float(), played.actions.to(small), played.rewards.float()
        yield tuple(x[:kept].cpu() for x in found)  # type: ignore[misc]
