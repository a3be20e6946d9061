"""Worlds: N agents on a network who play a policy, one of them perhaps another one.

Agent i at position x_i feels the states of its neighbours instead of the continuum's,

    G_i = (1 / (N rho_N)) sum_{j ~ i} delta_{s_j},

as the game's own rules bound it: divided by its own degree with normalize, min(1, G_i) with clip. It plays
a_i ~ pi_h(. | k, s_i) with k the grid position nearest to x_i, is paid r_h(s_i, a_i, G_i) and moves to
t ~ P_h(. | s_i, a_i, G_i); all move at once. Where P takes G_i for a probability and rho_N < 1, an entry of G_i can
pass 1 without meaning: it is cut to 1 and counted.

A uniform number belongs to (seed, draw, episode, agent), so that worlds of one seed share their luck: draw 0 makes the
first state, 1 + 2 h the action and 2 + 2 h the next state of step h. Letters: w world, e episode, n agent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.games import GraphonGame
from gamesim.graphons import Graphon, interpolate
from gamesim.kernels import population as fused
from gamesim.populations.networks import Network
from gamesim.populations.plain import plain_play
from gamesim.randomness import Stream
from gamesim.simplex import entropy

PLAY = 2**32 - 3
"""The iteration of the stream that play draws from, far from those of solvers."""


class Chunk(NamedTuple):
    """What happened in some episodes of some worlds; what was not asked for is empty."""

    returns: Tensor
    """[w, e, n], with temperature times the entropy of what was played; steadied where the worlds have a value."""
    population: Tensor
    """int64 [w, h, s]: agents in each state, over all episodes."""
    flow: Tensor
    """int64 [w, h, n, s]: episodes in each state."""
    felt: Tensor
    """[w, e, h, q, s]: the aggregates of the watched agents."""
    stood: Tensor
    """int64 [w, e, h, q]: their states."""
    states: Tensor
    """int32 [w, e, h + 1, n]."""
    actions: Tensor
    """int32 [w, e, h, n]."""
    rewards: Tensor
    """[w, e, h, n]."""
    above: Tensor
    """int64 [w]: aggregates that were cut to 1."""
    lowest: float
    """The smallest entry of any P."""


@dataclass(frozen=True, eq=False)
class Worlds:
    """Worlds side by side: w of them on g networks, with p policies and d deviations between them."""

    game: GraphonGame
    networks: Sequence[Network]
    """One for each graphon of the game, of g networks each."""
    positions: Tensor
    """float64 [g, n]."""
    seeds: Sequence[int]
    """One for each network."""
    policy: Tensor
    """[p, h, k, s, a] on the grid of the game."""
    deviation: Tensor
    """[d, h, s, a]."""
    index: Tensor
    """int64 [w, 4]: the network, the policy, the deviating agent and its deviation; -1, -1 for nobody."""
    temperature: float = 0.0
    """Weight of the entropy in the returns."""
    foreseen: Tensor | None = None
    """Any V[g or 1, n, h + 1, s], 0 at the end: then returns are steadied, see `gamesim.populations.responses`."""

    @cached_property
    def where(self) -> Tensor:
        """int64 [g, n]: the grid position nearest to each agent."""
        grid = self.game.grid
        numbers = torch.arange(len(grid), **self.game.like)[:, None]
        x = self.positions.to(**self.game.like)
        return interpolate(numbers, grid, x.flatten()).view(x.shape).round().long()

    @cached_property
    def streams(self) -> Stream:
        """The luck of each world, a batch of seeds."""
        return Stream([self.seeds[g] for g in self.index[:, 0].tolist()], PLAY)

    @cached_property
    def which(self) -> list[int]:
        """The network of each step."""
        several = len(self.game.graphons) > 1
        known = distinct(self.game.graphons)
        return [known.index(w) for w in self.game.graphons] if several else [0] * self.game.horizon

    @cached_property
    def bonus(self) -> Tensor:
        """temperature H(pi(. | s)), [p, h, k, s]; empty without a temperature."""
        return self.temperature * entropy(self.policy) if self.temperature else self.policy.new_zeros(0, 0, 0, 0)

    @cached_property
    def deviation_bonus(self) -> Tensor:
        """The same of the deviations, [d, h, s]."""
        return self.temperature * entropy(self.deviation) if self.temperature else self.policy.new_zeros(0, 0, 0)

    @cached_property
    def value(self) -> Tensor:
        """V as it is, or empty."""
        return self.policy.new_zeros(0, 0, 0, 0) if self.foreseen is None else self.foreseen.to(self.policy)

    @cached_property
    def start(self) -> Tensor:
        """E V_0(s_0), [g or 1, n]."""
        law = self.game.initial.to(**self.game.like)
        law = law[self.where[: len(self.value)]] if law.dim() > 1 and len(law) > 1 else law
        return (law * self.value[:, :, 0]).sum(-1)

    def numbers(self, record: bool) -> int:
        """Numbers that an agent takes in an episode."""
        states, actions = self.policy.shape[-2:]
        laws = 0 if fused.serves(self) else 4 * states * actions * (1 + states)  # P of each agent, written out
        return 1 + 3 * self.game.horizon * record + laws

    def only(self, some: slice) -> "Worlds":
        """Some of the worlds."""
        return replace(self, index=self.index[some])

    def play(
        self, first: int, episodes: int, *, flow: bool = False, watch: Tensor | None = None, record: bool = False
    ) -> Chunk:
        """Episodes first, first + 1, ... of all worlds at once; watch[w, q] are agents in increasing order."""
        watch = torch.zeros(len(self.index), 0, dtype=torch.int64) if watch is None else watch
        assert bool((watch.diff() >= 0).all()), "the loops meet agents in increasing order"
        play = fused.play if fused.serves(self) else plain_play
        chunk = Chunk(*play(self, first, episodes, flow, watch, record))  # type: ignore[arg-type]
        if chunk.lowest < -1e-9:
            name = type(self.game).__name__
            raise InvalidInput(
                f"{name}: P(t | s, a, G) fell to {chunk.lowest:.3g} where an aggregate of few agents passed what the "
                f"continuum's can reach; set {name}.z_is_probability = True to cut it to 1, or play with normalize=true"
            )
        if len(self.value):
            start = self.start.expand(len(self.where), -1)[self.index[:, 0].to(self.start.device)]
            return chunk._replace(returns=chunk.returns + start[:, None])
        return chunk


def distinct(graphons: Sequence[Graphon]) -> list[Graphon]:
    """The graphons of a game without repetitions."""
    found = list[Graphon]()
    for w in graphons:
        if w not in found:
            found.append(w)
    return found
