"""Few agents of few local states who are all alike, and transitions of theirs: exactly solvable offline problems.

Everybody is in one of a few local states z and does one of a few things u. With m_x the number of agents at x = (z, u),
c_z those in z, and tables that are drawn once from the seed and are the same for every N,

    r(S, A) = 1/2 sum_x (m_x / N) rho(x) + 1/2 sum_{z, z'} (c_z / N)(c_z' / N) G(z, z')        in [0, 1]
    own luck      everyone moves by p(t | x) alone               shared luck    all at x move by one draw of p(t | x)

All agents begin in the first local state. A policy is invariant: it says with which probability each *play*, a
multiset of local actions, is made in each joint state, a multiset of local states. The data are (S, A, r, S') with
(S, A) from a law that `behaviour` names: in `spread` all multisets of pairs are alike, which covers everything; in
`groups` shares of agents have one law for every N; with `independent`, each agent anywhere and doing anything, they are
near their mean where N is large, and little is covered.

An exact oracle for offline learning of permutation-invariant agents as in Zhang et al., NeurIPS 2022, arXiv 2209.09845;
the tables are ours.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.offline.exact.counted import Crowd, Luck
from gamesim.offline.exact.counted_task import CountedTask
from gamesim.offline.exact.pairs import Behaviour, Local, Transitions, worth
from gamesim.offline.exact.version_space import Visits
from gamesim.parameters import Bounds, Count, Natural, check
from gamesim.randomness import Stream

TABLES, DATA = 0, 1
"""Iterations of the seed's stream."""
Discount = Annotated[float, Bounds("a number between 0 and 1, ends excluded", 0, 1, True, True)]
Few = Annotated[int, Bounds("a whole number from 2 to 6", 2, 6)]
Samples = Annotated[int, Bounds("a whole number from 1 to 10,000,000", 1, 10**7)]
AT_ONCE = 2**22
"""Draws at once, about."""


@final
@dataclass(frozen=True, kw_only=True)
class Tabular(CountedTask):
    """A random homogeneous Markov decision process by multisets, with data."""

    agents: Count = 3
    """How many, N; all are alike."""
    local_states: Few = 2
    """Of one agent."""
    local_actions: Few = 2
    """Of one agent."""
    samples: Samples = 2000
    """n, transitions in the data."""
    behaviour: Behaviour = "spread"
    """The law of (S, A) in the data."""
    luck: Luck = "own"
    """Everyone's own, or shared by all who are in one local state and do the same."""
    discount: Discount = 0.8
    """Weight of the next step."""
    seed: Natural = 0
    """Of the tables and of the data."""

    def __post_init__(self) -> None:
        check(self)
        _ = self.crowd

    @cached_property
    def crowd(self) -> Crowd:
        return Crowd(self.agents, self.local_states, self.local_actions)

    @cached_property
    def local(self) -> Local:
        """The tables of one agent."""
        drawn = Stream(self.seed, TABLES)
        return Local.drawn((), self.local_states, self.local_actions, self.luck, self.discount, drawn)

    @cached_property
    def reward(self) -> Tensor:
        return torch.where(self.crowd.possible, worth(self.local.reward, self.shares), 0.0)

    @cached_property
    def law(self) -> Tensor:
        return self.crowd.law(self.local.kernel[None], self.luck)

    @cached_property
    def initial(self) -> Tensor:
        all_first = torch.tensor([self.agents] + [0] * (self.local_states - 1))
        return torch.nn.functional.one_hot(self.crowd.states.number(all_first), self.crowd.states.count).double()

    @cached_property
    def data(self) -> Visits:
        states, width = self.crowd.possible.shape
        counts = torch.zeros(states * width * states, dtype=torch.float64)
        for seen in self.transitions():
            s, a = self.crowd.number(seen.pairs)
            t = self.crowd.states.number(seen.after)
            counts += torch.bincount((s * width + a) * states + t, minlength=len(counts))
        return Visits(counts.reshape(states, width, states), self.reward, self.discount)

    def transitions(self) -> list[Transitions]:
        """The data as counts, in pieces."""
        stream, piece = Stream(self.seed, DATA), max(1, AT_ONCE // self.agents)
        sizes = [min(piece, self.samples - k) for k in range(0, self.samples, piece)]
        return [self.local.sampled((), n, self.agents, self.behaviour, stream) for n in sizes]
