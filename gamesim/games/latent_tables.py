"""Latent worlds by their tables: filters, experts, regrets and distances between latents, all exact.

    transition[z, s, g, t]   P_z(t | s, g)          emission[z, s, o]   gamma(o | s)
    initial[z, s]            P_z(s_0)               reward[w, o] or [w, h, o]

Each latent keeps its own filter b_z(s) = P_z(s_h | heard in the episode),

    b_z'(t) ~ gamma(o | t) sum_s b_z(s) P_z(t | s, g),    and the sum of this over t is the likelihood of the report.

Where a report and what went before tell each latent the state (`revealed`), b_z is a single state, and the expert of z
solves a Markov decision process on states; else one on the beliefs that can be reached, which are listed
(gamesim.games.latent_nodes). With l(m, g, o) the likelihood of a report at a state or belief m, and m' what it leads
to,

    Q_h(m, g) = sum_o l(m, g, o) [ r_h(o, omega) + max_g' Q_{h+1}(m', g') ]
"""

import math
from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Belief, LatentWorld, require_law
from gamesim.games.latent_nodes import Listed, Nodes, list_beliefs, normalised, stacked
from gamesim.simplex import drawn

ROUNDING = 1e-12
"""A squared Hellinger distance of no more than that is one of 0."""
PAIRS = 3_000_000_000
"""Numbers that are looked at to compare all latents, at most."""
HISTORIES = 3_000_000
"""Numbers in a list of everything that may be heard in an episode, at most."""


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
        super().validate()
        if self.actors != 1:
            raise refuse("actors", self.actors, "1: worlds of tables have one actor")
        require_law(self.transition, "transition", 4)
        z, s, g, _ = self.transition.shape
        o, w, dtype = len(self.observations), len(self.task_law), self.like["dtype"]
        for name, x, shape in (
            ("transition", self.transition, (z, s, g, s)),
            ("emission", self.emission, (z, s, o)),
            ("initial", self.initial, (z, s)),
            ("prior", self.prior, (z,)),
        ):
            if isinstance(x, Tensor) and tuple(x.shape) != shape:
                raise refuse(name, f"shape {list(x.shape)}", f"{list(shape)}")
            require_law(x, name, len(shape))
            if x.dtype != dtype:
                raise refuse(name, f"dtype {x.dtype}", f"{dtype}, as all tables of a world")
        if not isinstance(self.reward, Tensor):
            raise refuse("reward", type(self.reward).__name__, "a tensor")
        rewarded = (w, self.horizon, o) if self.reward.dim() == 3 else (w, o)
        if tuple(self.reward.shape) != rewarded:
            raise refuse("reward", f"shape {list(self.reward.shape)}", f"{list(rewarded)}, a number for each report")
        if not bool(((self.reward >= 0) & (self.reward <= 1)).all()):
            raise refuse("reward", f"{float(self.reward.min()):.4g} to {float(self.reward.max()):.4g}", "0 to 1")
        for name, names, count in (
            ("latents", self.latents, z),
            ("subgoals", self.subgoals, g),
            ("observations", self.observations, o),
            ("tasks", self.tasks, w),
        ):
            if not isinstance(names, tuple) or not all(isinstance(each, str) for each in names):
                raise refuse(name, names, "a tuple of texts")
            if len(names) != count or len(set(names)) != count:
                raise refuse(name, f"{len(names)} names, {len(set(names))} different", f"{count} different ones")
        reports = torch.arange(o)
        for h in range(self.horizon):
            law = self.explore(h, reports)
            if not isinstance(law, Tensor) or law.shape[-2:] != (1, g) or law.shape[:-2] not in ((), (o,)):
                shown = f"shape {list(law.shape)}" if isinstance(law, Tensor) else type(law).__name__
                raise refuse(f"explore({h}, reports)", shown, f"[1, {g}], or [{o}, 1, {g}]")
            require_law(law, f"explore({h}, reports)", law.dim())

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
        return belief.weighed(joint.sum(-1).log(), (node, normalised(joint, self.initial)))

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
        return belief.weighed(joint.sum(-1).log(), (node, normalised(joint, moved)))

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
    def nodes(self) -> tuple[Nodes, ...]:
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
    def _listed(self) -> Listed:
        return stacked(
            list_beliefs(self.transition[z], self.emission[z], self.initial[z], self._rewards)
            for z in range(len(self.prior))
        )

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
        least = float(apart.min())
        return least if least > ROUNDING else 0.0

    def _affinity_of_states(self) -> Tensor:
        """sum sqrt(P_z P_z') over what may be heard in an episode, [z, z'], by recursion on pairs of states.

        v_h(s, s', o) = sum_g pi_exp(g | o) sum_o' sqrt(l_z(s, g, o') l_z'(s', g, o')) v_{h+1}(.) at where o' leads to.
        """
        count, s, g, _ = self.transition.shape
        at_once = count * s * s * g * len(self.observations)
        if max(at_once * count * self.horizon, at_once * 30) > PAIRS:
            shown = f"{count} latents, {at_once:,} numbers to compare one of them with all"
            raise refuse("world", shown, "less, for its eta: fewer latents, states or reports, or a shorter horizon")
        root, leads = self._likelihood.sqrt(), self._leads
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
