"""Networks of finitely many agents: drawn from a graphon, dense or sparse, or measured.

Agents i < j at positions x_i and x_j are joined with probability

    min(1, rho_N W(x_i, x_j)),    independently of all other pairs,

where rho_N is the density: 1 is dense, N^(-beta) is sparse (Fabian, Cui and Koeppl, AISTATS 2023, for L^p graphons).
A network is kept as its lists of neighbours, so that memory and every step of play are O(edges).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.graphons import Empirical, Graphon
from gamesim.populations.places import Density, density_at, place_agents, require_agents
from gamesim.populations.thinning import cells_of, thinned
from gamesim.randomness import Stream

Method = Literal["auto", "rows", "cells"]

AT_ONCE = 10_000_000
"""Pairs of agents looked at at once."""
MOST_PAIRS = 4 * 10**10
"""Pairs that are looked at one by one: minutes."""
MOST_EDGES = 10**8
"""Edges of all networks together: 8 GB while they are sorted."""


@dataclass(frozen=True, eq=False)
class Network:
    """Who is joined to whom, for one network or a batch of networks of n agents each."""

    starts: Tensor
    """int64 [..., n + 1]: the neighbours of agent i are neighbours[starts[..., i] : starts[..., i + 1]]."""
    neighbours: Tensor
    """int32 [edges], each edge both ways, over all networks of the batch."""
    density: float = 1.0
    """rho_N: an agent feels the sum over its neighbours divided by n rho_N."""
    weights: Tensor | None = None
    """float64 [edges] of a measured network with weights."""

    def __len__(self) -> int:
        """The number of agents."""
        return self.starts.shape[-1] - 1

    def __str__(self) -> str:
        count = self.starts[..., 0].numel()
        several = f"{count} networks of " if count > 1 else ""
        return f"{several}{len(self)} agents, mean degree {float(self.degrees.mean()):.4g}, density {self.density:.4g}"

    @cached_property
    def degrees(self) -> Tensor:
        """The number of neighbours, or their weight: float64 [..., n]."""
        if self.weights is None:
            return self.starts.diff(dim=-1).double()
        running = torch.cat([self.weights.new_zeros(1), self.weights.cumsum(0)])
        return running[self.starts].diff(dim=-1)

    def matrix(self, index: int = 0) -> Any:
        """One network of the batch as a scipy.sparse.csr_array [n, n]."""
        from scipy import sparse

        starts = self.starts.view(-1, len(self) + 1)[index]
        inside = slice(int(starts[0]), int(starts[-1]))
        entries = torch.ones(inside.stop - inside.start).double() if self.weights is None else self.weights[inside]
        parts = (entries.numpy(), self.neighbours[inside].numpy(), (starts - starts[0]).numpy())
        return sparse.csr_array(parts, shape=(len(self), len(self)))

    @staticmethod
    def of(adjacency: Any, density: float = 1.0) -> "Network":
        """A network from a symmetric matrix with an empty diagonal: scipy sparse, or any array [n, n]."""
        import numpy as np

        rows = (adjacency if isinstance(adjacency, Empirical) else Empirical(adjacency, "network")).adjacency
        weights = None if (rows.data == 1).all() else torch.from_numpy(rows.data.astype(np.float64))
        starts, neighbours = (torch.from_numpy(part) for part in (rows.indptr, rows.indices))
        return Network(starts.long(), neighbours.int(), density, weights)


def draw_network(
    graphon: Graphon,
    positions: Tensor,
    density: Density = 1.0,
    generator: Stream | None = None,
    method: Method = "auto",
) -> Network:
    """A network at positions x[n] or x[..., n], one for each seed of the generator (then the leading dimension).

    Where W is constant on blocks or monotone in each coordinate, edges are drawn by thinning in O(edges) time; else,
    and where that is no slower, all pairs are looked at, some rows at a time. `method` forces one or the other.

    >>> from gamesim.graphons import ErdosRenyi
    >>> x = torch.linspace(0, 1, 1000, dtype=torch.float64)
    >>> print(draw_network(ErdosRenyi(0.5), x, density=0.02, generator=Stream(0)))
    1000 agents, mean degree 9.878, density 0.02
    """
    generator = Stream(0) if generator is None else generator
    n = require_agents(positions.shape[-1], least=2)
    rho = density_at(density, n)
    alone = not generator.front and positions.dim() == 1
    streams = generator.split()
    x = positions.double().cpu().expand(len(streams), n)
    coarse = place_agents("grid", min(n, 2000), generator)  # decided by the graphon alone, for all networks alike
    cells = None if method == "rows" else cells_of(graphon, coarse, rho)
    if method == "cells" and cells is None:
        raise refuse("method", method, f"rows: {graphon} is neither constant on blocks nor known to be monotone")
    share = 0.0 if cells is None else cells.candidates / len(coarse) ** 2
    if method == "auto" and share > 1 / 40:
        cells = None  # so many that looking at all pairs is no slower
    if 0.9 * share * n * n * len(streams) > MOST_EDGES:
        raise too_many(n, rho)
    if cells is None and n * n * len(streams) > MOST_PAIRS:
        most = f"at most {int((MOST_PAIRS / len(streams)) ** 0.5)} for {graphon} at density {rho:.3g}"
        raise refuse("agents", n, f"{most}: all pairs are looked at where W is not known to be monotone, or not sparse")
    draw = _by_rows if cells is None else thinned
    pairs, edges = list[tuple[Tensor, Tensor]](), 0
    for at, stream in zip(x, streams, strict=True):
        pairs.append(draw(graphon, at, rho, stream))
        edges += len(pairs[-1][0])
        if edges > MOST_EDGES:
            raise too_many(n, rho)
    drawn = _joined(pairs, n, rho)
    return Network(drawn.starts[0], drawn.neighbours, rho) if alone else drawn


def too_many(agents: int, rho: float) -> Exception:
    """The refusal of a network that no memory holds."""
    return refuse("agents", f"{agents} at density {rho:.3g}", f"fewer than {MOST_EDGES:.0e} edges in all networks")


def _by_rows(graphon: Graphon, x: Tensor, rho: float, stream: Stream) -> tuple[Tensor, Tensor]:
    """The pairs i < j that are joined, int64 [edges] each: all pairs are looked at, some rows at a time."""
    n, found, edges = len(x), list[Tensor](), 0
    rows = max(1, AT_ONCE // n)
    for first in range(0, n, rows):
        some = x[first : first + rows]
        chance = rho * graphon(some[:, None], x[None, first:])
        if not bool((chance >= 0).all()):
            bad = float(chance[~(chance >= 0)][0])
            raise refuse("graphon", f"{graphon}, rho W = {bad:g} for two agents", "a number of at least 0")
        found.append((stream.uniform(chance.shape) < chance).triu(1).nonzero() + first)
        edges += len(found[-1])
        if edges > MOST_EDGES:
            raise too_many(n, rho)
    i, j = torch.cat(found).unbind(-1)
    return i, j


def _joined(pairs: Sequence[tuple[Tensor, Tensor]], n: int, rho: float) -> Network:
    """The networks [g] of pairs i < j."""
    import numpy as np
    from scipy import sparse

    starts, neighbours, already = [], [], 0
    for i, j in pairs:
        both = (torch.cat([i, j]).numpy(), torch.cat([j, i]).numpy())
        rows = sparse.coo_array((np.ones(len(both[0]), np.int8), both), shape=(n, n)).tocsr()
        starts.append(torch.from_numpy(rows.indptr).long() + already)
        neighbours.append(torch.from_numpy(rows.indices).int())
        already += len(rows.indices)
    return Network(torch.stack(starts), torch.cat(neighbours), rho)
