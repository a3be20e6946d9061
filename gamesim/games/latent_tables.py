"""Latent worlds by their tables: filters, experts, regrets and distances between latents, all exact.

    transition[z, s, g, t]   P_z(t | s, g)          emission[z, s, o]   gamma(o | s)
    initial[z, s]            P_z(s_0)               reward[w, o] or [w, h, o]

Each latent keeps its own filter b_z(s) = P_z(s_h | heard in the episode),

    b_z'(t) ~ gamma(o | t) sum_s b_z(s) P_z(t | s, g),    and the sum of this over t is the likelihood of the report.

Where a report and what went before tell each latent the state (`revealed`), b_z is a single state, and the expert of z
solves a Markov decision process on states; else one on the beliefs that can be reached, which are listed. With
l(m, g, o) the likelihood of a report at a state or belief m, and m' what it leads to,

    Q_h(m, g) = sum_o l(m, g, o) [ r_h(o, omega) + max_g' Q_{h+1}(m', g') ]
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import require_rows
from gamesim.games.latent import Belief, LatentWorld, drawn

BELIEFS = 100_000
"""Beliefs of a latent that are listed at most, over all decisions of an episode."""
HISTORIES = 3_000_000
"""Numbers in a list of everything that may be heard in an episode, at most."""
TIE = 1e-9
"""Values that differ by less are the same."""


@dataclass(frozen=True)
class Nodes:
    """What an expert may know at a decision h, for every latent: states, or beliefs; padded to the most of a latent."""

    values: Tensor
    """Q*_h[z, w, m, g]."""
    after: Tensor | None
    """Where a subgoal and a report lead to, [z, m, g, o]; None at the last decision."""

    @cached_property
    def best(self) -> Tensor:
        """The expert's subgoal, the first of ties, [z, w, m]."""
        return (self.values >= self.values.amax(-1, keepdim=True) - TIE).to(torch.uint8).argmax(-1)

    @cached_property
    def gaps(self) -> Tensor:
        """V* - Q*, [z, w, m, g]; ties are none."""
        gaps = self.values.amax(-1, keepdim=True) - self.values
        return torch.where(gaps <= TIE, 0.0, gaps)


class TabularWorld(LatentWorld):
    """A latent world of one actor by its tables: properties of a subclass, float64, rows that sum to one."""

    @property
    @abstractmethod
    def transition(self) -> Tensor:
        """P[z, s, g, t]."""

    @property
    @abstractmethod
    def emission(self) -> Tensor:
        """gamma[z, s, o], the Reporter."""

    @property
    @abstractmethod
    def initial(self) -> Tensor:
        """P_z(s_0), [z, s]."""

    @property
    @abstractmethod
    def reward(self) -> Tensor:
        """r[w, o], or r[w, h, o] where decisions differ."""

    def validate(self) -> None:
        """Refuse tables that do not fit together, naming the first bad place."""
        z, s, g, _ = self.transition.shape
        o, w = len(self.observations), len(self.task_law)
        rewarded = (w, self.horizon, o) if self.reward.dim() == 3 else (w, o)
        for name, x, shape in (
            ("transition", self.transition, (z, s, g, s)),
            ("emission", self.emission, (z, s, o)),
            ("initial", self.initial, (z, s)),
            ("prior", self.prior, (z,)),
        ):
            if tuple(x.shape) != shape:
                raise refuse(name, f"shape {list(x.shape)}", f"{list(shape)}")
            require_rows(x, name)
        if tuple(self.reward.shape) != rewarded:
            raise refuse("reward", f"shape {list(self.reward.shape)}", f"{list(rewarded)}, a number for each report")
        if not bool(((self.reward >= 0) & (self.reward <= 1)).all()):
            raise refuse("reward", f"{float(self.reward.min()):.4g} to {float(self.reward.max()):.4g}", "0 to 1")
        for name, names, count in (("latents", self.latents, z), ("subgoals", self.subgoals, g)):
            if len(names) != count or len(set(names)) != count:
                raise refuse(name, f"{len(names)} names, {len(set(names))} different", f"{count} different ones")

    # --- nature -------------------------------------------------------------------------------------------------------

    def open(self, latent: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        state = drawn(self.initial[latent], u[..., 0])
        return state, drawn(self.emission[latent, state], u[..., 1])

    def move(self, h: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        state = drawn(self.transition[latent, state, subgoal[..., 0]], u[..., 0])
        return state, drawn(self.emission[latent, state], u[..., 1])

    @cached_property
    def _rewards(self) -> Tensor:
        """r[w, h, o]."""
        reward = self.reward.to(**self.like)
        return reward if reward.dim() == 3 else reward[:, None].expand(-1, self.horizon, -1)

    def rewards(self, h: int, task: Tensor, observation: Tensor) -> Tensor:
        return self._rewards[task, h, observation]

    # --- filters ------------------------------------------------------------------------------------------------------

    @cached_property
    def revealed(self) -> bool:
        """Whether what is heard tells each latent its state: no two states go with the same report."""
        return self._unique(self.initial[:, None, None, :]) and self._unique(self.transition)

    def _unique(self, law: Tensor) -> bool:
        """Of law[z, s, g, t]: at most one t goes with each report."""
        possible = (self.emission > 0).to(**self.like)
        return bool((torch.einsum("zsgt,zto->zsgo", (law > 0).to(**self.like), possible) <= 1).all())

    @cached_property
    def _likelihood(self) -> Tensor:
        """P_z(o | s, g), [z, s, g, o]."""
        return torch.einsum("zsgt,zto->zsgo", self.transition, self.emission)

    @cached_property
    def _leads(self) -> Tensor:
        """The state that a report reveals, [z, s, g, o]."""
        return self._revealed_state(self.transition)

    @cached_property
    def _begins(self) -> Tensor:
        """The state that the first report reveals, [z, o]."""
        return self._revealed_state(self.initial[:, None, None, :])[:, 0, 0]

    def _revealed_state(self, law: Tensor) -> Tensor:
        place = torch.arange(law.shape[-1], **self.like)
        possible = (self.emission > 0).to(**self.like) * place[:, None]
        return torch.einsum("zsgt,zto->zsgo", (law > 0).to(**self.like), possible).long()

    def _outside(self, front: tuple[int, ...]) -> tuple[Tensor, ...]:
        node = torch.zeros(*front, len(self.prior), dtype=torch.long, device=self.prior.device)
        return (node,) if self.revealed else (node, self.initial.expand(*front, *self.initial.shape))

    def meet(self, belief: Belief, observation: Tensor) -> Belief:
        if self.revealed:
            likelihood = torch.einsum("zs,zso->zo", self.initial, self.emission).log().T[observation]
            return belief.weighed(likelihood, (self._begins.T[observation],))
        joint = self.initial * self.emission.permute(2, 0, 1)[observation]
        node = self._listed.roots.T[observation]
        return belief.weighed(joint.sum(-1).log(), (node, _normalised(joint, self.initial)))

    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        g, o = subgoal[..., 0], observation
        z = torch.arange(len(self.prior))
        node = belief.inside[0]
        if self.revealed:
            at = (z, node, g.unsqueeze(-1), o.unsqueeze(-1))
            return belief.weighed(self._log_likelihood[at], (self._leads[at],))
        moved = torch.einsum("...zs,...zst->...zt", belief.inside[1], self._by_subgoal[g])
        joint = moved * self._by_report[o]
        after = self._listed.nodes[h].after
        node = node if after is None else after[z, node, g.unsqueeze(-1), o.unsqueeze(-1)]
        return belief.weighed(joint.sum(-1).log(), (node, _normalised(joint, moved)))

    @cached_property
    def _log_likelihood(self) -> Tensor:
        return self._likelihood.log()

    @cached_property
    def _by_subgoal(self) -> Tensor:
        """P[g, z, s, t]."""
        return self.transition.permute(2, 0, 1, 3).contiguous()

    @cached_property
    def _by_report(self) -> Tensor:
        """gamma[o, z, t]."""
        return self.emission.permute(2, 0, 1).contiguous()

    # --- experts ------------------------------------------------------------------------------------------------------

    @cached_property
    def nodes(self) -> "tuple[Nodes, ...]":
        """What experts may know at each decision, and what it is worth."""
        return self._of_states() if self.revealed else self._listed.nodes

    def _of_states(self) -> tuple[Nodes, ...]:
        z, w = len(self.prior), len(self.task_law)
        values = torch.zeros(z, w, self.transition.shape[1], **self.like)
        place = torch.arange(z)[:, None, None, None]
        found = list[Nodes]()
        for h in reversed(range(self.horizon)):
            after = values.movedim(1, -1)[place, self._leads].movedim(-1, 1)  # [z, w, s, g, o]
            q = ((self._rewards[None, :, h, None, None, :] + after) * self._likelihood[:, None]).sum(-1)
            found.append(Nodes(q, self._leads if h < self.horizon - 1 else None))
            values = q.amax(-1)
        return tuple(reversed(found))

    @cached_property
    def _listed(self) -> "Listed":
        parts = [
            list_beliefs(self.transition[z], self.emission[z], self.initial[z], self._rewards)
            for z in range(len(self.prior))
        ]
        nodes = list[Nodes]()
        for layer in zip(*(part.nodes for part in parts), strict=True):
            most = max(node.values.shape[-2] for node in layer)
            values = torch.stack([_padded(node.values, -2, most) for node in layer])
            afters = [node.after for node in layer]
            after = None if afters[0] is None else torch.stack([_padded(x, 0, most) for x in afters if x is not None])
            nodes.append(Nodes(values, after))
        return Listed(torch.stack([part.roots for part in parts]), tuple(nodes))

    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        z = torch.arange(len(self.prior))
        return self.nodes[h].best[z, task.unsqueeze(-1), belief.inside[0]].unsqueeze(-1)

    def losses(self, h: int, task: Tensor, latent: Tensor, belief: Belief, subgoal: Tensor) -> Tensor:
        node = belief.inside[0].gather(-1, latent.unsqueeze(-1))[..., 0]
        return self.nodes[h].gaps[latent, task, node, subgoal[..., 0]]

    @cached_property
    def value(self) -> Tensor:
        best = self.nodes[0].values.amax(-1)  # [z, w, m]
        roots = self._begins if self.revealed else self._listed.roots
        first = torch.einsum("zs,zso->zo", self.initial, self.emission)
        met = best.gather(-1, roots[:, None, :].expand(-1, best.shape[1], -1))  # [z, w, o]
        return torch.einsum("zwo,zo,w->z", met, first, self.task_law.to(**self.like))

    # --- distances between latents ------------------------------------------------------------------------------------

    def _exploration(self, h: int) -> Tensor:
        """pi_exp(g | o), [o, g]."""
        reports = torch.arange(len(self.observations))
        law = self.explore(h, reports)[..., 0, :]
        return law.expand(len(reports), law.shape[-1])

    def distinguishability(self) -> float:
        count = len(self.prior)
        if count < 2:
            return 1.0
        affinity = self._affinity_of_states() if self.revealed else self._affinity_of_histories()
        apart = 1 - affinity
        apart.fill_diagonal_(math.inf)
        return max(0.0, float(apart.min()))

    def _affinity_of_states(self) -> Tensor:
        """sum sqrt(P_z P_z') over what may be heard in an episode, [z, z'], by recursion on pairs of states.

        v_h(s, s', o) = sum_g pi_exp(g | o) sum_o' sqrt(l_z(s, g, o') l_z'(s', g, o')) v_{h+1}(.) at where o' leads to.
        """
        root, leads, count = self._likelihood.sqrt(), self._leads, len(self.prior)
        rows = list[Tensor]()
        for z in range(count):  # a latent against all at once, so that tables stay small
            v = torch.ones(count, *[self.transition.shape[1]] * 2, len(self.observations), **self.like)
            other = torch.arange(count)[:, None, None, None, None]
            reports = torch.arange(len(self.observations))
            for h in reversed(range(self.horizon)):
                both = root[z][None, :, None] * root[:, None]  # [z', s, s', g, o']
                after = v[other, leads[z][None, :, None], leads[:, None], reports]
                v = torch.einsum("og,zstg->zsto", self._exploration(h), (both * after).sum(-1))
            first = torch.einsum("zs,zso->zo", self.initial, self.emission).sqrt()
            met = v[torch.arange(count)[:, None], self._begins[z], self._begins, reports]
            rows.append((first[z] * first * met).sum(-1))
        return torch.stack(rows)

    def _affinity_of_histories(self) -> Tensor:
        """The same by a list of everything that may be heard."""
        law = self.initial[None] * self.emission.permute(2, 0, 1)  # [what was heard, z, s]
        last, chance = torch.arange(len(self.observations)), torch.ones(len(law), **self.like)
        for h in range(self.horizon):
            pi = self._exploration(h)
            subgoals = (pi > 0).any(0).nonzero()[:, 0]
            size = len(law) * len(subgoals) * len(self.observations) * law[0].numel()
            if size > HISTORIES * 100:
                raise refuse(
                    "world", f"{size:,} numbers to list what may be heard", f"at most {HISTORIES * 100:,} for its eta"
                )
            moved = torch.einsum("mzs,gzst->mgzt", law, self._by_subgoal[subgoals])
            law = (moved[:, :, None] * self._by_report[None, None]).flatten(0, 2)
            chance = (chance[:, None, None] * pi[last][:, subgoals, None]).expand(-1, -1, len(self.observations))
            chance = chance.flatten()
            last = torch.arange(len(self.observations)).repeat(len(law) // len(self.observations))
            alive = (chance > 0) & (law.flatten(1) > 0).any(-1)
            law, chance, last = law[alive], chance[alive], last[alive]
        root = law.sum(-1).sqrt()
        return torch.einsum("m,mz,my->zy", chance, root, root)


@dataclass(frozen=True)
class Listed:
    """Beliefs that can be reached: where first reports lead, [o] or [z, o], and the decisions."""

    roots: Tensor
    nodes: tuple[Nodes, ...]


def list_beliefs(transition: Tensor, emission: Tensor, initial: Tensor, reward: Tensor) -> Listed:
    """The beliefs of one latent: transition[s, g, t], emission[s, o], initial[s], reward[w, h, o]."""
    horizon = reward.shape[1]
    layer, roots = _different((initial * emission.T), initial)
    layers, afters, likelihoods = [layer], list[Tensor](), list[Tensor]()
    total = len(layer)
    for _ in range(horizon - 1):
        moved = torch.einsum("ms,sgt->mgt", layer, transition)
        joint = moved[:, :, None, :] * emission.T
        layer, after = _different(joint, initial)
        total += len(layer)
        if total > BELIEFS:
            wanted = f"at most {BELIEFS:,} that can be reached: fewer reports, or a shorter horizon"
            raise refuse("world", f"more than {total:,} beliefs of an expert", wanted)
        layers.append(layer)
        afters.append(after)
        likelihoods.append(joint.sum(-1))
    values: Any = None
    nodes = list[Nodes]()
    paid = torch.einsum("sgt,to,who->whsg", transition, emission, reward)
    for h in reversed(range(horizon)):
        q = torch.einsum("ms,wsg->wmg", layers[h], paid[:, h])
        if values is not None:
            q = q + (likelihoods[h] * values[:, afters[h]]).sum(-1)
        nodes.append(Nodes(q, afters[h] if h < horizon - 1 else None))
        values = q.amax(-1)
    return Listed(roots, tuple(reversed(nodes)))


def _different(joint: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor]:
    """The different beliefs [m, s] among unnormalised joint[..., s], and the number of each, [...]."""
    rows = _normalised(joint, otherwise).flatten(0, -2)
    impossible = joint.sum(-1).flatten() <= 0
    _, number = torch.unique((rows * 1e10).round(), dim=0, return_inverse=True)
    number[impossible] = number[~impossible][0] if bool((~impossible).any()) else 0
    kept, number = torch.unique(number, return_inverse=True)
    first = torch.full((len(kept),), len(number)).scatter_reduce(0, number, torch.arange(len(number)), "amin")
    return rows[first], number.reshape(joint.shape[:-1])


def _normalised(joint: Tensor, otherwise: Tensor) -> Tensor:
    """joint[..., s] with rows that sum to one; where nothing is left, what else there is."""
    total = joint.sum(-1, keepdim=True)
    found = joint / total
    return torch.where(total > 0, found, otherwise / otherwise.sum(-1, keepdim=True))


def _padded(x: Tensor, dim: int, most: int) -> Tensor:
    """With zeros up to so many along a dimension."""
    short = most - x.shape[dim]
    if not short:
        return x
    shape = list(x.shape)
    shape[dim] = short
    return torch.cat([x, x.new_zeros(shape)], dim)
