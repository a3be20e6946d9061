"""The linear conditions under which nobody gains by deviating from a joint distribution p(a1, ..., an).

Correlated (Aumann, J. Math. Economics 1, 1974): nobody who is told to play a gains by b instead,

    sum_{a_-i} p(a, a_-i) (u_i(b, a_-i) - u_i(a, a_-i)) <= 0        for every player i, actions a and b

Coarse correlated (Moulin and Vial, Int. J. Game Theory 7, 1978): nobody gains by a fixed b, told in advance or not,

    sum_{a_-i} q_i(a_-i) u_i(b, a_-i) <= w_i      q_i(a_-i) = sum_a p(a, a_-i)      w_i = sum_a p(a) u_i(a)

with the marginals q_i and payoffs w_i as variables of their own: written out in p alone the rows would have no zeros.
Each player's payoffs are measured in units of their stakes, the most that a change of action changes, and from the
best reply to each a_-i: neither changes a condition.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gamesim.equilibria.exact import Floats
from gamesim.errors import refuse

LARGEST = 5 * 10**7
"""Numbers that the conditions of correlated equilibrium may have."""


@dataclass(frozen=True)
class Conditions:
    """at_most @ z <= 0, equal @ z = 0 and z >= lower on z = (p, further variables), as sparse arrays."""

    at_most: Any
    equal: Any
    lower: Floats
    """0 or minus infinity, [column]."""


def own_first(u: Floats, player: int) -> Floats:
    """u_i[a_i, others] of u[player, a1, ..., an]."""
    found: Floats = np.moveaxis(u[player], player, 0).reshape(u.shape[1 + player], -1)
    return found


def stakes(u: Floats) -> Floats:
    """max_{a_-i} (max_a u_i - min_a u_i) per player: the most that a change of action changes."""
    return np.array([np.ptp(own_first(u, i), axis=0).max() for i in range(len(u))])


def correlated_conditions(u: Floats) -> Conditions:
    """Of u[player, a1, ..., an], without the rows that hold for every p: those of b that never pays more than a."""
    from scipy.sparse import csr_array

    counts = u.shape[1:]
    profiles = np.arange(u[0].size).reshape(counts)
    size = sum(count - 1 for count in counts) * profiles.size
    if size > LARGEST:
        wanted = f"at most {LARGEST:,} numbers in its conditions; kind='coarse' needs far fewer"
        raise refuse("payoffs", f"a game of {list(counts)} actions with {size:,}", wanted)
    values, columns, lengths = [np.zeros(0)], [np.zeros(0, dtype=np.intp)], [np.zeros(1, dtype=np.intp)]
    for i, stake in enumerate(stakes(u)):
        if stake > 0:
            own = own_first(u, i)
            own = (own - own.max(0)) / stake
            gain = own - own[:, None]  # [a, b, others]
            told, better = (gain > 0).any(-1).nonzero()
            values.append(gain[told, better].ravel())
            columns.append(np.moveaxis(profiles, i, 0).reshape(own.shape)[told].ravel())
            lengths.append(np.full(len(told), own.shape[1]))
    ends = np.cumsum(np.concatenate(lengths))
    at_most = csr_array((np.concatenate(values), np.concatenate(columns), ends), shape=(len(ends) - 1, profiles.size))
    return Conditions(at_most, csr_array((0, profiles.size)), np.zeros(profiles.size))


def coarse_conditions(u: Floats) -> Conditions:
    """Of u[player, a1, ..., an], on z = (p, q_1, w_1, ..., q_n, w_n); players who cannot change anything have none."""
    profiles = np.arange(u[0].size).reshape(u.shape[1:])
    at_most, equal, width, rows, ties = _Entries(), _Entries(), profiles.size, 0, 0
    lower = [np.zeros(profiles.size)]
    for i, stake in enumerate(stakes(u)):
        if stake > 0:
            own = own_first(u, i)
            own = (own - own.max(0)) / stake
            count, others = own.shape
            place = np.moveaxis(profiles, i, 0).reshape(own.shape)
            q, w, fixed = width + np.arange(others), width + others, np.arange(count)[:, None]
            at_most.add(rows + fixed, q, own)
            at_most.add(rows + fixed, w, -1.0)
            equal.add(ties + np.arange(others), place, -1.0)
            equal.add(ties + np.arange(others), q, 1.0)
            equal.add(ties + others, place, -own)
            equal.add(ties + others, w, 1.0)
            lower += [np.zeros(others), np.full(1, -np.inf)]
            width, rows, ties = width + others + 1, rows + count, ties + others + 1
    return Conditions(at_most.array(rows, width), equal.array(ties, width), np.concatenate(lower))


class _Entries:
    """The numbers of a sparse array, gathered block by block."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Any, ...]] = []

    def add(self, row: Any, column: Any, value: Any) -> None:
        self.blocks.append(tuple(x.ravel() for x in np.broadcast_arrays(row, column, value)))

    def array(self, rows: int, columns: int) -> Any:
        from scipy.sparse import coo_array, csr_array

        if not self.blocks:
            return csr_array((rows, columns))
        row, column, value = (np.concatenate(parts) for parts in zip(*self.blocks, strict=True))
        return coo_array((value, (row, column)), shape=(rows, columns)).tocsr()
