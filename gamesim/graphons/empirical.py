"""The graphon of a network that somebody measured: W = adjacency[i, j] on the cell of nodes i and j.

n nodes cut [0, 1] into n equal steps. On the grid with one position per node the aggregate is the mean over all nodes,
z_i = (1/n) sum_j adjacency[i, j] mu_j, so that the aggregate of ones is the degree over n. Averaged over blocks of
nodes it becomes a step graphon. Nothing here is n x n in memory unless the network is small or dense is asked for.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.graphons.families import BlockGraphon
from gamesim.graphons.graphon import DENSE_LIMIT, DENSE_UP_TO, Graphon
from gamesim.graphons.grids import Grid, Rule
from gamesim.graphons.operators import Dense, Form, Operator, Sparse, compressed

BLOCKS_LIMIT = 1000
SPARSE_COSTS = 8  # times as much for an edge as for an entry of a dense matrix


@dataclass(frozen=True, eq=False)
class Empirical(Graphon):
    """The graphon of a network of n nodes, in the order of its adjacency."""

    adjacency: Any
    """Symmetric [n, n] of weights in [0, 1], 1 an edge, with an empty diagonal: scipy sparse, or array-like."""
    name: str = "graph"

    def __post_init__(self) -> None:
        object.__setattr__(self, "adjacency", _require_network(self.adjacency, self.name))

    def __str__(self) -> str:
        return self.name

    def __len__(self) -> int:
        return int(self.adjacency.shape[0])

    @cached_property
    def cuts(self) -> Tensor:
        """Where a node's cell ends and the next begins, [n - 1]."""
        return torch.arange(1, len(self), dtype=torch.float64) / len(self)

    def nodes(self, x: Tensor) -> Any:
        """The node of each position, a numpy array; a position on a cut belongs to the node on its right."""
        return torch.searchsorted(self.cuts.to(x), x.contiguous(), right=True).cpu().numpy()

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        import numpy as np

        i, j = np.broadcast_arrays(self.nodes(x), self.nodes(y))
        values = self.adjacency[i.ravel(), j.ravel()]
        values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        return torch.from_numpy(values.ravel()).to(x).reshape(i.shape)

    def blocks(self) -> tuple[Tensor, Tensor]:
        if len(self) > DENSE_LIMIT:
            raise refuse("graph", str(self), f"blocks=... where block values are asked for: it has {len(self)} nodes")
        return torch.from_numpy(self.adjacency.toarray()), self.cuts

    def grid(self, rule: Rule, positions: int | None, *, dtype: torch.dtype, device: str) -> Grid:
        if rule != "block":
            return super().grid(rule, positions, dtype=dtype, device=device)
        n = len(self)
        if positions not in (None, n):
            raise refuse("positions", positions, f"{n} with quadrature=block: one per node, or leave it out")
        edges = torch.arange(n + 1, dtype=torch.float64) / n
        middle = ((edges[1:] + edges[:-1]) / 2).to(device=device, dtype=dtype)
        return Grid(middle, torch.full((n,), 1 / n, dtype=dtype, device=device), rule)

    def forms(self, x: Tensor) -> list[str]:
        small = ["dense"] if len(x) <= DENSE_LIMIT else []
        return ["sparse", *small, *(["step"] if len(self) <= DENSE_LIMIT else [])]

    def operator(self, grid: Grid, form: Form = "auto") -> Operator:
        """Sparse or dense, whichever is cheaper: the rows and columns of the nodes that the positions fall on."""
        forms = self.forms(grid.positions)
        if form not in ("auto", *forms):
            raise refuse("operator", form, f"a form that {self} has here: {', '.join(forms)}")
        if form == "step":
            return super().operator(grid, form)
        x, w = grid.positions, grid.weights
        felt = self.adjacency
        if not (grid.rule == "block" and len(grid) == len(self) and bool((w == w[0]).all())):
            node = self.nodes(x)
            felt = felt[node][:, node]
        if form == "auto":
            cheaper = len(x) <= DENSE_UP_TO or SPARSE_COSTS * felt.nnz > len(x) ** 2
            form = "dense" if cheaper and "dense" in forms else "sparse"
        if form == "dense":
            return Dense(torch.from_numpy(felt.toarray()).to(x) * w)
        return Sparse(compressed(felt.multiply(w.cpu().numpy()), x))

    def averaged(self, blocks: int) -> BlockGraphon:
        """The step graphon of the mean adjacency between nearly equal blocks of consecutive nodes."""
        import numpy as np
        from scipy import sparse

        n = len(self)
        if not 1 <= blocks <= min(n, BLOCKS_LIMIT):
            raise refuse("blocks", blocks, f"1 to {min(n, BLOCKS_LIMIT)} for {self}, which has {n} nodes")
        ends = np.arange(1, blocks + 1) * n // blocks
        sizes = np.diff(ends, prepend=0)
        member = sparse.csr_matrix((np.ones(n), (np.repeat(np.arange(blocks), sizes), np.arange(n))), shape=(blocks, n))
        values = (member @ self.adjacency @ member.T).toarray() / np.outer(sizes, sizes)
        return BlockGraphon(tuple(map(tuple, values.tolist())), tuple((ends[:-1] / n).tolist()))


def _require_network(adjacency: Any, name: str) -> Any:
    """The adjacency as compressed rows (scipy, float64), refused unless it is an undirected simple network."""
    import numpy as np
    from scipy import sparse

    def bad(found: str, wanted: str) -> Exception:
        return refuse("graph", f"{name}, {found}", wanted)

    if not sparse.issparse(adjacency):
        try:
            adjacency = np.asarray(adjacency)
        except (ValueError, TypeError, RuntimeError):  # rows of several lengths; a tensor that is not numpy's
            raise bad("rows of unequal length, or no numbers", "a square matrix") from None
    shape = tuple(adjacency.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise bad(f"an adjacency of shape {list(shape)}", "a square adjacency, one row and column per node")
    if adjacency.dtype.kind not in "buif":
        raise bad(f"an adjacency of {adjacency.dtype}", "an adjacency of numbers")
    if shape[0] == 0:
        raise bad("no nodes", "at least two nodes and an edge")
    entries = adjacency.nnz if sparse.issparse(adjacency) else -1
    rows = sparse.csr_matrix(adjacency, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    if rows.nnz < entries:
        raise bad("the same entry twice", "no parallel edges: join them into one with the weight you mean")
    if not np.isfinite(rows.data).all():
        raise bad("a weight that is not finite", "weights between 0 and 1")
    rows.eliminate_zeros()
    if not rows.nnz:
        raise bad("no edges", "at least one edge")
    if rows.data.min() < 0 or rows.data.max() > 1:
        words = f"weights from {rows.data.min():.6g} to {rows.data.max():.6g}"
        raise bad(words, "weights between 0 and 1: divide them by the largest, or leave them out")
    loops = np.flatnonzero(rows.diagonal())
    if len(loops):
        raise bad(f"node {loops[0]} joined to itself", "no self-loops: remove them")
    gap = abs(rows - rows.T).tocoo()
    if gap.nnz and gap.data.max() > 1e-9:
        worst = int(gap.data.argmax())
        found = f"a directed edge between nodes {gap.row[worst]} and {gap.col[worst]}"
        raise bad(found, "an undirected network: the same weight both ways")
    return rows
