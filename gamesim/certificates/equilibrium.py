"""The regularised equilibrium, to all digits: mirror descent to come near, Newton's method to arrive.

At temperature lam > 0 an equilibrium is a fixed point of scores y[h, k, s, a], up to a constant in each state:

    y = T(y) = Q*(flow of softmax y) / lam

Newton's method (with GMRES for the linear systems, scipy's `newton_krylov`) asks only for values of T, and does not
care whether any step size would lead to the fixed point.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.games import GraphonGame
from gamesim.simplex import lift, mirror_step, per_state, softmax

SHORT = ((0.5, 1.0), (0.2, 1.0), (0.05, 1.0), (0.3, 0.3), (0.1, 0.1))
"""Pairs (lam eta, alpha) of mirror descents of which the best one hands over to Newton's method."""
LONG = ((0.3, 1.0), (0.2, 1.0), (0.1, 1.0), (0.05, 1.0), (0.2, 0.2))
"""The same for more iterations, where that fails: in a long game corrections travel step by step."""
NEAR = 1e-4
"""Exploitability relative to that of the uniform policy from which Newton's method takes over."""
FOUND = 1e-9
"""The same, that counts as none."""


@dataclass(frozen=True)
class Descent:
    """Mirror descents side by side."""

    exploitability: Tensor
    """Regularised, [t, b]."""
    best: Tensor
    """Scores[h, k, s, a] of the least exploitability met."""


@dataclass(frozen=True)
class Equilibrium:
    """Where the search ended."""

    scores: Tensor
    """y[h, k, s, a]."""
    found: bool
    exploitability: float
    """Regularised."""


def descend(
    game: GraphonGame, temperature: float, pull: Tensor, averaging: Tensor, iterations: int, target: float = 0.0
) -> Descent:
    """GMFG-PPO with lam eta / (1 + lam eta) = pull[b] and alpha = averaging[b], until one of them is at the target.

    Policy mirror descent with lam eta = pull has alpha = 1.

        y' = (1 - pull) y + pull Q(softmax y, mubar) / lam,    mubar' = (1 - alpha) mubar + alpha flow(softmax y')
    """
    step_size, alpha = lift(pull / (1 - pull) / temperature, 4), lift(averaging, 4)
    (start,) = game.start()
    scores = start.log().expand(len(pull), *start.shape)
    believed = game.flow((softmax(scores),))
    trace, best, least = list[Tensor](), start.log(), torch.inf
    for _ in range(iterations):
        q = game.values((softmax(scores),), believed, temperature).q
        scores = mirror_step(scores, q, step_size, temperature)
        believed = torch.lerp(believed, game.flow((softmax(scores),)), per_state(alpha))
        gap = game.exploitability((softmax(scores),), temperature).nan_to_num(torch.inf)
        trace.append(gap)
        if float(gap.min()) < least:
            least, best = float(gap.min()), scores[int(gap.argmin())]
        if least <= target:
            break
    return Descent(torch.stack(trace) if trace else start.new_zeros(0, len(pull)), best)


def respond(game: GraphonGame, scores: Tensor, temperature: float) -> Tensor:
    """T: the scores of the best response to the flow of scores[..., h, k, s, a], centred in each state."""
    return centred(game.optimal_values(game.flow((softmax(scores),)), temperature).q / temperature)


def centred(scores: Tensor) -> Tensor:
    """The same policy with scores that sum to 0."""
    return scores - scores.mean(-1, keepdim=True)


def find_equilibrium(game: GraphonGame, temperature: float) -> Equilibrium:
    """The regularised equilibrium near which mirror descent from the uniform policy gets."""
    small = negligible(game, temperature)
    best, least = game.start()[0].log(), torch.inf
    for pulls, iterations, enough in ((SHORT, 60, small * NEAR / FOUND), (LONG, 600, small)):
        pull, averaging = torch.tensor(pulls, **game.like).unbind(-1)
        near = descend(game, temperature, pull, averaging, iterations, enough).best
        for scores in (newton(game, near, temperature), near):
            gap = float(game.exploitability((softmax(scores),), temperature))
            if gap <= small:
                return Equilibrium(scores, True, gap)
            if gap < least:
                best, least = scores, gap
    return Equilibrium(best, False, least)


def negligible(game: GraphonGame, temperature: float) -> float:
    """The regularised exploitability at which an equilibrium counts as reached: a share of the start, and rounding."""
    return FOUND * float(game.exploitability(game.start(), temperature)) + 1e-14 * max(1.0, temperature)


def newton(game: GraphonGame, near: Tensor, temperature: float) -> Tensor:
    """The fixed point of T that Newton's method goes to from near[h, k, s, a], or near itself if it goes nowhere."""
    import numpy as np
    from scipy.optimize import NoConvergence, newton_krylov

    def scores_of(x: Any) -> Tensor:
        return torch.as_tensor(x).to(near).view(near.shape)

    def gap(x: Any) -> Any:
        scores = scores_of(x)
        return (respond(game, scores, temperature) - scores).flatten().cpu().numpy()

    begin = centred(near).flatten().cpu().numpy()
    small = max(1e-10, 1e-13 * float(near.abs().max()))  # scores grow like 1 / lam, and their rounding with them
    try:
        with np.errstate(all="ignore"):
            return scores_of(newton_krylov(gap, begin, f_tol=small, maxiter=30, method="lgmres"))
    except (NoConvergence, ValueError):  # too far away, or a singular Jacobian
        return near
