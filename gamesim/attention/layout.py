"""How rows fall into sets: set b is rows offsets[b] to offsets[b + 1] of x[..., row, d], and nothing is padded.

Leading dimensions (seeds, networks) share one layout: as many sets of the same sizes, in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each set begins. Make one by `Layout.of(sizes)` or `Layout.repeated(size, count)`.

    >>> Layout.of([2, 0, 3])
    3 sets of 0 to 3, 5 rows
    """

    offsets: Tensor
    """Where each set begins, and where the last one ends: int64 [b + 1], from 0, never falling."""
    longest: int
    """Rows of the largest set; 0 where there is none."""
    even: int | None
    """Rows of every set, where all have as many: x is then [..., b * even, d], and dense."""
    rows: int
    """Rows of all sets."""

    @classmethod
    def of(cls, sizes: Sequence[int] | Tensor, device: Any = None) -> "Layout":
        """From the sizes of the sets, whole numbers of at least 0; on `device`, or where the sizes are."""
        given = torch.as_tensor(sizes, dtype=None if len(sizes) else torch.int64)
        if given.dim() != 1 or given.is_floating_point() or given.dtype == torch.bool or given.is_complex():
            raise refuse("sizes", f"{given.dtype} of shape {list(given.shape)}", "whole numbers [b], one for each set")
        small = given.to("cpu", torch.int64)
        if bool((small < 0).any()):
            at = int((small < 0).nonzero()[0])
            raise refuse(f"sizes[{at}]", int(small[at]), "a whole number of at least 0")
        offsets = torch.cat([small.new_zeros(1), small.cumsum(0)])
        longest = int(small.max()) if len(small) else 0
        even = longest if len(small) and int(small.min()) == longest else None
        return cls(offsets.to(given.device if device is None else device), longest, even, int(offsets[-1]))

    @classmethod
    def repeated(cls, size: int, count: int, device: Any = None) -> "Layout":
        """So many sets of one size."""
        return cls(
            torch.arange(count + 1, device=device) * size, size if count else 0, size if count else None, size * count
        )

    @classmethod
    def at(cls, offsets: Tensor | Sequence[int], name: str = "offsets") -> "Layout":
        """From offsets (`cu_seqlens`): whole numbers [b + 1] that begin at 0 and never fall; refused by this name."""
        try:
            offsets = torch.as_tensor(offsets)
        except (TypeError, ValueError, RuntimeError):
            raise refuse(name, type(offsets).__name__, "whole numbers [b + 1] from 0 on") from None
        whole = not (offsets.is_floating_point() or offsets.is_complex() or offsets.dtype == torch.bool)
        if offsets.dim() != 1 or not whole or len(offsets) == 0:
            raise refuse(name, f"{offsets.dtype} of shape {list(offsets.shape)}", "whole numbers [b + 1] from 0 on")
        given = offsets.to("cpu", torch.int64)
        if int(given[0]) != 0:
            raise refuse(f"{name}[0]", int(given[0]), "0, where the first set begins")
        falls = (given.diff() < 0).nonzero()
        if len(falls):
            i = int(falls[0]) + 1
            raise refuse(f"{name}[{i}]", int(given[i]), f"at least {int(given[i - 1])}, where set {i - 1} begins")
        return cls.of(given.diff(), offsets.device)

    def times(self, count: int) -> "Layout":
        """The same sets so many times over, one after the other."""
        if self.even is not None:
            return Layout.repeated(self.even, self.count * count, self.offsets.device)
        copies = torch.arange(count, device=self.offsets.device)[:, None] * self.rows
        offsets = torch.cat([self.offsets[:1], (self.offsets[1:] + copies).flatten()])
        return Layout(offsets, self.longest, None, self.rows * count)

    @property
    def count(self) -> int:
        """How many sets there are."""
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> Tensor:
        """Rows of each set, int64 [b]."""
        return self.offsets.diff()

    @cached_property
    def owners(self) -> Tensor:
        """The set of each row, int64 [row]."""
        return torch.repeat_interleave(
            torch.arange(self.count, device=self.offsets.device), self.sizes, output_size=self.rows
        )

    @cached_property
    def places(self) -> Tensor:
        """The place of each row in its set, int64 [row]."""
        return torch.arange(self.rows, device=self.offsets.device) - self.offsets[:-1][self.owners]

    def to(self, device: Any) -> "Layout":
        return Layout(self.offsets.to(device), self.longest, self.even, self.rows)

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        """x[..., row, d] as [..., b, longest, d]."""
        if self.even is not None:
            return x.reshape(*x.shape[:-2], self.count, self.even, x.shape[-1])
        flat = x.new_full((*x.shape[:-2], self.count * self.longest, x.shape[-1]), value)
        placed = flat.index_copy(-2, self.owners * self.longest + self.places, x)
        return placed.reshape(*x.shape[:-2], self.count, self.longest, x.shape[-1])

    def unpad(self, x: Tensor) -> Tensor:
        """x[..., b, longest, d] as [..., row, d]."""
        if self.even is not None:
            return x.reshape(*x.shape[:-3], self.rows, x.shape[-1])
        flat = x.reshape(*x.shape[:-3], self.count * self.longest, x.shape[-1])
        return flat.index_select(-2, self.owners * self.longest + self.places)

    def spread(self, x: Tensor) -> Tensor:
        """What each set has, x[..., b, d], for each of its rows: [..., row, d]."""
        if self.even is not None:
            return (
                x.unsqueeze(-2)
                .expand(*x.shape[:-1], self.even, x.shape[-1])
                .reshape(*x.shape[:-2], self.rows, x.shape[-1])
            )
        return x.index_select(-2, self.owners)

    def sum(self, x: Tensor) -> Tensor:
        """x[..., row, d] added up in each set, [..., b, d]; an empty set has 0."""
        if self.even is not None:
            return self.pad(x).sum(-2)
        return x.new_zeros(*x.shape[:-2], self.count, x.shape[-1]).index_add(-2, self.owners, x)

    def mean(self, x: Tensor) -> Tensor:
        """The mean of x[..., row, d] over each set, [..., b, d]; an empty set has 0."""
        return self.sum(x) / self.sizes.clamp(min=1).to(x.dtype)[:, None]

    def __repr__(self) -> str:
        if self.even is not None:
            return f"{self.count} sets of {self.even}, {self.rows} rows"
        least = int(self.sizes.min()) if self.count else 0
        return f"{self.count} sets of {least} to {self.longest}, {self.rows} rows"
