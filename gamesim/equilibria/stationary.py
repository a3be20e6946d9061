"""Stationary (Markov perfect) equilibria of general-sum stochastic games of any number of players, verified.

Policies pi_i(a | s) from which nobody gains by a deviation, whatever the state play begins in:

    max_i max_s  max_pi' V_i(s; pi', pi_-i) - V_i(s; pi)  =  0

Tried in this order: Newton's method from a start that is given, if it stays near it; best replies in turn, which end at
a pure equilibrium or not at all; the curve that leads from a prior to an equilibrium, with short steps if long ones
lose it, and from other priors (`gamesim.equilibria.markov_path`). What is returned is judged by exact best responses,
whichever way it was found. There is always an equilibrium (Fink, Journal of Science of the Hiroshima University 28,
1964), often there are many; the prior decides which one the curve leads to.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria.exact import Floats
from gamesim.equilibria.markov_barrier import Barrier
from gamesim.equilibria.markov_path import Walk, finish, follow
from gamesim.equilibria.markov_pure import PureStationary, pure_stationary
from gamesim.errors import refuse, unknown
from gamesim.games.game import Policy, require_rows
from gamesim.games.matrix import LARGEST
from gamesim.games.stochastic import TabularGame
from gamesim.randomness import Stream

__all__ = ["PureStationary", "Stationary", "find_stationary", "pure_stationary"]

Method = Literal["auto", "path", "newton", "pure"]
ROUNDS = 6
"""Rounds of best replies, at most."""
WALKS = ((0.1, 1500), (0.02, 10_000))
"""How far the curve may be from its tangent, and how many steps a walk may take: quick, then careful."""
PRIORS = 5
"""Other priors that are tried, at most."""
INSIDE = 0.05
"""Share of the uniform policy in a prior: the curve begins where every action is played."""
NEAR = 0.05
"""Change of a probability up to which Newton's method has only polished a start."""
NOTHING = 1e-12
"""Gain relative to values that is rounding."""


@dataclass(frozen=True)
class Stationary:
    """A stationary equilibrium, or the best that was found."""

    policy: Policy
    """pi_i[s, a]."""
    gain: float
    """What the best deviation gains, over players and states, in units of rewards, by exact best responses."""
    converged: bool
    """Whether the gain is within the tolerance."""
    method: str
    """newton, pure, path, or start where that was not improved."""
    steps: int
    """Along the curve, of all walks; 0 where none was needed."""
    turns: int
    """How often the last walk turned back."""
    walks: int
    message: str

    @property
    def supports(self) -> tuple[Tensor, ...]:
        """Which actions are played at all, bool [s, a] per player."""
        return tuple(x > 0 for x in self.policy)

    @property
    def pure(self) -> bool:
        """Whether nobody mixes anywhere."""
        return all(bool((x.amax(-1) == 1).all()) for x in self.policy)

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        kept = ("gain", "converged", "method", "steps", "turns", "walks", "message")
        return {"policy": [x.tolist() for x in self.policy], **{name: getattr(self, name) for name in kept}}


def find_stationary(
    game: TabularGame, *, start: Policy | None = None, tolerance: float = 1e-6, method: Method = "auto"
) -> Stationary:
    """One stationary equilibrium of one game, to a gain of `tolerance` in units of rewards.

    `start` (uniform if left out) is where Newton's method and best replies begin, and the prior of the curve, but for
    the twentieth of it that is always uniform. "path" only walks, "newton" goes from a start wherever it leads, "pure"
    only takes best replies. Refuses a batch of games, and one whose dense transitions would not fit.

    >>> from gamesim.games.stochastic import StochasticGame
    >>> pennies = [[[[1.0, -1.0], [-1.0, 1.0]]], [[[-1.0, 1.0], [1.0, -1.0]]]]
    >>> found = find_stationary(StochasticGame(pennies, [[[[1.0], [1.0]], [[1.0], [1.0]]]], discount=0.9))
    >>> [x.tolist() for x in found.policy]
    [[[0.5, 0.5]], [[0.5, 0.5]]]
    """
    _require(game, start, tolerance, method)
    first = game.start() if start is None else tuple(x.to(**game.like) for x in start)
    search = _Search(game, first, tolerance)
    if start is not None and method in ("auto", "newton"):
        search.newton(first, within=1.0 if method == "newton" else NEAR)
    if method in ("auto", "pure") and not search.done:
        search.best_replies(first)
    if method in ("auto", "path") and not search.done:
        search.walks(first)
    return search.best


def _require(game: TabularGame, start: Policy | None, tolerance: float, method: str) -> None:
    if not isinstance(game, TabularGame):
        raise refuse("game", type(game).__name__, "a stochastic game by its tables (a TabularGame)")
    game.validate()
    if game.batch:
        raise refuse("game", f"a batch of games of shape {list(game.batch)}", "one game: solve them one by one")
    if method not in get_args(Method):
        raise unknown("method", str(method), get_args(Method))
    if not 0 < tolerance < np.inf:
        raise refuse("tolerance", tolerance, "a number above 0, in units of rewards")
    if method == "newton" and start is None:
        raise refuse("start", None, "policies to begin from: Newton's method finds an equilibrium near its start")
    numbers = game.state_count**2 * game.joint_count
    if numbers > LARGEST:
        raise refuse("game", f"{numbers:,} transition probabilities", f"at most {LARGEST:,}: they are held densely")
    if start is not None:
        shapes = [(game.state_count, count) for count in game.action_counts]
        if [tuple(x.shape) for x in start] != shapes:
            wanted = f"one tensor [s, a] for each player: {[list(shape) for shape in shapes]}"
            raise refuse("start", f"shapes {[list(x.shape) for x in start]}", wanted)
        for i, x in enumerate(start):
            require_rows(x, f"start[{i}]")


class _Search:
    """The best policies so far."""

    def __init__(self, game: TabularGame, start: Policy, tolerance: float) -> None:
        self.game, self.tolerance = game, tolerance
        self.rounding = NOTHING * float(game.state_values(start).abs().max())
        self.best = self._judged(start, "start", "")
        end = "is an equilibrium" if self.done else "is returned: nothing better was found"
        self.best = replace(self.best, message=f"the policy to start from {end}")
        self.reward = game.reward.detach().cpu().double().numpy()
        self.kernel = game.law.dense().detach().cpu().double().numpy()

    @property
    def done(self) -> bool:
        """Whether the best is good enough, or as good as rounding lets it be."""
        return self.best.gain <= max(self.tolerance, self.rounding)

    def keep(self, found: Stationary) -> None:
        """The better of two; what was done is counted in any case."""
        steps, walks = self.best.steps + found.steps, self.best.walks + found.walks
        better = found if found.gain < self.best.gain else self.best
        self.best = replace(better, steps=steps, walks=walks)
        if self.done and not self.best.converged:
            self.best = replace(self.best, message=f"{better.message}; rewards so large leave no digits for less gain")

    def newton(self, start: Policy, within: float) -> None:
        """Newton's method at t = 1 from a start, where it changes no probability by more than `within`."""
        barrier = self._barrier(start)
        values = [q.detach().cpu().double().numpy() for q in self.game.values(start)]
        point = finish(barrier, barrier.at([x.detach().cpu().double().numpy() for x in start], values))
        if point is not None:
            policy = self._policy(barrier, point)
            if max(float((x - y).abs().max()) for x, y in zip(policy, start, strict=True)) <= within:
                self.keep(self._judged(policy, "newton", "Newton's method from the start"))

    def best_replies(self, start: Policy) -> None:
        """Everyone in turn moves to a pure best response, until nobody gains by moving."""
        policy, seen = start, set()
        for _ in range(ROUNDS):
            moved = False
            for i in range(len(policy)):
                best, values = self.game.best_responses(policy)
                gain = (values - self.game.state_values(policy))[i].max()
                pure = bool((policy[i].amax(-1) == 1).all())
                if not pure or gain > NOTHING * values[i].abs().max():
                    row = torch.nn.functional.one_hot(best[i].argmax(-1), best[i].shape[-1]).to(policy[i])
                    policy, moved = (*policy[:i], row, *policy[i + 1 :]), True
            if not moved:
                return self.keep(self._judged(policy, "pure", "best replies in turn came to rest"))
            now = tuple(tuple(x.argmax(-1).tolist()) for x in policy)
            if now in seen:
                return None
            seen.add(now)
        return None

    def walks(self, start: Policy) -> None:
        """Along the curve from one prior after another."""
        stream = Stream(0)
        for k in range(1 + PRIORS):
            prior = start
            if k:
                drawn = [-stream.uniform(tuple(x.shape)).log().to(x) for x in start]  # uniform on the simplex
                prior = tuple(w / w.sum(-1, keepdim=True) for w in drawn)
            barrier = self._barrier(prior)
            for away, steps in WALKS:
                walk = follow(barrier, steps, away)
                self.keep(self._walked(barrier, walk))
                if self.done:
                    return

    def _walked(self, barrier: Barrier, walk: Walk) -> Stationary:
        found = self._judged(self._policy(barrier, walk.point), "path", walk.message)
        return replace(found, steps=walk.steps, turns=walk.turns, walks=1)

    def _barrier(self, prior: Policy) -> Barrier:
        rows = [x.detach().cpu().double().numpy() for x in prior]
        return Barrier(self.reward, self.kernel, [(1 - INSIDE) * x + INSIDE / x.shape[1] for x in rows])

    def _policy(self, barrier: Barrier, point: Floats) -> Policy:
        return tuple(torch.from_numpy(x).to(**self.game.like) for x in barrier.policy(point))

    def _judged(self, policy: Policy, method: str, message: str) -> Stationary:
        gain = float(self.game.gains(policy).max())
        return Stationary(policy, gain, gain <= self.tolerance, method, 0, 0, 0, message)
