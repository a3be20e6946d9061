"""Predictive regret matching+ on a batch of matrix games: approximate equilibria by matrix-vector products alone.

The players alternate; R is the vector of cumulative regrets, g the latest one, which predicts the next:

    x ~ [R_x + g_x]^+      g_y = <l, y> - l    with l = A^T x      R_y <- [R_y + g_y]^+
    y ~ [R_y + g_y]^+      g_x = u - <u, x>    with u = A y        R_x <- [R_x + g_x]^+

and the answer is the average of the iterates with weights t^2. Farina, Kroer and Sandholm, "Faster game solving via
predictive Blackwell approachability", AAAI 2021. Products are in single precision down to a gap of 1e-6 of the payoff
range and in double precision beyond; the averages and the gaps that count are in double precision always.
"""

import torch
from torch import Tensor

SINGLE = 1e-6  # the gap down to which single precision takes no more iterations than double
EVERY = 25  # iterations between two looks at the gap
PATIENCE = 1000  # iterations without a better gap after which single precision has given what it can

State = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""R_x, g_x, x, R_y, g_y, y, each [g, action]."""


def approximate(payoffs: Tensor, tolerance: float = SINGLE, limit: int = 100_000) -> tuple[Tensor, Tensor]:
    """Strategies x[g, m] and y[g, n] of games payoffs[g, m, n] in [0, 1], with gaps of at most the tolerance.

    A game that is not there after so many iterations keeps the best that it met: the caller looks at the gap.
    """
    count, m, n = payoffs.shape
    best_x, best_y = payoffs.new_full((count, m), 1 / m), payoffs.new_full((count, n), 1 / n)
    best = gap(payoffs, best_x, best_y)
    running = (best > tolerance).nonzero()[:, 0]
    A, mean_x, mean_y = payoffs[running], best_x[running], best_y[running]
    g_x, g_y = torch.zeros_like(mean_x), torch.zeros_like(mean_y)
    state: State = (g_x, g_x, mean_x, g_y, g_y, mean_y)
    single, better = tolerance >= SINGLE / 1000, 0
    state, fast = (as_(torch.float32, state), A.float()) if single else (state, A)
    for t in range(1, limit + 1):
        if not len(running):
            break
        state = step(fast, state)
        weight = 6 * t / ((t + 1) * (2 * t + 1))  # t^2 / (1 + 4 + ... + t^2)
        mean_x, mean_y = mean_x + weight * (state[2] - mean_x), mean_y + weight * (state[5] - mean_y)
        if t % EVERY and t < limit:
            continue
        mean_x, mean_y = mean_x / mean_x.sum(-1, keepdim=True), mean_y / mean_y.sum(-1, keepdim=True)
        found = gap(A, mean_x, mean_y)
        improved = found < best[running]
        better = t if bool((found < 0.9 * best[running]).any()) else better
        now = running[improved]
        best[now], best_x[now], best_y[now] = found[improved], mean_x[improved], mean_y[improved]
        left = best[running] > tolerance
        if not bool(left.all()):
            running, A, fast, mean_x, mean_y = (each[left] for each in (running, A, fast, mean_x, mean_y))
            state = keep(state, left)
        if single and len(running) and (t - better >= PATIENCE or float(best[running].max()) <= SINGLE):
            single, state, fast = False, as_(torch.float64, state), A
    return best_x, best_y


def step(A: Tensor, state: State) -> State:
    """One iteration of both players."""
    R_x, g_x, x, R_y, g_y, y = state
    x = matched(R_x + g_x, x)
    loss = product(A.mT, x)
    g_y = (loss * y).sum(-1, keepdim=True) - loss
    R_y = (R_y + g_y).clamp(min=0)
    y = matched(R_y + g_y, y)
    gain = product(A, y)
    g_x = gain - (gain * x).sum(-1, keepdim=True)
    R_x = (R_x + g_x).clamp(min=0)
    return R_x, g_x, x, R_y, g_y, y


def matched(R: Tensor, otherwise: Tensor) -> Tensor:
    """[R]^+ / sum [R]^+; without positive regrets the player stays."""
    part = R.clamp(min=0)
    total = part.sum(-1, keepdim=True)
    return torch.where(total > 0, part / total, otherwise)


def product(A: Tensor, y: Tensor) -> Tensor:
    """A y of A[g, m, n] and y[g, n]; a single game is spared the batched product, which is slower."""
    return torch.mv(A[0], y[0])[None] if len(A) == 1 else torch.bmm(A, y[..., None])[..., 0]


def gap(A: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """max A y - min A^T x of A[g, m, n], x[g, m] and y[g, n]: what the players could gain together, [g]."""
    return product(A, y).amax(-1) - product(A.mT, x).amin(-1)


def as_(dtype: torch.dtype, state: State) -> State:
    R_x, g_x, x, R_y, g_y, y = (each.to(dtype) for each in state)
    return R_x, g_x, x, R_y, g_y, y


def keep(state: State, left: Tensor) -> State:
    R_x, g_x, x, R_y, g_y, y = (each[left] for each in state)
    return R_x, g_x, x, R_y, g_y, y
