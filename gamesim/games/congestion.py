"""Congestion games: everyone chooses a set of resources, and each resource costs more the more use it.

    u_i(a) = - sum over r in a_i of c_r(number of players whose set has r)

    v_i(x)[a] = - sum over r in a of E c_r(1 + L_-i,r)        L_-i,r = sum over j != i of Bernoulli(p_jr)

where p_jr is the probability that j uses r; the loads follow Poisson's binomial law, taken exactly (gamesim.games.
counting). Whoever changes sets changes minus the potential of Rosenthal,

    phi(a) = - sum_r sum_{k = 1}^{load_r(a)} c_r(k)

by just what they gain, so that pure equilibria exist. Rosenthal, International Journal of Game Theory 2 (1973).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.counting import expect_others
from gamesim.games.finite import are_counts, left_out
from gamesim.games.matrix import LARGEST
from gamesim.games.structured import StructuredGame
from gamesim.shapes import broadcast_shapes


@dataclass(frozen=True, eq=False)
class CongestionGame(StructuredGame):
    """Sets of resources that cost by load.

    >>> roads = CongestionGame.of([[[0], [1]]] * 3, [[1.0, 2.0, 3.0], [2.5, 2.5, 2.5]])
    >>> roads.play(torch.tensor([0, 0, 1])).tolist()
    [-2.0, -2.0, -2.5]
    """

    uses: Tensor
    """[player, action, resource]: 1 where the set has the resource, 0 elsewhere."""
    costs: Tensor
    """c_r(k)[..., resource, load] for loads k = 1..n; leading dimensions are a batch of games."""
    action_counts: tuple[int, ...] = ()
    """Sets of each player; all those of `uses` if left out."""

    def __post_init__(self) -> None:
        if self.uses.dim() != 3 or 0 in self.uses.shape:
            raise refuse("uses", f"shape {list(self.uses.shape)}", "[player, action, resource], at least one of each")
        if not bool(((self.uses == 0) | (self.uses == 1)).all()):
            raise refuse("uses", "a number that is neither", "0 or 1")
        n, widest, resources = self.uses.shape
        if self.costs.dim() < 2 or tuple(self.costs.shape[-2:]) != (resources, n):
            raise refuse("costs", f"shape {list(self.costs.shape)}", f"[..., {resources}, {n}]: a cost for each load")
        if not self.costs.is_floating_point():
            raise refuse("costs", f"dtype {self.costs.dtype}", "floating-point numbers")
        if not bool(self.costs.isfinite().all()):
            index = tuple((~self.costs.isfinite()).nonzero()[0].tolist())
            raise refuse(f"costs{list(index)}", float(self.costs[index]), "a finite cost")
        counts = (widest,) * n if left_out(self.action_counts) else self.action_counts
        if not are_counts(counts) or len(counts) != n or max(counts) > widest:
            raise refuse("action_counts", counts, f"{n} numbers from 1 to {widest}")
        object.__setattr__(self, "action_counts", tuple(counts))
        object.__setattr__(self, "uses", self.uses[:, : max(counts)].to(self.costs))

    @classmethod
    def of(cls, sets: Sequence[Sequence[Iterable[int]]], costs: Any) -> "CongestionGame":
        """From sets[player][action] of numbers of resources, and costs[..., resource, load] for loads from 1 on."""
        table = costs if isinstance(costs, Tensor) else torch.as_tensor(costs, dtype=torch.float64)
        counts = tuple(map(len, sets))
        if 0 in counts or not counts:
            raise refuse("sets", list(counts), "at least one player, and one set for each")
        if table.dim() < 2 or not table.shape[-2]:
            wanted = f"[..., resource, {len(counts)}]: a cost for each load, of at least one resource"
            raise refuse("costs", f"shape {list(table.shape)}", wanted)
        resources = table.shape[-2]
        if len(counts) * max(counts) * resources > LARGEST:
            raise refuse("sets", f"{len(counts)} x {max(counts)} x {resources}", f"at most {LARGEST:,} numbers")
        uses = torch.zeros(len(counts), max(counts), resources, dtype=table.dtype)
        for i, own in enumerate(sets):
            for a, chosen in enumerate(own):
                for resource in chosen:
                    if not hasattr(resource, "__index__") or not 0 <= resource < resources:
                        raise refuse(f"sets[{i}][{a}]", resource, f"a resource from 0 to {resources - 1}")
                    uses[i, a, resource] = 1
        return cls(uses.to(table.device), table, counts)

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.costs.shape[:-2])

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": self.costs.dtype, "device": self.costs.device}

    def vectors(self, x: Tensor) -> Tensor:
        used = torch.einsum("...ia,iar->...ri", x, self.uses)
        expected = expect_others(torch.stack([1 - used, used], -1), self.costs.unsqueeze(-2)).squeeze(-1)
        return -torch.einsum("...ri,iar->...ia", expected, self.uses)

    def replies(self, actions: Tensor) -> Tensor:
        used = self._used(actions)
        others = (used.sum(-2, keepdim=True) - used).long().transpose(-1, -2)  # [..., resource, player]
        batch = broadcast_shapes(others.shape[:-2], self.batch)
        price = self.costs.expand(*batch, -1, -1).gather(-1, others.expand(*batch, -1, -1))
        return -torch.einsum("...ri,iar->...ia", price, self.uses)

    def potential(self, actions: Tensor) -> Tensor:
        """phi(a), [...] for actions[..., player]."""
        loads = self._used(actions).sum(-2).long()
        batch = broadcast_shapes(loads.shape[:-1], self.batch)
        summed = self._summed.expand(*batch, -1, -1)
        return -summed.gather(-1, loads.expand(*batch, -1).unsqueeze(-1)).squeeze(-1).sum(-1)

    def _used(self, actions: Tensor) -> Tensor:
        """Who uses what, [..., player, resource]."""
        return self.uses[torch.arange(len(self.action_counts), device=actions.device), actions]

    @cached_property
    def _summed(self) -> Tensor:
        """sum_{k = 1}^{load} c_r(k), [..., resource, load] for loads from 0 on."""
        return torch.nn.functional.pad(self.costs.cumsum(-1), (1, 0))
