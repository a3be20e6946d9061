"""The principal branch of logit quantal response equilibria, from the uniform profile towards one Nash equilibrium.

At precision lam (one over the temperature) everybody answers with the logit of their payoffs,

    x_i = softmax(lam v_i(x))        in y = log x:   F(y, lam) = y - log_softmax(lam v(e^y)) = 0

From (lam = 0, uniform) exactly one curve of solutions leads on, whose limit as lam grows is a Nash equilibrium. It may
turn back in lam, so it is followed in arc length: a step along the tangent, then Newton's method orthogonal to it, the
step longer or shorter as Newton finds it easy or hard. In log-probabilities rare actions keep their digits. McKelvey
and Palfrey, Games and Economic Behavior 10 (1995); Turocy, Games and Economic Behavior 51 (2005).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria.exact import Floats, Payoffs, payoff_array
from gamesim.equilibria.profiles import payoff_slopes
from gamesim.errors import refuse
from gamesim.games.game import Policy

REACH = 1e6
"""Precision at which the branch ends where no other is asked for, for payoffs with a range of 1."""
NEWTON = 1e-12
"""Residual of F up to which Newton's method has converged, relative to 1 + lam."""
BEND = 0.1
"""Distance of the curve from its tangent, relative to the step, and loss of the tangents' cosine, at most."""
CROSSING = 1e-5
"""Length of a step from which a change of orientation is taken for a crossing of branches."""
STEPS = 10_000
"""Steps along the branch, at most."""


@dataclass(frozen=True)
class LogitPath:
    """Points of the branch, in the order in which it is walked."""

    lam: Tensor
    """Precision, one over the temperature, [r]; in the units of one over the payoffs."""
    profiles: Policy
    """x_i[r, a]."""
    regrets: Tensor
    """max_a v_i(x)[a] - <v_i(x), x_i>, [r, player]."""
    turns: int
    """How often the branch changed direction in lam."""
    message: str
    """How the walk ended."""

    @property
    def limit(self) -> tuple[Policy, float]:
        """The last profile, close to one Nash equilibrium, and its largest regret."""
        return tuple(x[-1] for x in self.profiles), float(self.regrets[-1].max())

    def plain(self, at_most: int = 50) -> dict[str, Any]:
        """Plain data for JSON, at so many of the points at most."""
        some = torch.linspace(0, len(self.lam) - 1, min(len(self.lam), at_most)).round().long()
        rows = [x[some].tolist() for x in self.profiles]
        return {
            "precision": self.lam[some].tolist(),
            "profiles": [list(point) for point in zip(*rows, strict=True)],
            "max_regret": self.regrets[some].amax(-1).tolist(),
            "turns": self.turns,
            "message": self.message,
        }


def logit_path(payoffs: Payoffs, lams: Sequence[float] | None = None) -> LogitPath:
    """The principal branch of u[player, a1, ..., an]: all points of the walk, or where it first reaches each of `lams`.

    Where a symmetry of the game makes branches cross, the walk stays on the symmetric one.

    >>> path = logit_path([[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]], lams=[0.0, 10.0])
    >>> path.profiles[0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    u = payoff_array(payoffs)
    grid = None if lams is None else [float(lam) for lam in lams]
    if grid is not None and (not grid or not all(0 <= lam < np.inf for lam in grid) or sorted(set(grid)) != grid):
        raise refuse("lams", grid, "increasing finite numbers of at least 0")
    width = float(np.ptp(u.reshape(len(u), -1), axis=1).max()) or 1.0
    branch = _Branch(torch.from_numpy(u / width))
    end = REACH if grid is None else grid[-1] * width
    points, turns, message = _walk(branch, end)
    if grid is not None:
        points, message = _at(branch, points, [lam * width for lam in grid], message)
    y = np.stack([point[:-1] for point in points])
    policies = branch.policies(y)
    values = branch.values(policies)
    regrets = torch.stack([v.amax(-1) - (x * v).sum(-1) for x, v in zip(policies, values, strict=True)], -1)
    lam = torch.from_numpy(np.array([point[-1] for point in points]) / width)
    return LogitPath(lam, policies, (regrets * width).clamp(min=0), turns, message)


class _Branch:
    """F and its derivatives at points z = (y, lam)."""

    def __init__(self, u: Tensor) -> None:
        self.u = u
        self.counts = list(u.shape[1:])

    def start(self) -> Floats:
        return np.concatenate([*(np.full(count, -np.log(count)) for count in self.counts), np.zeros(1)])

    def policies(self, y: Floats) -> Policy:
        return tuple(torch.softmax(rows, -1) for rows in torch.from_numpy(y).split(self.counts, -1))

    def values(self, policies: Policy) -> Policy:
        slopes = payoff_slopes(self.u, policies)
        if len(policies) == 1:
            return (self.u[0].expand_as(policies[0]),)
        others = [1 if i == 0 else 0 for i in range(len(policies))]
        return tuple((slopes[i][j] @ policies[j][..., None])[..., 0] for i, j in enumerate(others))

    def residual(self, z: Floats) -> tuple[Floats, Floats]:
        """F[a] and its Jacobian [a, a + 1] in (y, lam)."""
        lam = float(z[-1])
        policies = tuple(row.exp()[None] for row in torch.from_numpy(z[:-1]).split(self.counts))
        slopes, values = payoff_slopes(self.u, policies), self.values(policies)
        log_answers = [torch.log_softmax(lam * v[0], -1) for v in values]
        rows, last = [], []
        for i, log_answer in enumerate(log_answers):
            answer = log_answer.exp()
            centred = [slopes[i][j][0] * policies[j][0] for j in range(len(policies))]
            rows.append(torch.cat([-lam * (block - answer @ block) for block in centred], -1))
            last.append(-(values[i][0] - answer @ values[i][0]))
        jacobian = torch.cat([torch.cat(rows) + torch.eye(len(z) - 1, dtype=self.u.dtype), torch.cat(last)[:, None]], 1)
        return z[:-1] - torch.cat(log_answers).numpy(), jacobian.numpy()

    def tangent(self, z: Floats, along: Floats) -> tuple[Floats, float]:
        """The unit vector in the kernel of the Jacobian that agrees with `along`, and the orientation of the curve."""
        _, jacobian = self.residual(z)
        found: Floats = np.linalg.lstsq(np.vstack([jacobian, along]), np.eye(len(z))[-1], rcond=None)[0]
        found = found / max(float(np.linalg.norm(found)), 1e-300)
        return found, float(np.linalg.slogdet(np.vstack([jacobian, found]))[0])

    def correct(self, z: Floats, along: Floats, most: int = 8) -> tuple[Floats, int] | None:
        """Newton's method in the plane through z orthogonal to `along`: the point and the steps it took, or None."""
        first = z
        for count in range(most):
            residual, jacobian = self.residual(z)
            if not np.isfinite(residual).all():
                return None
            if np.abs(residual).max() <= NEWTON * (1 + abs(z[-1])):
                return z, count
            right = np.append(residual, along @ (z - first))
            z = z - np.linalg.lstsq(np.vstack([jacobian, along]), right, rcond=None)[0]
        return None


def _walk(branch: _Branch, end: float) -> tuple[list[Floats], int, str]:
    """Points from lam = 0 to lam >= end."""
    z = branch.start()
    tangent, orientation = branch.tangent(z, np.eye(len(z))[-1])
    points, length, turns = [z], 0.1, 0
    for _ in range(STEPS):
        if z[-1] >= end:
            return points, turns, f"followed to lam = {end:.3g} of payoffs with a range of 1"
        found = branch.correct(z + length * tangent, tangent)
        near = found is not None and np.linalg.norm(found[0] - z - length * tangent) <= BEND * length
        new, effort = found if found is not None and near else (z, 0)
        ahead, sign = branch.tangent(new, tangent) if near else (tangent, orientation)
        # a curve keeps its orientation, so a change means that the step jumped to another stretch of it; only where
        # branches cross does it change however short the step
        if not near or ahead @ tangent < 1 - BEND or (sign != orientation and length > CROSSING):
            length /= 2
            if length < 1e-12:
                return points, turns, "stopped: the branch bends more than steps of 1e-12 can follow"
            continue
        turns += int(ahead[-1] * tangent[-1] < 0)
        z, tangent, orientation = new, ahead, sign
        points.append(z)
        length *= 2.0 if effort <= 3 else 0.7 if effort > 5 else 1.0
    return points, turns, f"stopped after {STEPS:,} steps"


def _at(branch: _Branch, points: list[Floats], grid: list[float], message: str) -> tuple[list[Floats], str]:
    """The points where the walk first reaches each lam."""
    upward = np.eye(len(points[0]))[-1]
    found: list[Floats] = []
    place = 0
    for lam in grid:
        while place < len(points) and points[place][-1] < lam:
            place += 1
        if place == len(points):
            return (
                found,
                f"{message}; {len(grid) - len(found)} of the {len(grid)} precisions asked for were not reached",
            )
        before, after = points[max(place - 1, 0)], points[place]
        share = (lam - before[-1]) / (after[-1] - before[-1]) if after[-1] > before[-1] else 0.0
        guess = before + share * (after - before)
        corrected = branch.correct(guess, upward, 20)
        found.append(guess if corrected is None else corrected[0])
    return found, message
