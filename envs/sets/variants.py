"""Six environments that are all called "simple spread", and what differs between them.

Rewards are written as

    r_i = a G + b C_i + c C + d,      G = sum_l g(min_i |x_i - y_l|),   g(z) = -z, or min(1 / z, 10)

with C_i the number of agents that agent i overlaps with and C = sum_i C_i. Source of each variant stands with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gamesim.errors import unknown

Variant = Literal["mpe2", "openai", "vmas", "jaxmarl", "omar", "pic"]


@dataclass(frozen=True)
class Weights:
    """Of a reward, as above."""

    covered: float
    """a, of how well landmarks are covered, G."""
    own: float = 0.0
    """b, of the overlaps of the agent, C_i."""
    all: float = 0.0
    """c, of the overlaps of everyone, C."""
    constant: float = 0.0
    """d."""


@dataclass(frozen=True)
class Definition:
    """One of the six."""

    source: str
    integration: Literal["position, then velocity", "velocity, then position"]
    reward: str
    weights: Callable[[int, float], Weights]
    """From the number of agents and the local ratio."""
    observation: Literal["velocity, position, silence", "position, velocity", "nearest"]
    strength: float = 5.0
    coverage: Literal["distance", "capped inverse"] = "distance"
    contact: Literal["soft", "cut"] = "soft"
    local_ratio: float | None = None
    """The weight of an agent's own overlaps, where the reward has one."""
    placing: Literal["uniform", "apart"] = "uniform"
    """How landmarks are placed."""
    radius: Callable[[int], float] = lambda agents: 1.0
    """Half the side of the square that entities begin in."""
    native: str = "5 moves or a force"
    """The actions that its own code takes."""


def _pic_radius(agents: int) -> float:
    """Of the next larger number of agents that has a file; in proportion to its root beyond 200."""
    sizes = ((3, 3.0), (6, 1.5), (15, 2.2), (30, 3.0), (100, 5.0), (200, 7.0))
    return next((radius for most, radius in sizes if agents <= most), 7.0 * math.sqrt(agents / 200))


DEFINITIONS: dict[str, Definition] = {
    "mpe2": Definition(
        source="mpe2 1.1.1, simple_spread_v3; PettingZoo from 1.23 on",
        integration="position, then velocity",
        reward="(1 - local_ratio) G - local_ratio C_i",
        weights=lambda n, ratio: Weights(1 - ratio, -ratio),
        observation="velocity, position, silence",
        local_ratio=0.5,
    ),
    "openai": Definition(
        source="openai/multiagent-particle-envs, scenario simple_spread",
        integration="velocity, then position",
        reward="the sum over agents of G - C_i - 1: everyone overlaps with itself",
        weights=lambda n, ratio: Weights(n, 0.0, -1.0, -n),
        observation="velocity, position, silence",
        native="5 moves as one-hot vectors, right before left and up before down",
    ),
    "vmas": Definition(
        source="VMAS 1.5.2, scenario simple_spread",
        integration="velocity, then position",
        reward="N G - C",
        weights=lambda n, ratio: Weights(n, 0.0, -1.0),
        observation="position, velocity",
        strength=1.0,
        contact="cut",
        native="a force, or 9 moves",
    ),
    "jaxmarl": Definition(
        source="JaxMARL 0.2.0, MPE_simple_spread_v3",
        integration="position, then velocity",
        reward="(1 - local_ratio) G - local_ratio C_i",
        weights=lambda n, ratio: Weights(1 - ratio, -ratio),
        observation="velocity, position, silence",
        local_ratio=0.5,
        native="5 moves or a force; an episode is one step longer than it says",
    ),
    "omar": Definition(
        source="the fork of multiagent-particle-envs that comes with OMAR (Pan et al., ICML 2022)",
        integration="velocity, then position",
        reward="sum_l min(1 / min_i |x_i - y_l|, 10) - 5 C_i",
        weights=lambda n, ratio: Weights(1.0, -5.0),
        observation="velocity, position, silence",
        coverage="capped inverse",
        radius=lambda agents: 1.0 if agents <= 3 else 2.0,
        native="a force",
    ),
    "pic": Definition(
        source="the fork of multiagent-particle-envs that comes with PIC (Liu et al., CoRL 2019), n = 3, 100 and 200",
        integration="velocity, then position",
        reward="G - C",
        weights=lambda n, ratio: Weights(1.0, 0.0, -1.0),
        observation="nearest",
        placing="apart",
        radius=_pic_radius,
        native="5 moves as one-hot vectors, right before left and up before down",
    ),
}

OBSERVED = {
    "velocity, position, silence": "own velocity and position, landmarks, the others, and 2 zeros for each other agent",
    "position, velocity": "own position and velocity, landmarks, the others",
    "nearest": "own velocity and position, the nearest landmarks and others, by distance",
}


def definition(variant: str) -> Definition:
    """The definition that a name stands for."""
    if variant not in DEFINITIONS:
        raise unknown("variant", variant, DEFINITIONS)
    return DEFINITIONS[variant]


def variant_facts(variant: str, agents: int = 3) -> dict[str, str]:
    """What a variant of spread is, by name of the fact; two variants differ where these do.

    >>> variant_facts("vmas")["reward"], variant_facts("mpe2")["strength of a force"]
    ('N G - C', '5')
    """
    it = definition(variant)
    return {
        "integration": it.integration,
        "reward": it.reward,
        "strength of a force": f"{it.strength:g}",
        "contact": "soft, felt before entities touch" if it.contact == "soft" else "cut off where entities touch",
        "observation": OBSERVED[it.observation],
        "entities begin within": f"{it.radius(agents):g} for {agents} agents",
        "landmarks": "anywhere" if it.placing == "uniform" else "0.675 apart at least",
        "actions of its own code": it.native,
    }


def differences(first: str, second: str, agents: int = 3) -> list[str]:
    """How two variants of spread differ, one line for each fact.

    >>> differences("mpe2", "mpe2")
    []
    >>> print(differences("mpe2", "openai")[0])
    integration: mpe2 has position, then velocity; openai has velocity, then position
    """
    return told(variant_facts(first, agents), variant_facts(second, agents), first, second)


def told(ours: dict[str, str], theirs: dict[str, str], first: str, second: str) -> list[str]:
    """Where the facts of two worlds differ, one line for each."""
    known = [k for k in ours if k in theirs and ours[k] != theirs[k]]
    return [f"{k}: {first} has {ours[k]}; {second} has {theirs[k]}" for k in known]
