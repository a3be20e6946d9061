"""Laws of the next state: a dense table, or only the states that can follow.

Joint actions are one dimension j, the last player's action fastest. Rows may sum to less than one: the rest is the
probability that the episode ends.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.shapes import broadcast_shapes

FEW = 2**14
"""Numbers of a table up to which the sums of a batch are taken at once: products of all of them are in memory."""
BLOCK = 2**18
"""Products that are in memory otherwise, about: no matrix product, which rounds a seed in a batch unlike alone."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """P(t | s, a) by the few states that can follow: probabilities[..., s, a1, ..., an, k] of successors of that shape.

    A successor may stand twice; what is padded has probability 0. Arrays and nested lists are taken, too.
    """

    successors: Tensor
    probabilities: Tensor

    def __post_init__(self) -> None:
        for name in ("successors", "probabilities"):
            given = getattr(self, name)
            if not isinstance(given, Tensor):
                try:
                    object.__setattr__(self, name, torch.as_tensor(np.asarray(given)))
                except (TypeError, ValueError):
                    wanted = "a tensor, an array or nested lists of numbers, all rows of one length"
                    raise refuse(f"transition.{name}", type(given).__name__, wanted) from None


class Law(ABC):
    """P(t | s, j) with rows that sum to at most one."""

    @abstractmethod
    def expect(self, values: Tensor) -> Tensor:
        """sum_t P(t | s, j) V(t): values[..., t] -> [..., s, j]."""

    @abstractmethod
    def chain(self, joint: Tensor) -> Tensor:
        """sum_j pi(j | s) P(t | s, j): joint[..., s, j] -> [..., s, t]."""

    @property
    @abstractmethod
    def totals(self) -> Tensor:
        """sum_t P(t | s, j), [..., s, j]."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """Numbers that `expect` holds in memory for each (s, j) and each of the values."""

    @property
    @abstractmethod
    def weights(self) -> int:
        """Numbers that `chain` holds in memory for each (s, j)."""

    @abstractmethod
    def draw(self, u: Tensor, state: Tensor, joint: Tensor) -> Tensor:
        """The next state by inverse distribution function, S for the end: u, state and joint action of one shape.

        Leading dimensions are aligned with those of a batch of games.
        """

    @abstractmethod
    def dense(self) -> Tensor:
        """The table [..., s, j, t]."""


@dataclass(frozen=True, eq=False)
class DenseLaw(Law):
    """A table."""

    table: Tensor
    """[..., s, j, t]."""

    @property
    def _small(self) -> bool:
        return math.prod(self.table.shape[-3:]) <= FEW

    def expect(self, values: Tensor) -> Tensor:
        if self._small:
            return (self.table * values[..., None, None, :]).sum(-1)
        return _summed(self.table, values[..., None, None, :], -1)

    def chain(self, joint: Tensor) -> Tensor:
        if self._small:
            return (self.table * joint[..., None]).sum(-2)
        return _summed(self.table, joint[..., None], -2)

    @cached_property
    def totals(self) -> Tensor:
        return self.table.sum(-1)

    @property
    def terms(self) -> int:
        return self.table.shape[-1] if self._small else 1

    @property
    def weights(self) -> int:
        return self.table.shape[-1] if self._small else 1

    @cached_property
    def _below(self) -> Tensor:
        return self.table.cumsum(-1)

    def draw(self, u: Tensor, state: Tensor, joint: Tensor) -> Tensor:
        below = rows_of(self._below, state, joint)
        return torch.searchsorted(below, u[..., None].contiguous(), right=True)[..., 0]

    def dense(self) -> Tensor:
        return self.table


@dataclass(frozen=True, eq=False)
class SparseLaw(Law):
    """The successors k of each (s, j) and their probabilities, [..., s, j, k]."""

    successors: Tensor
    probabilities: Tensor

    def expect(self, values: Tensor) -> Tensor:
        shape = self.successors.shape
        batch = broadcast_shapes(shape[:-3], values.shape[:-1])
        place = self.successors.expand(*batch, *shape[-3:]).flatten(-3)
        after = values.expand(*batch, values.shape[-1]).gather(-1, place).reshape(*batch, *shape[-3:])
        return (after * self.probabilities).sum(-1)

    def chain(self, joint: Tensor) -> Tensor:
        weight = self.probabilities * joint[..., None]
        batch, states = weight.shape[:-3], weight.shape[-3]
        place = self.successors.expand(weight.shape).flatten(-2)
        return weight.new_zeros(*batch, states, states).scatter_add_(-1, place, weight.flatten(-2))

    @cached_property
    def totals(self) -> Tensor:
        return self.probabilities.sum(-1)

    @property
    def terms(self) -> int:
        return self.probabilities.shape[-1]

    @property
    def weights(self) -> int:
        return self.probabilities.shape[-1]

    @cached_property
    def _below(self) -> Tensor:
        return self.probabilities.cumsum(-1)

    def draw(self, u: Tensor, state: Tensor, joint: Tensor) -> Tensor:
        below = rows_of(self._below, state, joint)
        k = torch.searchsorted(below, u[..., None].contiguous(), right=True)
        after = rows_of(self.successors, state, joint).gather(-1, k.clamp(max=below.shape[-1] - 1))
        return torch.where(k < below.shape[-1], after, self.successors.shape[-3])[..., 0]

    def dense(self) -> Tensor:
        table = self.probabilities.new_zeros(*self.probabilities.shape[:-1], self.probabilities.shape[-3])
        return table.scatter_add_(-1, self.successors, self.probabilities)


def _summed(table: Tensor, weight: Tensor, dim: int) -> Tensor:
    """(table * weight).sum(dim) of table[..., s, j, t], some states of one element of the batch after the other."""
    batch, inner = broadcast_shapes(table.shape[:-3], weight.shape[:-3]), table.shape[-3:]
    flat, weights = (x.expand(*batch, *x.shape[-3:]) for x in (table, weight))
    size = max(1, BLOCK // (inner[1] * inner[2]))

    def of_one(place: tuple[int, ...]) -> Tensor:
        pairs = zip(flat[place].split(size), weights[place].expand(inner[0], -1, -1).split(size), strict=True)
        return torch.cat([(p * w).sum(dim) for p, w in pairs])

    if not batch:
        return of_one(())
    found = torch.stack([of_one(place) for place in product(*map(range, batch))])
    return found.reshape(*batch, *found.shape[1:])


def rows_of(table: Tensor, state: Tensor, joint: Tensor) -> Tensor:
    """table[..., s, j, x] at states and joint actions [..., rest] with the batch in front: [..., rest, x]."""
    batch = table.shape[:-3]
    flat = table.flatten(-3, -2)
    place = state * table.shape[-2] + joint
    if not any(size > 1 for size in batch):
        return flat.reshape(flat.shape[-2:])[place]
    flat = flat.reshape(-1, *flat.shape[-2:])
    game = torch.arange(len(flat), device=table.device).reshape(*batch, 1)
    return flat[game, place]


def as_law(transition: Any, counts: Sequence[int], discount: float = 1.0) -> Law:
    """discount * P, from a table [..., s, a1, ..., an, t] or `Sparse`, with joint actions in one dimension."""
    n = len(counts)
    if isinstance(transition, Sparse):
        successors, probabilities = (x.flatten(-1 - n, -2) for x in (transition.successors, transition.probabilities))
        return SparseLaw(*torch.broadcast_tensors(successors, discount * probabilities))
    return DenseLaw(discount * transition.flatten(-1 - n, -2))


def rounding(p: Tensor) -> float:
    """How far the sum of a row of probabilities may be off."""
    return max(1e-9, 16 * torch.finfo(p.dtype).eps)


def _fit(*shapes: torch.Size) -> bool:
    try:
        broadcast_shapes(*shapes)
    except RuntimeError:
        return False
    return True


def require_law(transition: Any, counts: Sequence[int], states: int, field: str = "transition") -> None:
    """Refuse what is no law of the next state: shapes, numbers that are not finite or negative, rows above one."""
    shape = (states, *counts)
    if isinstance(transition, Sparse):
        to, p = transition.successors, transition.probabilities
        if to.is_floating_point() or to.is_complex() or to.dtype == torch.bool:
            raise refuse(f"{field}.successors", to.dtype, "whole numbers")
        if not p.is_floating_point():
            raise refuse(f"{field}.probabilities", p.dtype, "floating-point numbers")
        for name, x in (("successors", to), ("probabilities", p)):
            if x.dim() < len(shape) + 1 or tuple(x.shape[-1 - len(shape) : -1]) != shape:
                wanted = f"[..., {', '.join(map(str, shape))}, k]"
                raise refuse(f"{field}.{name}", f"shape {list(x.shape)}", wanted)
        if to.shape[-1] != p.shape[-1]:
            raise refuse(f"{field}.successors", f"shape {list(to.shape)}", f"that of probabilities, {list(p.shape)}")
        if not _fit(to.shape, p.shape):
            raise refuse(f"{field}.successors", f"shape {list(to.shape)}", f"that of probabilities, {list(p.shape)}")
        outside = (to < 0) | (to >= states)
        if bool(outside.any()):
            place = tuple(outside.nonzero()[0].tolist())
            raise refuse(f"{field}.successors{list(place)}", int(to[place]), f"a state from 0 to {states - 1}")
    else:
        p = transition
        if not isinstance(p, Tensor) or not p.is_floating_point():
            raise refuse(field, type(p).__name__, "a floating-point tensor [..., s, a1, ..., an, t], or Sparse")
        if p.dim() < len(shape) + 1 or tuple(p.shape[-1 - len(shape) :]) != (*shape, states):
            raise refuse(field, f"shape {list(p.shape)}", f"[..., {', '.join(map(str, (*shape, states)))}]")
    for bad, wanted in ((~p.isfinite(), "a finite probability"), (p < 0, "a probability of at least 0")):
        if bool(bad.any()):
            place = tuple(bad.nonzero()[0].tolist())
            raise refuse(f"{field}{list(place)}", float(p[place]), wanted)
    total, most = p.sum(-1), 1 + rounding(p)
    if bool((total > most).any()):
        place = tuple((total > most).nonzero()[0].tolist())
        wanted = "rows that sum to at most 1, the rest being the probability that the episode ends"
        raise refuse(f"{field}{list(place)}", f"a row that sums to {float(total[place]):.9g}", wanted)
