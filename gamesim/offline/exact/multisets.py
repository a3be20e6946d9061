"""All ways in which so many agents are spread over so many kinds, and the number of each.

What is invariant under permutations of agents knows of them only how many are of each kind: a multiset, of which there
are C(N + K - 1, K - 1) instead of K^N. They are numbered in lexicographic order of their counts (c_1, ..., c_K).
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Multisets:
    """The multisets of a size.

    >>> Multisets(2, 2).table.tolist()
    [[0, 2], [1, 1], [2, 0]]
    """

    size: int
    kinds: int

    @property
    def count(self) -> int:
        """How many there are."""
        return comb(self.size + self.kinds - 1, self.kinds - 1)

    @cached_property
    def table(self) -> Tensor:
        """How many are of each kind, int64 [multiset, kind]."""
        last = self.size + self.kinds - 1
        bars = np.array(list(combinations(range(last), self.kinds - 1)), dtype=np.int64).reshape(self.count, -1)
        ends = np.full((self.count, 1), last)
        return torch.from_numpy(np.diff(np.concatenate([-np.ones_like(ends), bars, ends], 1), axis=1) - 1)

    @cached_property
    def _before(self) -> Tensor:
        """How many multisets stand before count v of kind j where `rest` are left to place, [j, rest, v]."""
        n, kinds = self.size, self.kinds
        found = torch.zeros(kinds, n + 1, n + 2, dtype=torch.int64)
        for j in range(kinds - 1):
            for rest in range(n + 1):
                ways = [comb(rest - v + kinds - j - 2, kinds - j - 2) for v in range(rest + 1)]
                found[j, rest, 1 : rest + 2] = torch.tensor(ways).cumsum(0)
        return found

    def number(self, counts: Tensor) -> Tensor:
        """The number of each multiset, [...] from whole numbers [..., kind] that add up to the size."""
        counts = counts.long()
        rest = self.size - counts.cumsum(-1) + counts  # what is left before each kind
        return self._before.to(counts.device)[torch.arange(self.kinds, device=counts.device), rest, counts].sum(-1)
