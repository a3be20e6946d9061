"""Expectations over how many others chose what, exactly and without the payoff tensor.

Players choose alone, player j option c = 0..K with probability p_j(c). For a function f of the counts of options 1..K
among all players but i,

    E_i f = sum over k of P( sum over j != i of [c_j = 1], ..., [c_j = K] = k ) f(k)

is wanted for every i. With K = 1 the law is Poisson's binomial. Instead of the n laws, each with one player left out,
players are averaged out of f one at a time, f(k) <- p_j(0) f(k) + sum_c p_j(c) f(k + e_c), and the players of one half
share the work: the other half is averaged out once, then each half goes on with its own. Every number is a convex
combination of values of f, so that nothing cancels; n players take O(n^(K + 1)) operations.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from gamesim.shapes import broadcast_shapes

PIECE = 2**25
"""Numbers worked on at once, about; larger batches are taken in halves."""


def expect_others(chances: Tensor, table: Tensor) -> Tensor:
    """E_i f for chances[..., player, option] and f = table[..., out, k1, ..., kK], counts below n: [..., player, out].

    Counts that cannot be, of more than n - 1 others together, must be finite and play no part.
    """
    n, options = chances.shape[-2:]
    batch = broadcast_shapes(chances.shape[:-2], table.shape[:-options])
    if batch and batch[0] > 1 and 2 * prod(batch) * prod(table.shape[-options:]) > PIECE:
        half = batch[0] // 2
        pieces = [
            expect_others(_part(chances, len(batch) + 2, part), _part(table, len(batch) + options, part))
            for part in (slice(None, half), slice(half, None))
        ]
        return torch.cat(pieces)
    nobody = torch.zeros(options, dtype=chances.dtype, device=chances.device)
    nobody[0] = 1  # who is added to make a number even is not counted
    who, found, size = torch.arange(n), table.unsqueeze(-options - 1), n
    members = chances.unsqueeze(-3)  # [..., group, member, option]; found[..., group, out, counts]
    while size > 1:
        half = (size + 1) // 2
        if size % 2:
            found = torch.nn.functional.pad(found, (0, 1) * (options - 1))
            members = torch.cat([members, nobody.expand(*members.shape[:-2], 1, options)], -2)
        halves = members.unflatten(-2, (2, half))  # [..., group, 2, member, option]
        others = halves.flip(-3)
        found = found.unsqueeze(-options - 1)
        for j in range(half):
            found = averaged(found, others[..., j, :])
        found = found.flatten(-options - 2, -options - 1)
        members = halves.flatten(-4, -3)
        size = half
        who = _halves(who, half)
    place = who.reshape(-1).argsort(stable=True)[-n:]  # behind those who were added, -1
    values = found.reshape(*found.shape[: found.dim() - options + 1]).index_select(-2, place.to(found.device))
    return values.expand(*batch, *values.shape[-2:])


def averaged(table: Tensor, chance: Tensor) -> Tensor:
    """One player's choice averaged out: table[..., out, k1, ..., kK] loses the last count of each option."""
    options = chance.shape[-1]
    weights = chance.reshape(*chance.shape, *[1] * options)
    as_many: list[Any] = [slice(-1)] * (options - 1)
    found = weights.select(-options - 1, 0) * table[(..., *as_many)]
    for c in range(1, options):
        more = [slice(1, None) if k == c else own for k, own in enumerate(as_many, 1)]
        found = found + weights.select(-options - 1, c) * table[(..., *more)]
    return found


def expect_alike(chance: Tensor, table: Tensor, others: int) -> Tensor:
    """E f where so many others all choose by chance[..., option]: [..., out] for table[..., out, k1, ..., kK]."""
    options = chance.shape[-1]
    batch = broadcast_shapes(chance.shape[:-1], table.shape[:-options])  # without others nothing is averaged
    for _ in range(others):
        table = averaged(table, chance)
    return table.reshape(*table.shape[: table.dim() - options + 1]).expand(*batch, -1)


def _halves(who: Tensor, half: int) -> Tensor:
    """Who is in which group after all are halved, [group, member]; -1 for those who were added."""
    groups = who if who.dim() == 2 else who[None]
    padded = torch.nn.functional.pad(groups, (0, 2 * half - groups.shape[-1]), value=-1)
    return padded.reshape(-1, half)


def _part(x: Tensor, rank: int, part: slice) -> Tensor:
    """A part along the first dimension of the batch, where x has it."""
    return x[part] if x.dim() == rank and x.shape[0] > 1 else x
