"""The polynomial system of mixed equilibria on given supports, by Newton's method from many starts in one batch.

On supports S_i an equilibrium x with payoffs w_i solves

    v_i(x)[a] = w_i  for a in S_i,    x_i(a) = 0  for a not in S_i,    sum_a x_i(a) = 1

and is one where x >= 0 and no action outside pays more. Roots are found without a proof that there are no others.
McKelvey and McLennan, Handbook of Computational Economics 1 (1996), sec. 6; Porter, Nudelman and Shoham, Games and
Economic Behavior 63 (2008).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria.exact import Floats
from gamesim.equilibria.profiles import payoff_slopes
from gamesim.randomness import Stream

Supports = tuple[tuple[int, ...], ...]
"""The actions that each player mixes."""

STEPS = 40
"""Newton steps, at most."""
TOLERANCE = 1e-10
"""Regret up to which a profile counts as an equilibrium, for payoffs with a range of 1."""
APART = 1e-6
"""Largest difference of two profiles that count as one."""
FLAT = 1e-6
"""Smallest singular value of the derivatives from which a root counts as isolated."""
RARE = 1e-3
"""Probability up to which an action near an equilibrium is taken to be outside its support."""
NUMBERS = 2**22
"""Numbers in the largest tensor of one batch."""


def possible_supports(u: Floats, candidates: int) -> Iterator[Supports]:
    """Supports from small to large in which a regular equilibrium may mix, without those that dominance rules out.

    So many are looked at, at most; pure ones are left out.
    """
    sizes = product(*(range(1, count + 1) for count in u.shape[1:]))
    for size in sorted(sizes, key=lambda size: (sum(size), size)):
        mixed = sum(size) - len(size)
        if mixed == 0 or any(2 * (k - 1) > mixed for k in size):  # more equations than there are others' probabilities
            continue
        for supports in product(*(combinations(range(n), k) for n, k in zip(u.shape[1:], size, strict=True))):
            candidates -= 1
            if candidates < 0:
                return
            if not any(_dominated(u, i, supports) for i in range(len(supports))):
                yield supports


def _dominated(u: Floats, player: int, supports: Supports) -> bool:
    """Whether some action of the player in the support is strictly worse than another against these supports."""
    others = [list(own) if j != player else range(u.shape[j + 1]) for j, own in enumerate(supports)]
    value = np.moveaxis(u[player][np.ix_(*others)], player, 0).reshape(u.shape[player + 1], -1)
    return bool((value[:, None] > value[list(supports[player])]).all(-1).any())


def solve_supports(
    u: Tensor, supports: list[Supports], starts: int, seed: int, known: Sequence[list[Floats]] = ()
) -> tuple[list[list[Floats]], bool]:
    """The equilibria x_i[a] found on these supports, each once, after those known; and whether any is not isolated.

    Payoffs u[player, a1, ..., an] have a range of 1.
    """
    counts = list(u.shape[1:])
    found = list(known)
    continua: set[Supports] = set()
    size = max(1, NUMBERS // max(u[0].numel(), (sum(counts) + len(counts)) ** 2) // starts)
    stream = Stream(seed)
    for first in range(0, len(supports), size):
        part = supports[first : first + size]
        inside = torch.zeros(len(part), sum(counts), dtype=torch.bool)
        for row, own in zip(inside, part, strict=True):
            for offset, actions in zip(np.cumsum([0, *counts]).tolist(), own, strict=False):
                row[[offset + a for a in actions]] = True
        place = torch.arange(len(part)).repeat_interleave(starts)
        weights = -stream.uniform((len(place), sum(counts))).log() * inside[place]
        x = torch.cat([w / w.sum(-1, keepdim=True) for w in weights.split(counts, -1)], -1)
        x, place, isolated = _newton(u, x, inside[place], place)
        for row, k, alone in zip(x, place.tolist(), isolated.tolist(), strict=True):
            profile = [own.numpy() for own in row.split(counts)]
            if not alone and part[k] in continua:
                continue
            if all(max(np.abs(p - q).max() for p, q in zip(profile, old, strict=True)) > APART for old in found):
                found.append(profile)
                continua.update([] if alone else [part[k]])
    return [profile for profile in found if max(len(np.flatnonzero(p)) for p in profile) > 1], bool(continua)


def polish(u: Tensor, x: Sequence[Tensor]) -> list[Floats] | None:
    """The equilibrium that Newton's method reaches from x_i[a] on its support, or None."""
    start = torch.cat(list(x))[None]
    found, _, _ = _newton(u, start, start > RARE, torch.zeros(1, dtype=torch.long))
    return [own.numpy() for own in found[0].split(list(u.shape[1:]))] if len(found) else None


def _newton(u: Tensor, x: Tensor, inside: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Equilibria x[b, a] with no action outside `inside`, the place of each, and whether it is isolated."""
    counts = list(u.shape[1:])
    values = _values(payoff_slopes(u, x.split(counts, -1)), x.split(counts, -1))
    paid = torch.stack([(own * v).sum(-1) for own, v in zip(x.split(counts, -1), values, strict=True)], -1)
    z, kept = torch.cat([x, paid], -1), []
    for _ in range(STEPS):
        residual, jacobian = _system(u, z, inside)
        done = residual.abs().amax(-1) < 1e-14
        kept.append((z[done], inside[done], place[done]))
        step, failed = torch.linalg.solve_ex(jacobian, residual[..., None])
        z = z - step[..., 0]
        going = ~done & (failed == 0) & (z.abs().amax(-1) < 100)  # probabilities far from the simplex do not return
        z, inside, place = z[going], inside[going], place[going]
    kept.append((z, inside, place))
    z, inside, place = (torch.cat(parts) for parts in zip(*kept, strict=True))
    x = z[:, : sum(counts)]
    near = (x > -1e-9).all(-1)
    x, z, inside, place = x[near].clamp(min=0), z[near], inside[near], place[near]
    rows = [own / own.sum(-1, keepdim=True) for own in torch.where(x < 1e-12, 0, x).split(counts, -1)]
    values = _values(payoff_slopes(u, rows), rows)
    regret = torch.stack([(p * (v.amax(-1, keepdim=True) - v)).sum(-1) for p, v in zip(rows, values, strict=True)])
    good = regret.amax(0) <= TOLERANCE
    smallest = torch.linalg.svdvals(_system(u, z[good], inside[good])[1])[..., -1]
    return torch.cat(rows, -1)[good], place[good], smallest > FLAT


def _values(slopes: list[list[Tensor]], x: Sequence[Tensor]) -> list[Tensor]:
    return [(row[0 if i else 1] @ x[0 if i else 1][..., None])[..., 0] for i, row in enumerate(slopes)]


def _system(u: Tensor, z: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The left-hand sides of the system at z = (x, w), [b, a + n], and their derivatives [b, a + n, a + n]."""
    counts, n = list(u.shape[1:]), u.dim() - 1
    x, w = z[:, : sum(counts)], z[:, sum(counts) :]
    rows, ins = x.split(counts, -1), inside.split(counts, -1)
    slopes = payoff_slopes(u, rows)
    values = _values(slopes, rows)
    left, derivative = [], z.new_zeros(len(z), z.shape[1], z.shape[1])
    begin = np.cumsum([0, *counts]).tolist()
    for i in range(n):
        own = slice(begin[i], begin[i + 1])
        left.append(torch.where(ins[i], values[i] - w[:, i : i + 1], rows[i]))
        block = torch.cat(slopes[i], -1) * ins[i][..., None]
        block[:, :, own] += torch.diag_embed((~ins[i]).to(z.dtype))
        derivative[:, own, : begin[-1]] = block
        derivative[:, own, begin[-1] + i] = -ins[i].to(z.dtype)
        derivative[:, begin[-1] + i, own] = 1
    return torch.cat([*left, torch.stack([row.sum(-1) - 1 for row in rows], -1)], -1), derivative
