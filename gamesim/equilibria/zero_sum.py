"""Zero-sum matrix games, solved: the value, an equilibrium, and a gap that proves it.

The row player maximises x^T A y, the column player minimises it. Any x and y enclose the value,

    min_s (A^T x)_s  <=  max_x min_y x^T A y = min_y max_x x^T A y  <=  max_r (A y)_r

and the gap, right minus left, is 0 exactly at equilibrium (von Neumann, Math. Annalen 100, 1928). It is computed from
the strategies that are returned and, with method "auto", decides whether they are: games are solved by simplex pivots
(`gamesim.equilibria.tableau`, compiled where it can be), large ones on the actions that matter
(`gamesim.equilibria.double_oracle`), and what a gap leaves open by HiGHS.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria import double_oracle, first_order, tableau, zero_sum_lp
from gamesim.equilibria.first_order import product
from gamesim.errors import refuse, unknown
from gamesim.kernels import zero_sum as fused

Method = Literal["auto", "simplex", "double-oracle", "highs", "first-order"]

LARGE = 500  # actions of both players from which on the double oracle is faster than pivots on the whole game
PLAIN = 10_000  # payoffs beyond which HiGHS is faster than pivots that are not compiled
EXACT, APPROXIMATE = 1e-9, first_order.SINGLE
"""The gaps that count as solved, relative to the payoff range: of the simplex method and HiGHS, and of first order."""


@dataclass(frozen=True)
class ZeroSum:
    """Equilibria of zero-sum games, float64; leading dimensions are a batch of games."""

    value: Tensor
    """What the row player gets, [...]; no further than gap / 2 from the truth."""
    row: Tensor
    """x, maximises, [..., m]."""
    column: Tensor
    """y, minimises, [..., n]."""
    gap: Tensor
    """max_r (A y)_r - min_s (A^T x)_s, in payoffs, [...]."""


def solve_zero_sum(A: Any, method: Method = "auto", tolerance: float | None = None) -> ZeroSum:
    """An equilibrium of each matrix game A[..., m, n], whose rows maximise; numbers, a numpy array or a tensor.

    A game is solved when gap <= tolerance (max A - min A); the tolerance is 1e-9, and 1e-6 for "first-order". "auto"
    gives games that the simplex method leaves open to HiGHS and warns where that does not close them either; the
    other methods return what they found. Refuses what is not finite.

    >>> solve_zero_sum([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]).row
    tensor([0.3333, 0.3333, 0.3333], dtype=torch.float64)
    """
    if method not in get_args(Method):
        raise unknown("method", str(method), get_args(Method))
    payoffs = as_payoffs(A)
    if tolerance is None:
        tolerance = APPROXIMATE if method == "first-order" else EXACT
    if not 0 < tolerance < 1:
        raise refuse("tolerance", tolerance, "a gap relative to the payoff range, above 0 and below 1")
    games = payoffs.flatten(0, -3) if payoffs.dim() > 2 else payoffs[None]
    match method:
        case "highs":
            found = by_highs(games)
        case "first-order":
            x, y = first_order.approximate(normalised(games)[0], tolerance)
            found = judged(games, x, y)
        case "double-oracle":
            found = by_double_oracle(games)
        case "auto" if not fused.serves(games) and games.shape[1] * games.shape[2] > PLAIN:
            found = by_highs(games)
        case "auto" if min(games.shape[1:]) >= LARGE:
            found = by_double_oracle(games)
        case _:
            found = by_simplex(games)
    if method == "auto":
        found = completed(games, found, tolerance)
    batch = payoffs.shape[:-2]
    return ZeroSum(*(each.reshape((*batch, *each.shape[1:])) for each in found[:4]))


Found = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""value[g], x[g, m], y[g, n], gap[g], and the gap relative to the payoff range."""


def as_payoffs(A: Any) -> Tensor:
    """Payoffs as float64 [..., m, n], without gradient; refused unless they are finite and everybody can act."""
    try:
        payoffs = (A if isinstance(A, Tensor) else torch.from_numpy(np.array(A, order="C"))).detach()
    except (TypeError, ValueError, RuntimeError):
        raise refuse("A", type(A).__name__, "a matrix of numbers, or a batch of them") from None
    if payoffs.is_complex():
        raise refuse("A", f"dtype {payoffs.dtype}", "real payoffs")
    if payoffs.dim() < 2 or 0 in payoffs.shape[-2:]:
        raise refuse("A", f"shape {tuple(payoffs.shape)}", "[..., m, n], at least one action for each player")
    payoffs = payoffs.double()
    if not bool(payoffs.isfinite().all()):
        index = (~payoffs.isfinite()).nonzero()[0].tolist()
        raise refuse(f"A{index}", float(payoffs[tuple(index)]), "a finite payoff")
    return payoffs


def normalised(games: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Payoffs in [0, 1] as (unit A - low) / spread, and unit, low and spread[g, 1, 1]; a constant game is 0."""
    high, low = games.amax((-1, -2), keepdim=True), games.amin((-1, -2), keepdim=True)
    unit = torch.where(high / 2 - low / 2 < 8e307, 1.0, 0.5).to(games)  # the range itself may be no number
    low, spread = low * unit, high * unit - low * unit
    return (games * unit - low) / torch.where(spread > 0, spread, 1.0), unit, low, spread


def judged(games: Tensor, x: Tensor, y: Tensor) -> Found:
    """The strategies, with the value between what they guarantee and the gap of these."""
    inside, unit, low, spread = normalised(games)
    unit, low, spread = unit[:, 0, 0], low[:, 0, 0], spread[:, 0, 0]
    most, least = product(inside, y).amax(-1), product(inside.mT, x).amin(-1)
    relative = (most - least).clamp(min=0)
    return (low + spread * ((most + least) / 2)) / unit, x, y, spread * relative / unit, relative


def by_simplex(games: Tensor) -> Found:
    """Equilibria by simplex pivots, not yet certified; the inner loops run along the longer side."""
    if games.shape[-2] > games.shape[-1]:
        value, y, x, gap, relative = by_simplex(-games.mT)
        return -value, x, y, gap, relative
    limit = 100 + 20 * sum(games.shape[-2:])
    if fused.serves(games):
        return fused.solve(games, limit)
    return judged(games, *tableau.solve(1 + normalised(games)[0], limit))


def by_double_oracle(games: Tensor) -> Found:
    """Equilibria by simplex pivots on the actions that matter, not yet certified, game by game."""

    def small(payoffs: Tensor) -> tuple[Tensor, Tensor]:
        _, x, y, _, _ = by_simplex(payoffs[None])
        return x[0], y[0]

    x, y = games.new_empty(games.shape[:2]), games.new_empty(len(games), games.shape[2])
    for g, payoffs in enumerate(normalised(games)[0]):
        x[g], y[g] = double_oracle.solve(payoffs, small)
    return judged(games, x, y)


def by_highs(games: Tensor) -> Found:
    """Equilibria by the LP solver of scipy, game by game."""
    x, y = games.new_empty(games.shape[:2]), games.new_empty(len(games), games.shape[2])
    for g, payoffs in enumerate(normalised(games)[0].cpu().numpy()):
        row, column = zero_sum_lp.solve(payoffs)
        x[g], y[g] = torch.from_numpy(row).to(x), torch.from_numpy(column).to(y)
    return judged(games, x, y)


def completed(games: Tensor, found: Found, tolerance: float) -> Found:
    """What is certified stays; the rest goes to HiGHS and keeps the better of the two answers."""
    opened = (~(found[4] <= tolerance)).nonzero()[:, 0]
    if not len(opened):
        return found
    second = by_highs(games[opened])
    better = ~(second[4] >= found[4][opened])
    for ours, theirs in zip(found, second, strict=True):
        ours[opened[better]] = theirs[better]
    worst = float(found[4].max())
    if not worst <= tolerance:
        warnings.warn(
            f"solve_zero_sum: a gap of {worst:.1e} of the payoff range is left, {tolerance:.1e} was wanted; "
            "value and strategies are no better than that",
            RuntimeWarning,
            stacklevel=3,
        )
    return found
