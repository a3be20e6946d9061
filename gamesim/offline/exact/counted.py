"""Crowds by counts: N exchangeable agents with few local states and actions, exactly, up to N of about 30.

Agent i is in a local state z_i and does u_i. What is invariant under permutations of agents knows the joint state
S = [z_1; ..; z_N] by its counts c_z, and (S, A) by m_x, how many agents are at x = (z, u). So states s are multisets
of local states, and the actions of a state, its *plays* a, are the multisets of pairs that have its counts:

    agents who act alone by one pi(u | z, S)    pi(a | s) = prod_z c_z! / prod_u m_zu! prod_u pi(u | z, s)^m_zu
    own luck        everyone at x goes to t with p(t | x, S), independently: c' is a sum of N independent draws
    shared luck     all who are at x share one draw of p(t | x, S), and move together

Both kinds of luck are homogeneous: P(psi S' | psi S, psi A) = P(S' | S, A) for every permutation psi of the agents, and
values of invariant policies are invariant. Tables over plays are [s, a] with `possible` saying which there are.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.offline.exact.multisets import Multisets

Luck = Literal["own", "shared"]
LARGEST = 2**24
"""Numbers of a table, at most."""


@dataclass(frozen=True)
class Crowd:
    """So many agents, the states and plays that they can be in together.

    >>> crowd = Crowd(30, 2, 2)
    >>> crowd.states.count, crowd.pairs.count, crowd.width
    (31, 5456, 256)
    """

    agents: int
    local_states: int
    local_actions: int

    def __post_init__(self) -> None:
        numbers = self.pairs.count * self.states.count * max(1, self.pairs.kinds)
        if numbers > LARGEST:
            what = f"{self.agents}, and {self.pairs.count:,} multisets of pairs"
            raise refuse("agents", what, "fewer agents, local states or local actions: tables of all multisets")

    @cached_property
    def states(self) -> Multisets:
        """Joint states: counts of local states."""
        return Multisets(self.agents, self.local_states)

    @cached_property
    def pairs(self) -> Multisets:
        """Joint states with joint actions: counts of pairs (z, u), z before u."""
        return Multisets(self.agents, self.local_states * self.local_actions)

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """The state and the play of every multiset of pairs, [m] each."""
        state = self.states.number(self.pairs.table.unflatten(-1, (self.local_states, -1)).sum(-1))
        order = state.argsort(stable=True)
        counts = state.bincount(minlength=self.states.count)
        place = torch.empty_like(state)
        place[order] = torch.arange(len(state)) - (counts.cumsum(0) - counts)[state[order]]
        return state, place

    @cached_property
    def width(self) -> int:
        """The most plays of a state."""
        return int(self._places[1].max()) + 1

    @cached_property
    def plays(self) -> Tensor:
        """m_x of each play, int64 [s, a, x]; zeros where a state has fewer plays."""
        found = torch.zeros(self.states.count, self.width, self.pairs.kinds, dtype=torch.int64)
        found[self._places] = self.pairs.table
        return found

    @cached_property
    def possible(self) -> Tensor:
        """Whether a state has a play, bool [s, a]."""
        found = torch.zeros(self.states.count, self.width, dtype=torch.bool)
        found[self._places] = True
        return found

    def number(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """State and play, [...] each, from counts of pairs [..., x]."""
        which = self.pairs.number(counts)
        return self._places[0][which], self._places[1][which]

    def acting(self, policy: Tensor) -> Tensor:
        """Probabilities of plays, [..., s, a], of agents who act alone by policy[..., s, z, u], s of size 1 for any."""
        plays = self.plays.to(policy.dtype)
        here = plays.unflatten(-1, (self.local_states, -1)).sum(-1)
        ways = (torch.lgamma(here + 1).sum(-1) - torch.lgamma(plays + 1).sum(-1)).exp().round()
        chance = torch.special.xlogy(plays, policy.flatten(-2)[..., None, :]).sum(-1).exp()
        return torch.where(self.possible, ways * chance, 0.0)

    def law(self, kernel: Tensor, luck: Luck) -> Tensor:
        """P(t | s, a)[..., s, a, t] from p[..., s, x, t], s of size 1 where others do not matter."""
        state, _ = self._places
        moves = kernel.expand(*kernel.shape[:-3], self.states.count, *kernel.shape[-2:]).index_select(-3, state)
        spread = self._alone(moves) if luck == "own" else self._together(moves)
        found = spread.new_zeros(*spread.shape[:-2], self.states.count, self.width, self.states.count)
        found[(..., *self._places, slice(None))] = spread
        return found

    def _alone(self, moves: Tensor) -> Tensor:
        """The law of counts after everyone's own draw, [..., m, t], for moves[..., m, x, t]: agent after agent."""
        kinds = torch.arange(self.pairs.kinds).expand(self.pairs.count, -1)
        who = kinds.flatten().repeat_interleave(self.pairs.table.flatten()).reshape(self.pairs.count, self.agents)
        found, placed = moves.new_ones(*moves.shape[:-2], 1), Multisets(0, self.local_states)
        for i in range(self.agents):
            own = moves[..., torch.arange(len(who)), who[:, i], :]
            more = Multisets(i + 1, self.local_states)
            after = found.new_zeros(*found.shape[:-1], more.count)
            for z in range(self.local_states):
                one_more = placed.table + (torch.arange(self.local_states) == z)
                after.index_add_(-1, more.number(one_more), found * own[..., z, None])
            found, placed = after, more
        return found

    def _together(self, moves: Tensor) -> Tensor:
        """The law of counts where all at x share a draw, [..., m, t]: a sum over what is drawn for every x."""
        if self.local_states**self.pairs.kinds * self.pairs.count > LARGEST:
            raise refuse("luck", "shared", f"own, with {self.pairs.kinds} pairs of a local state and action")
        outcomes = torch.tensor(list(product(range(self.local_states), repeat=self.pairs.kinds)))
        found = moves.new_zeros(*moves.shape[:-2], self.states.count)
        for drawn in outcomes:
            counts = torch.zeros(self.pairs.count, self.local_states, dtype=torch.int64)
            counts.index_add_(1, drawn, self.pairs.table)
            chance = moves[..., torch.arange(len(drawn)), drawn].prod(-1)
            to = self.states.number(counts)
            found.scatter_add_(-1, to[:, None].expand(*found.shape[:-1], 1), chance[..., None])
        return found
