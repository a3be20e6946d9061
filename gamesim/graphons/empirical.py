"""The graphon of a network that somebody measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.graphons.graphon import DENSE_LIMIT, DENSE_UP_TO, Graphon
from gamesim.graphons.grids import Grid
from gamesim.graphons.operators import Form, Operator, Sparse, compressed


@dataclass(frozen=True, eq=False)
class Empirical(Graphon):
    """The graphon of a network: n equal steps, W = adjacency[i, j] on the cell (i, j). adjacency: scipy sparse [n, n]."""

    adjacency: Any
    name: str = "graph"

    def __str__(self) -> str:
        return self.name

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        n = self.adjacency.shape[0]
        x, y = torch.broadcast_tensors(x, y)
        i, j = ((v * n).floor().clamp(0, n - 1).long().cpu().numpy().ravel() for v in (x, y))
        values = np.asarray(self.adjacency[i, j]).ravel()
        return torch.as_tensor(values, dtype=x.dtype, device=x.device).reshape(x.shape)

    def blocks(self) -> tuple[Tensor, Tensor]:
        n = self.adjacency.shape[0]
        if n > DENSE_LIMIT:
            return torch.zeros(0, 0), torch.arange(1, n, dtype=torch.float64) / n
        return torch.from_numpy(self.adjacency.toarray().astype(float)), torch.arange(1, n, dtype=torch.float64) / n

    def forms(self, x: Tensor) -> list[str]:
        return ["sparse", "dense", "step"] if len(x) == self.adjacency.shape[0] else ["step", "dense"]

    def operator(self, grid: Grid, form: Form = "auto") -> Operator:
        n = self.adjacency.shape[0]
        one_each = grid.rule == "block" or (grid.rule == "midpoint" and len(grid) == n)
        small = n <= 10 * DENSE_UP_TO
        if one_each and (form == "sparse" or (form == "auto" and not small)):
            return Sparse(compressed(self.adjacency / n, grid.weights))
        if form == "sparse":
            raise refuse("operator", form, "quadrature=block, one position per node")
        if form == "auto":
            form = "dense" if one_each else "step"
        return super().operator(grid, form)
