"""Which episodes explore: whole episodes in which the subgoals are the world's exploration, not the planner's.

    theory     eps = min{ 1, sqrt( H K log(c_Z |Z| sqrt T) / (T eta) ) }             in each of T episodes, Algorithm 1
    anytime    eps_t = min{ 1, sqrt( H K log(c_Z |Z| sqrt(t + 1)) / (t eta) ) }      where T is not known
    constant   eps
    gated      exactly while the likeliest latent has less than a given probability; not in the paper

With K actors the law of all subgoals is a product of K, whose total variation is at most K times that of one. The
theory's eps is above 1/2 exactly while T < 4 H K log(c_Z |Z| sqrt T) / eta: until then exploration burns episodes.

He, Chen, Zhang and Yang, ICML 2024, arXiv 2405.19883, Algorithm 1; the anytime schedule and the gate are ours.
"""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Belief, LatentWorld
from gamesim.parameters import Count, Probability, check, convert, kind_of, spelled
from gamesim.planning.planner import Planner


class Exploration(ABC):
    """The chance that an episode explores.

    >>> str(Constant(0.1)), str(Theory(episodes=2048))
    ('constant(probability=0.1)', 'theory(episodes=2048)')
    """

    kinds: ClassVar[dict[str, type]] = {}
    typed: ClassVar[str]
    """Its kind."""

    def __init_subclass__(cls, kind: str | None = None) -> None:
        cls.typed = kind or kind_of(cls)
        Exploration.kinds[cls.typed] = cls

    @abstractmethod
    def chance(self, t: int, world: LatentWorld, belief: Belief | None) -> float | Tensor:
        """Of episode t = 0, 1, ...: a number or [...]; `belief` is what the planner holds, where it does."""

    def require(self, planner: Planner) -> None:  # noqa: B027  most take any
        """Refuse a planner that does not say what this needs to know, before any work."""

    def cautions(self, world: LatentWorld) -> list[str]:
        return []

    def cautions_of_length(self, episodes: int) -> list[str]:
        return []

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Exploration | None":
        """A bare number is a constant chance."""
        if isinstance(value, float | int | Tensor) and not isinstance(value, bool):
            return Constant(value)
        if isinstance(value, str) and re.fullmatch(r"[\d.eE+-]+", value.strip()):
            return Constant(convert(value, Probability, field))
        return None

    def __str__(self) -> str:
        return spelled(self, self.typed)


@dataclass(frozen=True)
class NoExploration(Exploration, kind="none"):
    """The planner is followed as it is."""

    def chance(self, t: int, world: LatentWorld, belief: Belief | None) -> float | Tensor:
        return 0.0


@dataclass(frozen=True)
class Constant(Exploration):
    """The same chance in every episode: regret is linear once the latent is known."""

    probability: Probability = 0.05

    def __post_init__(self) -> None:
        check(self)

    def chance(self, t: int, world: LatentWorld, belief: Belief | None) -> float | Tensor:
        return _of_runs(self.probability)


@dataclass(frozen=True)
class Theory(Exploration):
    """The chance that makes the bound on the regret of T episodes least."""

    episodes: Count = 1000
    """T, how many episodes the run will have."""
    cap: Probability = 1.0
    """The largest chance."""

    def __post_init__(self) -> None:
        check(self)

    def chance(self, t: int, world: LatentWorld, belief: Belief | None) -> float | Tensor:
        return _capped(theory_epsilon(world, self.episodes), self.cap)

    def cautions(self, world: LatentWorld) -> list[str]:
        return _no_bound(world) or _burns(world, self.episodes, self.cap)

    def cautions_of_length(self, episodes: int) -> list[str]:
        if episodes == self.episodes:
            return []
        return [f"exploration.episodes: made for {self.episodes:,} episodes, and the run has {episodes:,}"]


@dataclass(frozen=True)
class Anytime(Exploration):
    """The theory's chance with t for T."""

    cap: Probability = 1.0
    """The largest chance."""

    def __post_init__(self) -> None:
        check(self)

    def chance(self, t: int, world: LatentWorld, belief: Belief | None) -> float | Tensor:
        return _capped(theory_epsilon(world, max(t, 1), t + 1), self.cap)

    def cautions(self, world: LatentWorld) -> list[str]:
        return _no_bound(world)


@dataclass(frozen=True)
class Gated(Exploration):
    """Explore while nothing is known well enough; not in the paper, and no theorem is behind it."""

    confidence: Probability = 0.95
    """The probability of the likeliest latent from which on the planner is followed."""

    def __post_init__(self) -> None:
        check(self)

    def require(self, planner: Planner) -> None:
        if not planner.believes:
            raise refuse("exploration", str(self), f"one that needs no belief: the planner {planner} holds none")

    def chance(self, t: int, world: LatentWorld, belief: Belief | None) -> float | Tensor:
        assert belief is not None
        return (belief.posterior.amax(-1, keepdim=True) < self.confidence).to(belief.log.dtype)[..., 0]

    def cautions(self, world: LatentWorld) -> list[str]:
        return ["exploration: gated is not in the paper: no theorem bounds its regret"]


def _of_runs(number: float | Tensor) -> float | Tensor:
    """A parameter as a number for each run, [...]: of a batch, [*b, 1]."""
    return number if isinstance(number, float) or not number.dim() else number[..., 0]


def _capped(eps: float, cap: float | Tensor) -> float | Tensor:
    return min(eps, cap) if isinstance(cap, float) else _of_runs(cap.clamp(max=eps))


def theory_epsilon(world: LatentWorld, episodes: int, ends: int | None = None) -> float:
    """min{1, sqrt(H K log(c_Z |Z| sqrt T) / (t eta))}, t = episodes, T = ends, the same unless given.

    1 where latents cannot be told apart.
    """
    if _no_bound(world):
        return 1.0
    return min(1.0, math.sqrt(_needed(world, ends or episodes) / episodes))


def _needed(world: LatentWorld, episodes: int) -> float:
    """H K log(c_Z |Z| sqrt T) / eta, in episodes."""
    terms = math.log(world.coverage * len(world.prior) * math.sqrt(episodes))
    return world.horizon * world.actors * terms / _eta(world)


@lru_cache(maxsize=64)
def _eta_of(world: LatentWorld) -> float:
    return world.distinguishability()


def _eta(world: LatentWorld) -> float:
    try:
        return _eta_of(world)
    except TypeError:  # a world of tensors has no hash
        return world.distinguishability()


def _no_bound(world: LatentWorld) -> list[str]:
    if _eta(world) <= 0:
        return ["exploration: it tells two latents apart in no way (eta = 0), so every episode explores"]
    if not math.isfinite(world.coverage):
        return ["exploration: c_Z is infinite, so every episode explores"]
    return []


def _burns(world: LatentWorld, episodes: int, cap: float | Tensor) -> list[str]:
    eps = theory_epsilon(world, episodes)
    least = float(torch.as_tensor(cap).min())
    if min(eps, least) <= 0.5:
        return []
    needed = math.ceil(4 * _needed(world, episodes))
    return [
        f"exploration: eps = {eps:.2g}: below about {needed:,} episodes the theory's exploration only burns them; "
        f"give a cap, as theory({episodes}, cap=0.2), or follow the planner"
    ]
