"""All pure stationary equilibria of a stochastic game, by branch and bound on what each state can be worth.

Joint actions a(s) are an equilibrium where Q_i(s, a') <= Q_i(s, a(s)) for every other action a'_i of any one player.
With bounds lo <= V_i <= hi on the values of all equilibria that are still possible, a joint action is ruled out where
some deviation gains for every V between them, and bounds follow from the joint actions that are left:

    V_i(s) <= max_a R_i + P hi,     V_i(s) >= min_a max_{a'_i} R_i + P lo

These two steps take turns until nothing changes; then one state is split into its joint actions, until
the profiles that are left are few enough to be looked at. Nothing is lost, so
an empty list is a proof that there is no pure stationary equilibrium, up to rounding.

All this is done with R_i + P u_i - u_i for R_i, u_i half way between the least and the most that player i can get: then
values are V_i - u_i, differences of actions are what they were, and the size of values does not drown them.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gamesim.equilibria.exact import Floats
from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.games.matrix import LARGEST
from gamesim.games.stochastic import TabularGame

LIMIT = 2_000_000
"""Profiles that are looked at, at most."""
FEW = 2048
"""Profiles that are looked at one by one, in a batch, rather than split further."""
NUMBERS = 2**22
"""Numbers in the largest array of such a batch."""
SPLIT = 200
"""What a split counts for, in profiles: it takes about as long."""
TIE = 1e-9
"""Difference of two actions' values that counts as none, relative to the span of what joint actions are worth."""
ROUNDING = 16 * float(np.finfo(float).eps)
"""Of values, relative."""

ROUNDS = 1000
"""Rounds of policy iteration at most, where rounding keeps it from ending."""
SWEEPS = 20
"""Sweeps of the bounds between two looks at what they rule out, at most."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PureStationary:
    """The pure stationary equilibria that were found."""

    actions: Tensor
    """a_i(s) of each equilibrium, whole numbers [n, player, s], in lexicographic order."""
    strict: Tensor
    """Whether every deviation in one state loses, bool [n]."""
    margin: Tensor
    """The least that such a deviation loses, [n], in units of rewards; infinite where nobody has a choice."""
    complete: bool
    """Whether these are all."""
    action_counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def policies(self) -> Policy:
        """pi_i[n, s, a], of zeros and ones."""
        one_hot = torch.nn.functional.one_hot
        return tuple(one_hot(self.actions[:, i], count).to(self.margin) for i, count in enumerate(self.action_counts))


def pure_stationary(game: TabularGame, at_most: int = 1000) -> PureStationary:
    """All pure stationary equilibria of one game, or `at_most` of them; refuses a batch, and games of too many numbers.

    >>> from gamesim.games.stochastic import StochasticGame
    >>> meet = [[[2.0, 0.0], [0.0, 1.0]]]
    >>> found = pure_stationary(StochasticGame([meet, meet], [[[[0.5], [0.5]], [[0.5], [0.5]]]]))
    >>> found.actions[:, :, 0].tolist(), found.strict.tolist()
    ([[0, 0], [1, 1]], [True, True])
    """
    if not isinstance(game, TabularGame):
        raise refuse("game", type(game).__name__, "a stochastic game by its tables (a TabularGame)")
    game.validate()
    if game.batch:
        raise refuse("game", f"a batch of games of shape {list(game.batch)}", "one game: search them one by one")
    if at_most < 1:
        raise refuse("at_most", at_most, "at least one equilibrium")
    numbers = game.state_count**2 * game.joint_count * max(game.action_counts)
    if numbers > LARGEST:
        raise refuse("game", f"{numbers:,} differences of transition probabilities", f"at most {LARGEST:,}")
    reward = game.reward.detach().cpu().double().numpy()
    tree = _Tree(reward, game.law.dense().detach().cpu().double().numpy(), game.action_counts)
    found, complete = tree.search(at_most)
    n, s = len(game.action_counts), game.state_count
    joint = np.stack([each.joint for each in found]) if found else np.zeros((0, s), dtype=np.int64)
    actions = np.stack(np.unravel_index(joint, game.action_counts), 1).reshape(-1, n, s)
    order = sorted(range(len(found)), key=lambda k: actions[k].tolist())
    margin = torch.tensor([found[k].margin for k in order], dtype=torch.float64)
    strict = torch.tensor([found[k].strict for k in order], dtype=torch.bool)
    return PureStationary(torch.from_numpy(actions[order]), strict, margin, complete, game.action_counts)


class Found(NamedTuple):
    """Joint actions j(s) that are an equilibrium."""

    joint: NDArray[np.int64]
    margin: float
    strict: bool


class _Tree:
    """R[player, s, j], P[s, j, t] and what a deviation changes of them."""

    def __init__(self, reward: Floats, kernel: Floats, counts: tuple[int, ...]) -> None:
        n, states = reward.shape[:2]
        self.reward, self.kernel = reward.reshape(n, states, -1), kernel
        joint = np.arange(self.reward.shape[2]).reshape(counts)
        self.turned = []  # [j, a_i]: the joint action that j becomes when player i does a_i
        for i, count in enumerate(counts):
            others = np.expand_dims(np.moveaxis(joint, i, -1), i)
            self.turned.append(np.broadcast_to(others, (*counts, count)).reshape(-1, count))
        self.states = np.arange(states)
        lo, hi = (np.stack([_optimum(r, kernel, sign) for r in self.reward]) for sign in (-1, 1))
        middle = (lo + hi) / 2
        self.reward = self.reward + np.moveaxis(kernel @ middle.T, -1, 0) - middle[:, :, None]
        stopping = 1 - kernel.sum(-1)
        rounding = ROUNDING * (np.abs(middle) + (hi - lo) / 2).max(1)
        self.tie = TIE * np.ptp(self.reward, (1, 2)) + rounding  # of each player
        self.slack = self.tie + rounding * stopping.max() / stopping.min()  # stops of all sizes let errors add up
        self.lo, self.hi = lo - middle - self.slack[:, None], hi - middle + self.slack[:, None]

    def search(self, at_most: int) -> tuple[list[Found], bool]:
        """Joint actions, and whether there are no others."""
        found: list[Found] = []
        stack, work = [(np.ones(self.reward.shape[1:], dtype=bool), self.lo, self.hi)], 0
        while stack and work < LIMIT:
            work += SPLIT
            narrowed = self.narrow(*stack.pop())
            if narrowed is None:
                continue
            left, lo, hi = narrowed
            count = left.sum(1)
            size = math.prod(count.tolist())
            if size <= max(1, min(FEW, NUMBERS // len(count) ** 2)):
                work += size
                joint = np.stack(np.meshgrid(*map(np.flatnonzero, left), indexing="ij"), -1).reshape(size, -1)
                margin = self.margins(joint)
                for k in np.flatnonzero((margin >= -self.tie).all(1)):
                    if len(found) == at_most:
                        return found, False
                    found.append(Found(joint[k], float(margin[k].min()), bool((margin[k] > self.tie).all())))
                continue
            s = int(np.where(count > 1, count, count.max() + 1).argmin())
            for j in np.flatnonzero(left[s]):
                part = left.copy()
                part[s] = False
                part[s, j] = True
                stack.append((part, lo, hi))
        return found, not stack

    def narrow(self, left: Mask, lo: Floats, hi: Floats) -> tuple[Mask, Floats, Floats] | None:
        """What is left, and its bounds; None where nothing is."""
        while True:
            lo, hi = self.bounds(left, lo, hi)
            kept = left.copy()
            for i, turned in enumerate(self.turned):
                q = self.reward[i] + self.kernel @ ((lo[i] + hi[i]) / 2)
                for other in turned.T:
                    doubt = np.abs(self.kernel[:, other] - self.kernel) @ np.maximum((hi[i] - lo[i]) / 2, 0)
                    kept &= q[:, other] - q - doubt <= self.slack[i]
            if not kept.any(1).all():
                return None
            if (kept == left).all():
                return left, lo, hi
            left = kept

    def bounds(self, left: Mask, lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
        """Sweeps of both bounds while they still move; they hold after any number of them."""
        slack = self.slack[:, None] / SWEEPS
        for _ in range(SWEEPS):
            width = hi - lo
            below, above = (self.reward + np.moveaxis(self.kernel @ v.T, -1, 0) for v in (lo, hi))
            below = np.stack([q[:, turned].max(-1) for q, turned in zip(below, self.turned, strict=True)])
            lo = np.maximum(lo, np.where(left, below, np.inf).min(-1) - slack)
            hi = np.minimum(hi, np.where(left, above, -np.inf).max(-1) + slack)
            if (width - (hi - lo)).max() <= 0.01 * width.max():
                break
        return lo, hi

    def margins(self, joint: NDArray[np.int64]) -> Floats:
        """What the best deviation in one state loses, at least, joint[n, s] -> [n, player]; below 0 it gains."""
        chain = self.kernel[self.states, joint]  # [n, s, t]
        paid = self.reward[:, self.states, joint].transpose(1, 2, 0)
        values = np.linalg.solve(np.eye(len(self.states)) - chain, paid)  # [n, s, player]
        least = np.full((len(joint), len(self.turned)), np.inf)
        for i, turned in enumerate(self.turned):
            for other in turned[joint].transpose(2, 0, 1):
                q = self.reward[i, self.states, other]
                q = q + (self.kernel[self.states, other] @ values[:, :, i, None])[..., 0]
                loss = np.where(other == joint, np.inf, values[:, :, i] - q).min(1)
                least[:, i] = np.minimum(least[:, i], loss)
        return least


def _optimum(reward: Floats, kernel: Floats, sign: int) -> Floats:
    """The most (least, for sign -1) that R[s, j] is worth if all work together, or beyond it, by policy iteration."""
    states, stopping = np.arange(len(reward)), float((1 - kernel.sum(-1)).min())
    joint = (sign * reward).argmax(1)
    for _ in range(ROUNDS):
        values = np.linalg.solve(np.eye(len(states)) - kernel[states, joint], reward[states, joint])
        q = sign * (reward + kernel @ values)
        gain, close = q.max(1) - q[states, joint], ROUNDING * np.abs(q).max()
        if gain.max() <= close:
            break
        joint = np.where(gain > close, q.argmax(1), joint)
    found: Floats = values + sign * (gain.max() + close) / stopping
    return found
