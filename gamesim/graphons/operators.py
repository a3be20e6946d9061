"""What a graphon does to a population on a grid: z = W mu on columns, with the quadrature weights inside."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

Form = Literal["auto", "dense", "low-rank", "step", "prefix-sum", "sparse"]


class Operator(ABC):
    """z = W mu on columns: [..., k, c] -> [..., k, c]; the quadrature weights are inside."""

    form: ClassVar[str]

    @abstractmethod
    def __call__(self, columns: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Dense(Operator):
    """matrix[..., k, j] = W(x_k, x_j) w_j."""

    matrix: Tensor
    form: ClassVar[str] = "dense"

    def __call__(self, columns: Tensor) -> Tensor:
        if self.matrix.dim() == 2 and columns.dim() > 2:
            return in_one_product(self.matrix, columns)
        return self.matrix @ columns


@dataclass(frozen=True)
class LowRank(Operator):
    """left[..., k, r] right[..., r, j]."""

    left: Tensor
    right: Tensor
    form: ClassVar[str] = "low-rank"

    def __call__(self, columns: Tensor) -> Tensor:
        return self.left @ (self.right @ columns)


@dataclass(frozen=True)
class Step(Operator):
    """values[..., K, K] between blocks; block[k] is each position's, weights[k] the quadrature's."""

    values: Tensor
    block: Tensor
    weights: Tensor
    form: ClassVar[str] = "step"

    def __call__(self, columns: Tensor) -> Tensor:
        shape = (*columns.shape[:-2], self.values.shape[-1], columns.shape[-1])
        mass = columns.new_zeros(shape).index_add(-2, self.block, columns * self.weights[:, None])
        return (self.values @ mass).index_select(-2, self.block)


@dataclass(frozen=True)
class PrefixSum(Operator):
    """W = rising(min) falling(max) on increasing positions, by one running sum: rising[..., k], falling[..., k]."""

    rising: Tensor
    falling: Tensor
    weights: Tensor
    form: ClassVar[str] = "prefix-sum"

    @cached_property
    def columns(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """rising, falling, rising w and falling w as columns [..., k, 1]."""
        rising, falling = self.rising[..., None], self.falling[..., None]
        return rising, falling, rising * self.weights[:, None], falling * self.weights[:, None]

    def __call__(self, columns: Tensor) -> Tensor:
        rising, falling, rising_w, falling_w = self.columns
        below = (columns * rising_w).cumsum(-2)
        upto = (columns * falling_w).cumsum(-2)
        return torch.addcmul(falling * below, rising, upto[..., -1:, :] - upto)


@dataclass(frozen=True)
class Sparse(Operator):
    """matrix[k, j] in compressed rows, weights inside."""

    matrix: Tensor
    form: ClassVar[str] = "sparse"

    def __call__(self, columns: Tensor) -> Tensor:
        return in_one_product(self.matrix, columns)


def in_one_product(matrix: Tensor, columns: Tensor) -> Tensor:
    """matrix[k, j] applied to columns[..., j, c] as one product for the whole batch, not one for each."""
    k, c = columns.shape[-2:]
    flat = matrix @ columns.movedim(-2, 0).reshape(k, -1)
    return flat.reshape(k, *columns.shape[:-2], c).movedim(0, -2)


def compressed(matrix: Any, like: Tensor) -> Tensor:
    rows = matrix.tocsr()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr).long(),
            torch.from_numpy(rows.indices).long(),
            torch.from_numpy(rows.data),
            size=rows.shape,
            dtype=like.dtype,
            device=like.device,
            check_invariants=False,  # scipy's rows are valid; left unsaid, torch warns
        )
