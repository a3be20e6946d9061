"""Independent Q-learning: everyone learns the values of their own actions as if the others were part of the world.

One iteration plays episodes under pih_i = (1 - eps) pi_i + eps / A_i, and every step moves player i's table by

    Q_i(s, a) <- Q_i(s, a) + alpha (r_i + discount max_b Q_i(s', b) - Q_i(s, a)),    0 after the end of an episode

in turn (`gamesim.feedback.temporal`); alpha falls with the visits of (s, a) so far or with the iterations. Then pi_i is
greedy, ties shared, or with a temperature softmax(Q_i / temperature).

Alone in its world a player reaches the optimal values if it comes by every pair for ever and the step sizes add up to
infinity, their squares to less (Watkins and Dayan, Machine Learning 8, 1992). Steps 1 / n are slow: the first values
are wrong and weigh as much as the last. (H + 1) / (H + n) at the n-th visit forgets them, with H about the steps that
rewards come from (Jin, Allen-Zhu, Bubeck and Jordan, NeurIPS 2018), and so does 1 / n^0.8 (Even-Dar and Mansour, JMLR
5, 2003). Among others who learn there is no such theorem: the world moves. Learners end in an equilibrium (often in
teams), in a cycle, or nowhere (Claus and Boutilier, AAAI 1998; Leslie and Collins, SIAM J. Control Optim. 44, 2005).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback.temporal import (
    Clock,
    Finite,
    Played,
    UpTo1,
    following,
    play_out,
    require_countable,
    shares,
    step_cautions,
    visited,
)
from gamesim.games import EpisodicGame, Policy, Simulator
from gamesim.parameters import Bounds, Count, Probability, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power, Schedule, Share
from gamesim.simplex import explore, soft_argmax


@dataclass(frozen=True)
class Tables:
    """What everyone believes of their actions, Q_i[..., s, a], how often they tried them, and what they then prefer."""

    q: tuple[Tensor, ...]
    visits: tuple[Tensor, ...]
    """Whole numbers [..., s, a]."""
    policy: Policy
    """Without exploration."""


@dataclass(frozen=True)
class IndependentQLearning:
    """Everyone learns the values of their own actions from episodes."""

    step_size: Share = Power(10.0, 1.0, 10.0)
    """alpha; power(H + 1, 1, H + 1) is (H + 1) / (H + n) at the n-th visit, power(1, w) is 1 / n^w."""
    clock: Clock = "visits"
    """What step sizes fall with: earlier visits of the pair, or iterations."""
    exploration: UpTo1 = Constant(0.1)
    """eps: share of the uniform policy in what is played."""
    temperature: Annotated[Schedule, Bounds("a number or schedule of at least 0", 0)] = Constant(0.0)
    """0: the best actions alone; above: softmax of values over it (Boltzmann)."""
    episodes: Count = 10
    """Episodes of an iteration."""
    discount: Probability = 1.0
    """Weight of the next value, where the game does not discount by itself: tabular games do, by stopping."""
    initial_value: Finite = 0.0
    """Q at the beginning: above what can be earned it is optimism, which explores."""

    requires: ClassVar[type] = EpisodicGame

    def __post_init__(self) -> None:
        check(self)
        require_countable(self.step_size, self.clock)
        first = self.temperature(0)
        if isinstance(first, Tensor) and bool((first <= 0).any()):
            raise refuse("temperature", self.temperature, "numbers above 0 in a batch")

    def cautions(self, game: Any) -> list[str]:
        said = step_cautions(self.step_size)
        if isinstance(game, Simulator) and not isinstance(self.discount, Tensor) and self.discount == 1:
            said.append(
                "discount: 1 in a game that nothing stops by chance: values spread slowly, and roads of any length are "
                "as good; take 0.99 or less"
            )
        return said

    def init(self, game: EpisodicGame) -> Tables:
        start = game.start()
        q = tuple(torch.zeros_like(x) + self.initial_value for x in start)
        return Tables(q, tuple(torch.zeros_like(x, dtype=torch.long) for x in start), start)

    def step(self, t: int, game: EpisodicGame, state: Tables, generator: Stream) -> Tables:
        played = tuple(explore(x, self.exploration(t)) for x in state.policy)
        found = play_out(game, played, self.episodes, generator)
        learned = [self._learned(t, i, q, n, found) for i, (q, n) in enumerate(zip(state.q, state.visits, strict=True))]
        q, visits = (tuple(x[k] for x in learned) for k in (0, 1))
        greedy = tuple(soft_argmax(x, self.temperature(t), rounding=0) for x in q)  # what luck estimates does not tie
        return Tables(q, visits, greedy)

    def _learned(self, t: int, i: int, q: Tensor, visits: Tensor, found: Played) -> tuple[Tensor, Tensor]:
        episodes, end = found.episodes, None if found.end is None else found.end[..., i]
        observed, action = episodes.observations[..., i], episodes.actions[..., i]
        after = following(q.amax(-1), observed, episodes.alive, found.cut, end)
        target = episodes.rewards[..., i].to(q) + self.discount * after
        place = observed * q.shape[-1] + action
        alpha = shares(self.step_size, self.clock, t)
        moved, counted = visited(q.flatten(-2), visits.flatten(-2), place, target, episodes.alive, alpha)
        return moved.unflatten(-1, q.shape[-2:]), counted.unflatten(-1, q.shape[-2:])
