"""Along the curve of solutions that leads from a prior to a stationary equilibrium, in arc length, and Newton's method.

For almost every prior the solutions of F(z, w, t) = 0 (`gamesim.equilibria.markov_barrier`) that begin at t = 0 form
one smooth curve that ends at t = 1. It may turn back in t, so it is followed in arc length in (z, t): a step along the
tangent and the curve's bend, Newton's method orthogonal to it, the step longer or shorter as Newton finds it easy or
hard. Wherever the curve is about to reach t = 1, and now and then before, Newton's method is tried at t = 1: where it
converges z is an equilibrium to the last digits. Allgower and Georg, Introduction to Numerical Continuation Methods
(1990); Newton's method where F has kinks: Qi and Sun, Mathematical Programming 58 (1993).
"""

from dataclasses import dataclass

import numpy as np

from gamesim.equilibria.exact import Floats
from gamesim.equilibria.markov_barrier import Barrier

STEPS = 5000
"""Steps along the curve, at most."""
OFTEN = 20
"""Steps between two attempts to end."""
NEWTON = 15
"""Newton steps of such an attempt, at most."""
EXACT = 1e-11
"""Residual of F up to which it has converged, in units of the stakes and relative to 1 + |w|."""
CLOSE = 1e-10
"""1 - t at which the curve is at its end, where Newton's method finds none: equilibria that are not isolated."""
ROUNDING = 1e-9
"""Correction that is never too large, nor too small to be the last."""
LAST = 1e-4
"""1 - t from which the rest is walked at fixed t, if Newton's method finds no end."""
SMALL = 1e-10
"""Residual on that stretch, in the same units as `EXACT`."""
AWAY = 0.1
"""Newton's first correction relative to the step, at most, on a first walk; a more careful one takes less."""
BEND = 0.9
"""Cosine of two tangents, at least."""


@dataclass(frozen=True)
class Walk:
    """What a walk came to."""

    point: Floats
    """The last x: at t = 1, or nearly so where equilibria are not isolated, or where the walk was lost."""
    steps: int
    turns: int
    """How often t changed direction."""
    message: str


def follow(barrier: Barrier, steps: int = STEPS, away: float = AWAY) -> Walk:
    """Walk from t = 0 to an equilibrium."""
    with np.errstate(all="ignore"):
        return _follow(barrier, steps, away)


def finish(barrier: Barrier, x: Floats) -> Floats | None:
    """The equilibrium that Newton's method reaches from x at t = 1, or None."""
    x, upward = np.append(x[:-1], 1.0), np.eye(len(x))[-1]
    with np.errstate(all="ignore"):
        for _ in range(NEWTON):
            try:
                slopes = barrier.residual(x)
                error, size = np.abs(slopes.residual).max(), 1 + np.abs(x).max()
                if error <= EXACT * size:
                    return x
                x = x - barrier.steps(slopes, upward, 0.0)[0]
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(x).all():
                return None
    return None


def descend(barrier: Barrier, x: Floats) -> Floats:
    """Down the last stretch at fixed t, each nearer to 1: tangents lose their meaning near sets of equilibria."""
    upward, found = np.eye(len(x))[-1], x
    while 1 - found[-1] > CLOSE:
        x = np.append(found[:-1], 1 - (1 - found[-1]) / 4)
        for _ in range(NEWTON):
            try:
                slopes = barrier.residual(x)
                if np.abs(slopes.residual).max() <= SMALL * (1 + np.abs(x).max()):
                    break
                x = x - barrier.steps(slopes, upward, 0.0)[0]
            except np.linalg.LinAlgError:
                return found
        else:
            return found
        found = x
    return found


def _follow(barrier: Barrier, most: int, away: float) -> Walk:
    x = barrier.start()
    metric = np.ones_like(x)
    metric[barrier.states * barrier.width : -1] = 0
    first = np.append(np.zeros(len(x) - 1), 1.0)
    tangent = _unit(barrier.steps(barrier.residual(x), first, 0.0)[1], metric)
    bend, length, turns, tried = np.zeros_like(x), 0.1, 0, 1.0
    for count in range(most):
        due = count % OFTEN == OFTEN - 1
        while True:
            guess = x + length * tangent + length**2 / 2 * bend
            if guess[-1] >= 1 or due:
                if due or 1 - x[-1] <= tried / 4:
                    tried = tried if due else 1 - x[-1]
                    found = finish(barrier, guess if guess[-1] >= 1 else x)
                    if found is not None:
                        return Walk(found, count, turns, "followed to its end")
                    if 1 - x[-1] <= LAST:
                        x = descend(barrier, x)
                        if 1 - x[-1] <= CLOSE:
                            return Walk(x, count, turns, "followed to its end, where equilibria are not isolated")
                due = False
            if guess[-1] >= 1:
                length = min(length / 2, (1 - x[-1]) / 2 / max(tangent[-1], 1e-3))
            elif corrected := _correct(barrier, guess, tangent, metric, length, away):
                break
            else:
                length /= 2
            if length < 1e-14:
                return Walk(x, count, turns, "stopped: the curve bends more than steps of 1e-14 can follow")
        new, ahead, near = corrected
        turns += int(ahead[-1] * tangent[-1] < 0)
        bend = (ahead - tangent) / length
        x, tangent = new, ahead
        length *= 2.0 if near < away / 20 else 1.4 if near < away / 4 else 1.0 if near < away / 2 else 0.7
        if x[-1] < 0:  # the curve from the prior never returns to t = 0
            return Walk(barrier.start(), count + 1, turns, "stopped: a step led to another curve")
        if 1 - x[-1] <= CLOSE:
            return Walk(x, count + 1, turns, "followed to its end, where equilibria are not isolated")
    return Walk(x, most, turns, f"stopped after {most:,} steps")


def _correct(
    barrier: Barrier, guess: Floats, tangent: Floats, metric: Floats, length: float, away: float
) -> tuple[Floats, Floats, float] | None:
    """The point of the curve near the guess, its tangent, and the first correction relative to the step; or None."""
    x, along, before, near = guess, tangent * metric, np.inf, 0.0
    for k in range(5):
        try:
            step, ahead = barrier.steps(barrier.residual(x), along, float(along @ (x - guess)))
        except np.linalg.LinAlgError:
            return None
        size = float(np.sqrt((metric * step**2).sum()))
        near = size / length if k == 0 else near
        if not size <= max(min(away * length, before / 2), ROUNDING) or not np.isfinite(ahead).all():
            return None
        x, before = x - step, size
        if size <= max(1e-3 * length, ROUNDING):
            ahead = _unit(ahead, metric)
            return (x, ahead, near) if ahead @ along >= BEND and x[-1] < 1 else None
    return None


def _unit(tangent: Floats, metric: Floats) -> Floats:
    found: Floats = tangent / np.sqrt((metric * tangent**2).sum())
    return found
