"""Stationary equilibria of a stochastic game as one smooth system: a barrier that keeps policies inside, taken away.

Player i is paid t R_i, and eta (1 - t) nu_i(a | s) log pi_i(a | s) for playing action a at all. What it answers with in
every state has, with w the worth of the best action and u = w - Q >= 0 what other actions lose,

    pi_i(a | s) u_i(s, a) = mu_i(s, a) = eta (1 - t) nu_i(a | s)

At t = 0 that is nu, whatever the others do; at t = 1 it says that only best actions are played: a stationary
equilibrium. The products are solved for once and for all by one number z = pi - u for each action,

    pi = (sqrt(z^2 + 4 mu) + z) / 2        u = (sqrt(z^2 + 4 mu) - z) / 2

so that at t = 1 the policy is max(z, 0), with exact zeros, and equations remain, in x = (z, w, t):

    F:  Q_i(s, a) + u_i(s, a) - w_i(s) = 0,   1 - sum_a pi_i(a | s) = 0
        Q_i(s, a) = E_{a_-i ~ pi_-i}[ t R_i(s, a) + sum_t P(t | s, a) V_i(t) ],   V_i(s) = w_i(s) - sum_a mu_i(s, a)

Rewards are centred first (`centred`). States hang together by V alone, so that each state's derivatives are eliminated
and one system in V and t is left, of size N S + 1. Barriers: Dang, Herings and Li, "An interior-point differentiable
path-following method to compute stationary equilibria in stochastic games", INFORMS Journal on Computing 34 (2022). The
substitution: Chen and Harker, SIAM Journal on Matrix Analysis 14 (1993); Kanzow, ibid. 17 (1996).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gamesim.equilibria.exact import Floats

ETA = 1.0
"""Weight of the barrier at the start, in units of what is at stake in a state."""
SINGULAR = 1e4
"""Condition of a state's own matrix above which it is not eliminated."""


@dataclass(frozen=True)
class Slopes:
    """F at a point and its derivatives, state by state."""

    residual: Floats
    """F[s, row]: a row for each action of each player, then one for each player."""
    local: Floats
    """dF[s, row] / d(z, w)(s)[column], continuations apart."""
    after: list[Floats]
    """dF / dV: E[P(t | s, a)] of each player, [s, a_i, t]."""
    forward: Floats
    """dF[s, row] / dt."""


class Barrier:
    """F of a game with rewards[player, s, a1, ..., an] and kernel[s, j, t] (the discount included).

    Points are vectors x: z[s, a of all players], then w[s, player], then t.
    """

    def __init__(self, reward: Floats, kernel: Floats, prior: Sequence[Floats]) -> None:
        """`prior` is nu, one [s, a_i] per player, positive."""
        self.states, self.counts, n = reward.shape[1], reward.shape[2:], len(reward)
        ends = np.cumsum(self.counts).tolist()
        self.own = [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]
        self.width, self.players, self.owner = ends[-1], n, np.repeat(np.arange(n), self.counts)
        self.prior = np.concatenate(list(prior), 1)
        self.weight = np.stack([self.prior[:, own].sum(1) for own in self.own], 1) * ETA
        self.kernel = kernel
        self.level, self.units, advantage = centred(reward, kernel)
        self.reward = advantage.reshape(reward.shape)
        shape = (self.states, *self.counts)
        self._kernels = [
            np.ascontiguousarray(np.moveaxis(kernel.reshape(*shape, -1), 1 + i, 1)).reshape(
                *shape[:1], count, -1, shape[0]
            )
            for i, count in enumerate(self.counts)
        ]

    def start(self) -> Floats:
        """The point at t = 0: rewards do not count, everyone plays the prior."""
        return np.concatenate([(self.prior - self.weight[:, self.owner]).ravel(), self.weight.ravel(), np.zeros(1)])

    def at(self, policy: Sequence[Floats], values: Sequence[Floats]) -> Floats:
        """The point at t = 1 of policies pi_i[s, a] that meet values Q_i[s, a]."""
        q = np.concatenate(list(values), 1) / self.units[self.owner] - self.level.T[:, self.owner]
        best = np.stack([q[:, own].max(1) for own in self.own], 1)
        pi = np.concatenate(list(policy), 1)
        return np.concatenate([np.where(pi > 0, pi, q - best[:, self.owner]).ravel(), best.ravel(), np.ones(1)])

    def policy(self, x: Floats) -> list[Floats]:
        """pi_i[s, a], rows that sum to one."""
        pi = self._split(x)[2]
        return [pi[:, own] / pi[:, own].sum(1, keepdims=True) for own in self.own]

    def residual(self, x: Floats) -> Slopes:
        """F and its derivatives."""
        t, root, pi, short, w = self._split(x)
        S, A, n = self.states, self.width, self.players
        values = w - (1 - t) * self.weight
        later = (self.kernel @ values).reshape(S, *self.counts, n)
        others = [self._others(pi, (i,)) for i in range(n)]
        q, paid, cross = np.empty((S, A)), np.empty((S, A)), np.zeros((S, A, A))
        after = []
        for i, own in enumerate(self.own):
            stage = t * self.reward[i] + later[..., i]
            paid[:, own] = _against(np.moveaxis(self.reward[i], 1 + i, 1), others[i], 1)
            q[:, own] = _against(np.moveaxis(stage, 1 + i, 1), others[i], 1)
            after.append((others[i][:, None, None, :] @ self._kernels[i])[:, :, 0])
            for j in range(n):
                if j != i:
                    pair = np.moveaxis(stage, (1 + i, 1 + j), (1, 2))
                    cross[:, own, self.own[j]] = _against(pair, self._others(pi, (i, j)), 2)
        sums = np.stack([pi[:, own].sum(1) for own in self.own], 1)
        slope = np.where(root > 0, pi / np.where(root > 0, root, 1), 0.5)  # dpi/dz; du/dz is this - 1
        local = np.zeros((S, A + n, A + n))
        local[:, :A, :A] = cross * slope[:, None]
        local[:, range(A), range(A)] += slope - 1
        local[:, range(A), A + self.owner] = -1
        local[:, A + self.owner, range(A)] = -slope
        fade = -ETA * self.prior / np.where(root > 0, root, 1)  # dpi/dt = du/dt
        forward = paid + fade + (cross @ fade[:, :, None])[:, :, 0]
        for i, own in enumerate(self.own):
            forward[:, own] += after[i] @ self.weight[:, i]
        fades = np.stack([fade[:, own].sum(1) for own in self.own], 1)
        residual = np.concatenate([q + short - w[:, self.owner], 1 - sums], 1)
        return Slopes(residual, local, after, np.concatenate([forward, -fades], 1))

    def steps(self, slopes: Slopes, along: Floats, right: float) -> tuple[Floats, Floats]:
        """Newton's step d, F' d = F and <along, d> = right, and the kernel of F' with <along, d> = 1.

        `along` has no part in w. Each state's step is Y - X (dV, dt) unless its own matrix is nearly singular, which it
        is where the stage game would have no isolated equilibrium but for the others: then it stays a block. Raises
        `LinAlgError` where there is no step.
        """
        S, A, n = self.states, self.width, self.players
        if not (np.isfinite(slopes.residual).all() and np.isfinite(slopes.local).all()):
            raise np.linalg.LinAlgError("a point that is off")
        rows, size = A + n, n * S + 1
        inverse, good = _inverses(slopes.local)
        ahead = np.zeros((S, rows, size))  # dF / d(V, t), V in the order [player, s]
        for i, own in enumerate(self.own):
            ahead[:, own, i * S : (i + 1) * S] = slopes.after[i]
        ahead[:, :, -1] = slopes.forward
        x, y = inverse @ ahead, (inverse @ slopes.residual[:, :, None])[:, :, 0]
        border = along[: S * A].reshape(S, A)
        blocks = np.flatnonzero(~good)
        total = size + rows * len(blocks)
        matrix, rhs = np.zeros((total, total)), np.zeros((total, 2))
        matrix[: size - 1, :size] = x[:, A:].transpose(1, 0, 2).reshape(size - 1, size)  # dV = dw
        matrix[range(size - 1), range(size - 1)] += 1
        rhs[: size - 1, 0] = y[:, A:].T.ravel()
        matrix[size - 1, :size] = -np.einsum("sa,sak->k", border, x[:, :A])
        matrix[size - 1, size - 1] += along[-1]
        rhs[size - 1] = right - (border * y[:, :A]).sum(), 1.0
        for k, s in enumerate(blocks):
            at = slice(size + rows * k, size + rows * (k + 1))
            matrix[at, :size], matrix[at, at] = ahead[s], slopes.local[s]
            matrix[np.arange(n) * S + s, at.start + A + np.arange(n)] = -1
            matrix[size - 1, at.start : at.start + A] = border[s]
            rhs[at, 0] = slopes.residual[s]
        d = np.linalg.solve(matrix, rhs)
        newton, tangent = y - x @ d[:size, 0], -(x @ d[:size, 1])
        for k, found in enumerate((newton, tangent)):
            found[blocks] = d[size:, k].reshape(-1, rows)
        return np.append(self._point(newton), d[size - 1, 0]), np.append(self._point(tangent), d[size - 1, 1])

    def _split(self, x: Floats) -> tuple[float, Floats, Floats, Floats, Floats]:
        """t, sqrt(z^2 + 4 mu), pi and u [s, a], and w[s, player]."""
        S, A = self.states, self.width
        t, z, w = float(x[-1]), x[: S * A].reshape(S, A), x[S * A : -1].reshape(S, -1)
        mu = (1 - t) * ETA * self.prior
        root = np.sqrt(z * z + 4 * mu)
        large = (np.abs(z) + root) / 2
        small = mu / np.where(large > 0, large, 1)  # the difference of two near numbers, without losing its digits
        return t, root, np.where(z > 0, large, small), np.where(z > 0, small, large), w

    def _others(self, pi: Floats, but: tuple[int, ...]) -> Floats:
        """Probabilities of what all players but these do, [s, joint]."""
        found = np.ones((self.states, 1))
        for j, own in enumerate(self.own):
            if j not in but:
                found = (found[:, :, None] * pi[:, None, own]).reshape(self.states, -1)
        return found

    def _point(self, rows: Floats) -> Floats:
        return np.concatenate([rows[:, : self.width].ravel(), rows[:, self.width :].ravel()])


def _inverses(local: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The inverse of each matrix[s, row, column], 0 where it is nearly singular, and where it is not."""
    try:
        inverse = np.linalg.inv(local)
    except np.linalg.LinAlgError:  # one of them is exactly singular
        regular = np.linalg.slogdet(local)[0] != 0
        inverse = np.linalg.inv(np.where(regular[:, None, None], local, np.eye(local.shape[-1])))
        inverse[~regular] = np.inf
    good = np.abs(inverse).max((1, 2)) * np.abs(local).max((1, 2)) <= SINGULAR
    return np.where(good[:, None, None], inverse, 0.0), good


def centred(reward: Floats, kernel: Floats) -> tuple[Floats, Floats, Floats]:
    """Values phi[player, s] if everyone plays at random, units[player], and R + P phi - phi [player, s, j] in units.

    These rewards have the same best responses as R (Ng, Harada and Russell, ICML 1999) and values of V - phi, so that a
    large part common to all rewards takes no digits. A unit is what hangs on a choice: the largest spread of a state.
    """
    n, states = reward.shape[:2]
    largest = np.abs(reward).reshape(n, -1).max(1)
    largest = np.where(largest > 0, largest, 1.0)
    flat = reward.reshape(n, states, -1) / largest[:, None, None]
    level = np.linalg.solve(np.eye(states) - kernel.mean(1), flat.mean(2).T).T
    advantage = flat + (kernel @ level.T).transpose(2, 0, 1) - level[:, :, None]
    spread = advantage.std(2).max(1)
    spread = np.where(spread > 1e-12 * (1 + np.abs(level).max(1)), spread, 1.0)
    return level / spread[:, None], largest * spread, advantage / spread[:, None, None]


def _against(table: Floats, others: Floats, own: int) -> Floats:
    """Mean of table[s, own..., others...] over what the others do."""
    shape = table.shape[: 1 + own]
    found: Floats = (table.reshape(shape[0], -1, others.shape[1]) @ others[:, :, None]).reshape(shape)
    return found
