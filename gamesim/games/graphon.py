"""Finite graphon mean-field games: a continuum of agents, felt by one another through a graphon.

At step h = 0..H-1 the agent at position k is in state s, feels the aggregate z and plays a:

    z_h(k) = int W_h(k, j) mu_h(j) dj          a vector over states; unnormalised, its mass is the degree of k
    mu_{h+1}(k, t) = sum_{s,a} mu_h(k, s) pi_h(k, s, a) P_h(t | s, a, z_h(k))
    Q_h(s, a) = r_h(s, a, z_h) + sum_t P_h(t | s, a, z_h) V_{h+1}(t),    V_H = 0
    V_h(s) = sum_a pi(a|s) [Q_h(s, a) - lam log pi(a|s)]                 of a policy
    V*_h(s) = lam log sum_a exp(Q*_h(s, a) / lam)                        of the best response; max_a Q* at lam = 0

Exploitability is the mean over positions (with the quadrature weights) of V*_0 - V_0 under the initial law, both in the
flow of the policy; with a temperature, both are regularised. Q leaves out the entropy of its own step.

Cui and Koeppl, ICLR 2022; Zhang, Tan, Wang and Yang, arXiv 2310.17531 (section 3) and 2310.08089.
Letters: b batch, h step, k position, s state, a action, t next state.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, einsum
from torch.nn.functional import one_hot

from gamesim.errors import InvalidInput, refuse
from gamesim.formats.graphs import read_graph
from gamesim.games.game import Policy, require_rows
from gamesim.graphons import Empirical, Form, Graphon, Grid, Operator, Rule, UniformAttachment, interpolate
from gamesim.kernels import graphon as fused
from gamesim.kernels.rows import Rows
from gamesim.parameters import LARGEST, Count, Device, check
from gamesim.shapes import broadcast_shapes
from gamesim.simplex import Number, entropy, per_state, regret, soft_argmax, soft_maximum, total

AT_ONCE = 10_000_000
"""Entries of W written out at once where positions are off the grid."""


def at_play(table: Tensor, state: Tensor, action: Tensor) -> Tensor:
    """table[..., s, a, o] where agents are in state[...] and play action[...]: [..., o]."""
    actions, size = table.shape[-2:]
    if all(step == 0 for step in table.stride()[:-3]):  # one table for all
        table = table[(0,) * (table.dim() - 3)]
        return table[state.long(), action.long()]
    row = (state.long() * actions + action.long())[..., None, None].expand(*state.shape, 1, size)
    return table.flatten(-3, -2).gather(-2, row).squeeze(-2)


class ActionValues(NamedTuple):
    """q[..., h, k, s, a] and v[..., h, k, s]."""

    q: Tensor
    v: Tensor


@dataclass(frozen=True, kw_only=True)
class GraphonGame(ABC):
    """A game is: `initial`, `reward(h, z)`, and `transition(h, z)` or the pair `expect` and `push`.

    Subclasses are frozen dataclasses. Any number may be a tensor [b]: then the game is a batch of games.
    """

    horizon: Count = 50
    """Number of decision steps."""
    graphon: Graphon | tuple[Graphon, ...] = UniformAttachment()
    """How positions feel one another; a list of `horizon` graphons varies with time."""
    positions: Count | None = None
    """Grid points; 101 if left out, one per block with quadrature=block."""
    quadrature: Rule = "midpoint"
    """Rule of the grid; endpoint is for replication, block is exact for step graphons."""
    normalize: bool = False
    """Divide the aggregate by the degree, so that it is the law of a random neighbour."""
    clip: bool = False
    """Replace the aggregate z by min(1, z), for graphons that exceed 1."""
    graph: str | None = None
    """A network instead of a graphon: a file (edge list, .graphml, .gml, .npz), karate-club or les-miserables."""
    blocks: Count | None = None
    """Average the network over this many blocks after sorting by degree; left out, one position per node."""
    operator: Form = "auto"
    """How the graphon acts on a population; every form gives the same numbers."""
    dtype: Literal["float64", "float32"] = "float64"
    """Precision."""
    device: Device = "cpu"
    """Where the tensors live: cpu, cuda, cuda:0, ..."""

    z_is_probability: ClassVar[bool] = False
    """True where the dynamics use z as a probability, so that it must not exceed 1."""

    state_names: ClassVar[tuple[str, ...]] = ()
    """Words for the states, for figures."""
    action_names: ClassVar[tuple[str, ...]] = ()
    """Words for the actions."""

    def __post_init__(self) -> None:
        check(self)
        if (self.positions or 1) * self.horizon > LARGEST:
            raise refuse(
                "positions",
                self.positions,
                f"at most {LARGEST // self.horizon} with horizon {self.horizon}: no memory holds more",
            )
        if isinstance(self.graphon, tuple) and len(self.graphon) != self.horizon:
            raise refuse("graphon", f"{len(self.graphon)} graphons", f"one, or {self.horizon}: one for each step")
        if self.blocks is not None and self.graph is None:
            raise refuse("blocks", self.blocks, "nothing without a graph: blocks averages a network")
        if self.graph is not None and self.graphon is not type(self).__dataclass_fields__["graphon"].default:
            raise refuse("graph", self.graph, "no graphon beside it: give one of the two")
        if self.z_is_probability and not (self.normalize or self.clip):
            for w in self.graphons:
                if w.exceeds_one:
                    raise refuse(
                        "graphon",
                        str(w),
                        f"normalize=true or clip=true: {w} exceeds 1, {type(self).__name__} needs a probability",
                    )
        _ = self.operators  # refuse a bad graphon, grid or graph now, not in the middle of a run

    # --- what a game says ---------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def initial(self) -> Tensor:
        """The law of the first state: [s], or [k, s] where positions differ."""

    @abstractmethod
    def reward(self, h: int, z: Tensor) -> Tensor:
        """r[..., k, s, a] at step h when the aggregate is z[..., k, s]; leading sizes of 1 may be left out."""

    def transition(self, h: int, z: Tensor) -> Tensor:
        """P[..., k, s, a, t] at step h (or [s, a, t] when z plays no part)."""
        raise InvalidInput(
            f"{type(self).__name__}: define transition(h, z), or both expect(h, value, z) and push(h, mass, policy, z)"
        )

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        """sum_t P(t | s, a, z) value(t): value[..., k, t] -> [..., k, s, a]. Override to keep P from being built."""
        return einsum("...sat,...t->...sa", self.transition(h, z), value)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        """Where a population goes: mass[..., k, s], policy[..., k, s, a] -> [..., k, t]."""
        return einsum("...sa,...sat->...t", mass[..., None] * policy, self.transition(h, z))

    def kernel(self, h: int, z: Tensor) -> Tensor:
        """P[..., k, s, a, t] written out at step h, for z[..., k, s]: for sampling, where positions are few."""
        if type(self).transition is not GraphonGame.transition:
            P = self.transition(h, z)
            return P.expand(*broadcast_shapes(P.shape[:-3], z.shape[:-1]), *P.shape[-3:])
        one = torch.eye(z.shape[-1], **self.like)
        return torch.stack([self.expect(h, to.expand_as(z), z) for to in one], -1)

    def law(self, h: int, state: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """P(t | s, a, z) of agents who are in state[..., n] and play action[..., n] there: [..., n, t]."""
        if type(self).push is GraphonGame.push:  # then P is what the game says
            P = self.transition(h, z)
            return at_play(P.expand(*state.shape, *P.shape[-3:]), state, action)
        mass = one_hot(state.long(), self.shape[-2]).to(z)
        policy = one_hot(action.long(), self.shape[-1]).to(z).unsqueeze(-2).expand(*mass.shape, -1)
        return self.push(h, mass, policy, z)

    def rows(self) -> Rows | None:
        """The same over again for compiled loops, where a game has that; see gamesim.kernels.rows."""
        return None

    @cached_property
    def plan(self) -> fused.Plan | None:
        """What the compiled loops need of this game, or None: then torch plays it."""
        return fused.plan(self)

    def prepare(self) -> None:
        """Compile, or load from disk, what playing this game needs: seconds on a new machine, once."""
        if fused.serves(self, None):
            fused.prepare(self)

    # --- the grid -----------------------------------------------------------------------------------------------

    @cached_property
    def like(self) -> dict[str, Any]:
        """dtype and device for new tensors."""
        return {"dtype": getattr(torch, self.dtype), "device": self.device}

    @cached_property
    def graphons(self) -> tuple[Graphon, ...]:
        """One graphon, or one for each step."""
        if self.graph is not None:
            return (read_graph(self.graph, blocks=self.blocks),)
        return self.graphon if isinstance(self.graphon, tuple) else (self.graphon,)

    @cached_property
    def grid(self) -> Grid:
        """Positions and quadrature weights; a network has one position per node or block unless told otherwise."""
        rule: Rule = "block" if self.graph is not None and self.positions is None else self.quadrature
        grids = [w.grid(rule, self.positions, **self.like) for w in self.graphons]
        if any(not torch.equal(grid.weights, grids[0].weights) for grid in grids):
            raise refuse("quadrature", rule, "graphons with the same blocks at every step, or another rule")
        return grids[0]

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """The graphons on the grid."""
        return tuple(w.operator(self.grid, self.operator) for w in self.graphons)

    @cached_property
    def degrees(self) -> tuple[Tensor, ...]:
        """int W(k, j) dj, [..., k, 1], one for each operator."""
        return tuple(w(torch.ones(len(self.grid), 1, **self.like)) for w in self.operators)

    def aggregate_at(self, h: int, mass: Tensor) -> Tensor:
        """z_h of the population at one step: mass[..., k, s] -> [..., k, s]."""
        which = h if len(self.operators) > 1 else 0
        return self._bounded(self.operators[which](mass), self.degrees[which] if self.normalize else None)

    def aggregate(self, flow: Tensor) -> Tensor:
        """z of a whole flow: [..., h, k, s] -> [..., h, k, s]."""
        dense = self.operators[0].form == "dense"  # then one product of torch for all steps is as fast
        if not dense and fused.serves(self, None, flow):
            return fused.aggregate(self, flow)
        if len(self.operators) > 1:
            return torch.stack([self.aggregate_at(h, mass) for h, mass in enumerate(flow.unbind(-3))], -3)
        steps, states = flow.shape[-3], flow.shape[-1]
        columns = flow.movedim(-3, -2).flatten(-2)  # all steps are columns of one product
        z = self.operators[0](columns).unflatten(-1, (steps, states)).movedim(-2, -3)
        return self._bounded(z, self.degrees[0].unsqueeze(-3) if self.normalize else None)

    def felt(self, flow: Tensor, positions: Tensor) -> Tensor:
        """z of a whole flow at any positions x[..., n] of the unit interval: [..., h, k, s] -> [..., h, n, s]."""
        x = positions.to(**self.like)
        parts, width = [], len(self.grid) * math.prod(x.shape[:-1])
        for some in x.split(max(1, AT_ONCE // max(1, width)), -1):  # rows of W, never all of them at once
            rows = [w(some[..., None], self.grid.positions) * self.grid.weights for w in self.graphons]
            row = torch.stack(rows, -3) if len(rows) > 1 else rows[0].unsqueeze(-3)
            degree = row.sum(-1, keepdim=True) if self.normalize else None
            parts.append(self._bounded(row @ flow, degree))
        return torch.cat(parts, -2)

    def _bounded(self, z: Tensor, degree: Tensor | None) -> Tensor:
        if degree is not None:
            z = torch.where(degree > 0, z / degree, torch.zeros_like(z))  # who knows nobody feels nothing
        return z.clamp(max=1) if self.clip else z

    # --- flow and values ----------------------------------------------------------------------------------------

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(..., k, s, a): the batch of games, positions, states, actions."""
        law = self.initial.to(**self.like)
        if law.dim() < 1 or (law.dim() > 1 and law.shape[-2] not in (1, len(self.grid))):
            raise refuse("initial", f"shape {tuple(law.shape)}", f"[s] or [{len(self.grid)}, s]")
        mass = law.expand(*law.shape[:-2], len(self.grid), law.shape[-1])
        z = self.aggregate_at(0, mass)
        try:
            reward, value = self.reward(0, z), self.expect(0, torch.zeros_like(mass), z)
        except (RuntimeError, IndexError) as error:
            if "allocate memory" in str(error):
                raise
            what = f"{type(self).__name__}: reward(0, z) or transition(0, z) fails on z of shape {list(z.shape)}"
            reason = str(error).partition("\n")[0]
            raise InvalidInput(f"{what} ({reason}), expected [..., k, s, a] and [..., k, s, a, t]") from error
        if reward.dim() < 2 or reward.shape[-2] != law.shape[-1]:
            raise refuse("reward", f"shape {tuple(reward.shape)}", f"[..., k, s, a] with {law.shape[-1]} states")
        try:
            return tuple(broadcast_shapes(reward.shape, value.shape, (*z.shape, 1)))
        except RuntimeError:
            raise refuse(
                "reward", f"shape {tuple(reward.shape)}", f"one that fits the transitions, {tuple(value.shape)}"
            ) from None

    def start(self) -> Policy:
        """The uniform policy, [..., h, k, s, a]."""
        *batch, k, s, a = self.shape
        return (torch.full((*batch, self.horizon, k, s, a), 1 / a, **self.like),)

    def _first_mass(self, policy: Tensor) -> Tensor:
        batch = broadcast_shapes(policy.shape[:-4], self.shape[:-3])  # one policy may play a batch of games
        return self.initial.to(**self.like).expand(*batch, *policy.shape[-3:-1])

    def flow(self, policy: Policy, frozen: Tensor | None = None) -> Tensor:
        """Where the population goes when everyone plays the policy: [..., h, k, s].

        With `frozen`, a flow, the policy moves in the aggregates of that flow instead of its own.
        """
        (pi,) = policy
        z = None if frozen is None else self.aggregate(frozen)
        if fused.serves(self, pi, z):
            return fused.flow(self, pi, z)
        mass, flow = self._first_mass(pi), []
        for h, pi_h in enumerate(pi.unbind(-4)):
            flow.append(mass)
            if h + 1 < self.horizon:
                z_h = self.aggregate_at(h, mass) if z is None else z.select(-3, h)
                mass = self.push(h, mass, pi_h, z_h)
        return torch.stack(flow, -3)

    def _play(self, policy: Policy) -> tuple[Tensor, Tensor]:
        """The flow of a policy and its aggregates, both [..., h, k, s]."""
        if fused.serves(self, policy[0]):
            return fused.play(self, policy[0])
        flow = self.flow(policy)
        return flow, self.aggregate(flow)

    def _backward(self, z: Tensor, policy: Tensor | None, temperature: Number) -> Iterator[tuple[Tensor, Tensor]]:
        """(Q_h, V_h) for h = H-1, ..., 0: of the policy, or of the best response when there is none."""
        lam = self._at_step(temperature)
        batch = z.shape[:-3] if policy is None else broadcast_shapes(z.shape[:-3], policy.shape[:-4])
        value = z.new_zeros(*batch, *z.shape[-2:])
        bonus = None
        if policy is not None and (isinstance(temperature, Tensor) or temperature > 0):
            bonus = per_state(temperature) * entropy(policy)
        for h in reversed(range(self.horizon)):
            z_h = z.select(-3, h)
            q = self.reward(h, z_h) + self.expect(h, value, z_h)
            if policy is None:
                value = soft_maximum(q, lam)
            else:
                value = total(policy.select(-4, h) * q)
                if bonus is not None:
                    value = value + bonus.select(-3, h)
            yield q, value

    @staticmethod
    def _at_step(temperature: Number) -> Number:
        """A temperature that broadcasts against policies [..., h, k, s, a], made to broadcast against one step."""
        return temperature.squeeze(-4) if isinstance(temperature, Tensor) and temperature.dim() >= 4 else temperature

    def _values(self, z: Tensor, policy: Tensor | None, temperature: Number) -> ActionValues:
        if fused.serves(self, policy, z, temperature=temperature):
            return ActionValues(*fused.values(self, z, policy, temperature))
        q, v = zip(*self._backward(z, policy, temperature), strict=True)
        return ActionValues(torch.stack(q[::-1], -4), torch.stack(v[::-1], -3))

    def values(self, policy: Policy, flow: Tensor, temperature: Number = 0.0) -> ActionValues:
        """Q and V of a policy in a flow[..., h, k, s]."""
        return self._values(self.aggregate(flow), policy[0], temperature)

    def optimal_values(self, flow: Tensor, temperature: Number = 0.0) -> ActionValues:
        """Q* and V* in a flow[..., h, k, s]."""
        return self._values(self.aggregate(flow), None, temperature)

    def best_response(self, flow: Tensor, temperature: Number = 0.0) -> Policy:
        """The optimal policy in a flow: softmax(Q* / temperature), greedy with ties shared at temperature 0."""
        return (soft_argmax(self.optimal_values(flow, temperature).q, temperature),)

    def occupancy(self, policy: Policy, frozen: Policy | None = None) -> Policy:
        """How often each pair is played, rho[..., h, k, s, a] = mu pi; moved by the aggregates of `frozen` if given."""
        flow = self.flow(policy, frozen=None if frozen is None else frozen[0].sum(-1))
        return (flow[..., None] * policy[0],)

    def reply(self, occupancy: Policy, temperature: Number = 0.0) -> Policy:
        """The best response to everyone else's occupancy."""
        return self.best_response(occupancy[0].sum(-1), temperature)

    # --- how far from equilibrium -------------------------------------------------------------------------------

    def feedback(self, policy: Policy, temperature: Number = 0.0) -> Policy:
        """Q of the policy in its own flow."""
        _, z = self._play(policy)
        return (self._values(z, policy[0], temperature).q,)

    def returns(self, policy: Policy, flow: Tensor, temperature: Number = 0.0) -> Tensor:
        """J(k), the expected return of each position, [..., k]."""
        return (self.initial.to(**self.like) * self.values(policy, flow, temperature).v.select(-3, 0)).sum(-1)

    def gains(self, policy: Policy, temperature: Number = 0.0, flow: Tensor | None = None) -> Tensor:
        """What each position gains by its best deviation, [..., k], in the policy's own flow or in a given one."""
        own, z = self._play(policy) if flow is None else (self.flow(policy, frozen=flow), self.aggregate(flow))
        return self._gains(z, own, policy[0], temperature)

    def _gains(self, z: Tensor, own: Tensor, policy: Tensor, temperature: Number) -> Tensor:
        """Performance difference: J* - J = sum_h E_own[regret of pi_h against Q*_h], from one backward pass."""
        if fused.serves(self, policy, z, own, temperature=temperature):
            return fused.gains(self, z, own, policy, temperature)
        lam, gained, steps = (
            self._at_step(temperature),
            torch.zeros_like(own.select(-3, 0).select(-1, 0)),
            reversed(range(self.horizon)),
        )
        for h, (q, _) in zip(steps, self._backward(z, None, temperature), strict=True):
            gained = gained + (own.select(-3, h) * regret(policy.select(-4, h), q, lam)).sum(-1)
        return gained

    def exploitability(self, policy: Policy, temperature: Number = 0.0) -> Tensor:
        """Mean gain over positions: int_0^1 [max J(k) - J(k)] dk, [...]."""
        return self.mean(self.gains(policy, temperature))

    def mean(self, per_position: Tensor) -> Tensor:
        """The quadrature of a function of the position, [..., k] -> [...]."""
        return (per_position * self.grid.weights).sum(-1)

    def metrics(self, policy: Policy, temperature: Number = 0.0) -> dict[str, Tensor]:
        """Exploitability, its maximum over positions and, with a temperature, the same regularised."""
        flow, z = self._play(policy)
        gains = self._gains(z, flow, policy[0], 0.0)
        found = {"exploitability": self.mean(gains), "maximum_exploitability": gains.amax(-1)}
        if isinstance(temperature, Tensor) or temperature > 0:
            gains = self._gains(z, flow, policy[0], temperature)
            found["regularized_exploitability"] = self.mean(gains)
            found["maximum_regularized_exploitability"] = gains.amax(-1)
        return found

    # --- other conveniences -------------------------------------------------------------------------------------

    def at(self, policy: Policy, positions: Tensor, how: Literal["nearest", "linear"] = "nearest") -> Policy:
        """The policy at positions off the grid, [..., h, j, s, a]."""
        (pi,) = policy
        return (interpolate(pi.flatten(-2), self.grid, positions, how).unflatten(-1, pi.shape[-2:]),)

    def picture(self, policy: Policy, at_most: int = 400) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """What a figure needs of the first policy of a batch, at so many positions at most, and names in words."""
        pi = policy[0].flatten(0, -5)[0] if policy[0].dim() > 4 else policy[0]
        flow, gains = self.flow((pi,)), self.gains((pi,))
        if flow.dim() > 3:  # a batch of games: the first
            flow, gains = flow.flatten(0, -4)[0], gains.flatten(0, -2)[0]
        some = torch.linspace(0, len(self.grid) - 1, min(len(self.grid), at_most), device=self.device).round().long()
        parts = {
            "policy": pi.index_select(-3, some),
            "flow": flow.index_select(-2, some),
            "gains": gains.index_select(-1, some),
            "positions": self.grid.positions[some],
            "mean_flow": (flow * self.grid.weights[:, None]).sum(-2),
        }
        if isinstance(self.graphons[0], Empirical) and len(some) == len(self.graphons[0]):
            i, j = self.graphons[0].adjacency.nonzero()
            parts["edges"] = torch.tensor([(a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True) if a < b])
        words = {"states": list(self.state_names), "actions": list(self.action_names), "graph": [self.graph or ""]}
        return parts, words

    def validate(self) -> None:
        """Refuse an initial law, rewards or transitions that are not what they should be, before any iteration."""
        law = self.initial.to(**self.like)
        require_rows(law, "initial")
        (pi,) = self.start()
        mass = self._first_mass(pi)
        given = type(self).transition is not GraphonGame.transition
        for h in range(self.horizon if len(self.grid) <= 1000 else 1):
            z = self.aggregate_at(h, mass)
            reward = self.reward(h, z)
            if not bool(reward.isfinite().all()):
                index = (~reward.isfinite()).nonzero()[0].tolist()
                raise refuse(f"reward(h={h}){index}", float(reward[tuple(index)]), "finite rewards")
            if given:
                P = self.transition(h, z)
                if P.dim() < 3 or P.shape[-3:] != (law.shape[-1], pi.shape[-1], law.shape[-1]):
                    raise refuse(
                        f"transition(h={h})",
                        f"shape {tuple(P.shape)}",
                        f"[..., s, a, t] = [..., {law.shape[-1]}, {pi.shape[-1]}, {law.shape[-1]}]",
                    )
                require_rows(P, f"transition(h={h})")
            else:
                total = self.expect(h, torch.ones_like(mass), z)
                if bool(((total - 1).abs() > 1e-6).any()):
                    raise refuse(f"expect(h={h})", "rows of P that do not sum to one", "expect(h, 1, z) = 1")
            mass = self.push(h, mass, pi.select(-4, h), z)
            require_rows(mass, f"push(h={h})")
