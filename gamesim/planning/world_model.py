"""A language model as a world model: it predicts what will be reported, and the planner plans with its predictions.

    P(o_1 ... o_H | g_0 ... g_{H-1}, heard) = sum_z P(z | heard) prod_h P_z(o_{h+1} | o_0, g_0, ..., g_h)
    g_h = argmax of the expected rewards of the rest of the episode under it, by backward induction on the tree of all
          that may be said and reported

What an episode will tell of z is thus used within it, what it will tell for later episodes is not: the plan is optimal
for one episode. In tables of the tree, with w_z = P(z | heard before the episode), m a node, l_z(m) the likelihood of
the reports on the way there,

    Q_h(m, g) = sum_z w_z l_z(m) E_z[r_{h+1} | m, g] + sum_o max_g' Q_{h+1}(m g o, g'),

in which everything but w is computed once for a world. The plan is deterministic, so that, unlike with the mixture of
experts, regret may be linear without exploration for two latents.

He, Chen, Zhang and Yang, "From words to actions", ICML 2024, arXiv 2405.19883, section on world models.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.errors import refuse
from gamesim.games.latent import Belief, LatentWorld
from gamesim.games.latent_tables import TabularWorld
from gamesim.planning.planner import Planner
from gamesim.randomness import Stream

NUMBERS = 3_000_000
"""Numbers in the tables of a tree, at most."""
TIE = 1e-9
"""Plans that differ by less are the same; the first is taken."""


@dataclass(frozen=True)
class Tree:
    """All that may be said and heard in an episode of a world, o_0 first; children of a node stand side by side.

    An edge is a subgoal and a report that it may lead to, in any latent, ordered by subgoals. Node m of decision h has
    the children m E + e.
    """

    first: Tensor
    """The root of each first report, [o]; 0 for those that never come."""
    edge: Tensor
    """The edge of a subgoal and a report, [g, o]; 0 for those that never come."""
    subgoal: Tensor
    """The subgoal of each edge, [e]."""
    pays: tuple[Tensor, ...]
    """l_z(m) E_z[r_{h+1} | m, g], [w, m, z, g] of each decision; without tables less V*_z, which is no matter."""

    @classmethod
    def of(cls, world: LatentWorld) -> "Tree":
        """Refuses a world whose tree is too large, with its size, and one that has no tree."""
        if isinstance(world, TabularWorld):
            return cls.of_tables(getattr(world, "imagined", None) or world)  # with parts that were learned: by those
        belief = world.believe()
        if world.horizon != 1 or world.actors != 1 or belief.inside:
            wanted = "a world of tables, or of one actor and one decision"
            raise refuse(
                "world", f"{type(world).__name__} of {world.actors} actors and {world.horizon} decisions", wanted
            )
        latents, subgoals, tasks = len(world.prior), len(world.subgoals), len(world.task_law)
        _require(1, tasks * latents * subgoals)
        task, latent, subgoal = (torch.arange(n) for n in (tasks, latents, subgoals))
        losses = world.losses(0, task[:, None, None], latent[:, None], belief, subgoal[:, None])
        nowhere = torch.zeros(subgoals, len(world.observations), dtype=torch.long)
        return cls(nowhere[0], nowhere, subgoal, (-losses.expand(tasks, latents, subgoals).unsqueeze(1),))

    @classmethod
    def of_tables(cls, world: TabularWorld) -> "Tree":
        """By products of tables along the tree."""
        likelihood = torch.einsum("zsgt,zto->go", world.transition, world.emission)
        begins = torch.einsum("zs,zso->o", world.initial, world.emission) > 0
        subgoal, report = (likelihood > 0).nonzero(as_tuple=True)
        edge = torch.zeros_like(likelihood, dtype=torch.long)
        edge[subgoal, report] = torch.arange(len(subgoal))
        roots = begins.nonzero()[:, 0]
        first = torch.zeros(len(begins), dtype=torch.long)
        first[roots] = torch.arange(len(roots))
        latents, states, subgoals, _ = world.transition.shape
        nodes = [len(roots) * len(subgoal) ** h for h in range(world.horizon)]
        _require(sum(nodes), nodes[-1] * latents * max(len(world.task_law) * subgoals, states))
        reward = world.reward if world.reward.dim() == 3 else world.reward[:, None].expand(-1, world.horizon, -1)
        joint = world.initial * world.emission[:, :, roots].permute(2, 0, 1)  # l_z(m) P_z(s | m), [m, z, s]
        pays = list[Tensor]()
        for h in range(world.horizon):
            paid = torch.einsum("zsgt,zto,wo->zwsg", world.transition, world.emission, reward[:, h])
            pays.append(torch.einsum("mzs,zwsg->wmzg", joint, paid))
            if h < world.horizon - 1:
                after = [
                    torch.einsum("mzs,zst->mzt", joint, world.transition[:, :, g]) * world.emission[:, :, o]
                    for g, o in zip(subgoal.tolist(), report.tolist(), strict=True)
                ]
                joint = torch.stack(after, 1).flatten(0, 1)
        return cls(first, edge, subgoal, tuple(pays))

    def values(self, h: int, task: Tensor, node: Tensor, weights: Tensor) -> Tensor:
        """Q_h[..., g] at node[...], times the likelihood of what led there, for weights[..., z] and task[...]."""
        edges, subgoals = len(self.subgoal), self.pays[h].shape[-1]
        total: Tensor | None = None
        for later in reversed(range(h, len(self.pays))):
            below = edges ** (later - h)
            table = self.pays[later].unflatten(1, (-1, below))
            table = table[0, 0] if table.shape[:2] == (1, 1) else table[task, node]  # [..., m, z, g]
            q = torch.einsum("...mzg,...z->...mg", table, weights)
            if total is not None:
                best = total.amax(-1).unflatten(-1, (below, edges))
                q = q + torch.zeros_like(q).index_add_(-1, self.subgoal, best)
            total = q
        assert total is not None
        return total.reshape(*total.shape[:-2], subgoals)

    def follow(self, node: Tensor, subgoal: Tensor, observation: Tensor) -> Tensor:
        """The node after a subgoal and a report."""
        return node * len(self.subgoal) + self.edge[subgoal, observation]


@dataclass(frozen=True)
class Foreseeing:
    """What is believed, and where in the tree the episode is."""

    now: Belief
    before: Tensor
    """P(z | heard before the episode), [..., z]."""
    node: Tensor
    """[...]."""


@dataclass(frozen=True)
class WorldModel(Planner):
    """The best plan for the episode under the mixture of worlds, renewed at each decision; it explores for nothing."""

    exact = True

    def require(self, world: LatentWorld) -> None:
        tree_of(world)

    def cautions(self, world: LatentWorld) -> list[str]:
        return ["planner: world-model plans for the episode alone; without exploration its regret may be linear"]

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Foreseeing:
        belief = world.believe(front)
        return Foreseeing(belief, belief.posterior, torch.zeros(front, dtype=torch.long))

    def meet(
        self, world: LatentWorld, memory: Foreseeing, task: Tensor, observation: Tensor, generator: Stream
    ) -> Foreseeing:
        now = world.meet(memory.now, observation)
        weights = memory.now if isinstance(world, TabularWorld) else now  # a tree of tables weighs first reports itself
        return Foreseeing(now, weights.posterior, tree_of(world).first[observation])

    def values(self, world: LatentWorld, h: int, task: Tensor, memory: Foreseeing) -> Tensor:
        """What each subgoal is expected to bring in the rest of the episode, [..., g]: Q_h, as in the tree."""
        return tree_of(world).values(h, task, memory.node, memory.before)

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Foreseeing) -> Tensor:
        values = self.values(world, h, task, memory)
        top = values.amax(-1, keepdim=True)
        best = (values >= top - TIE * top.abs()).to(torch.uint8).argmax(-1, keepdim=True)
        return one_hot(best, values.shape[-1]).to(values)

    def hear(self, world: LatentWorld, h: int, memory: Foreseeing, subgoal: Tensor, observation: Tensor) -> Foreseeing:
        last = h == world.horizon - 1
        node = memory.node if last else tree_of(world).follow(memory.node, subgoal[..., 0], observation)
        return Foreseeing(world.update(h, memory.now, subgoal, observation), memory.before, node)

    def belief(self, memory: Foreseeing) -> Belief:
        return memory.now


def _require(nodes: int, numbers: int) -> None:
    if numbers > NUMBERS:
        wanted = f"at most {NUMBERS:,} for planning in it: a shorter horizon, fewer reports, subgoals or latents"
        raise refuse("world", f"a tree of {_many(nodes)} nodes at decisions, {_many(numbers)} numbers", wanted)


def _many(count: int) -> str:
    """A count in digits, or about how many there are."""
    return f"{count:,}" if count < 10**15 else f"10^{math.log10(2) * count.bit_length():.0f}"


def tree_of(world: LatentWorld) -> Tree:
    """The tree of a world, kept for the last few worlds."""
    try:
        return _kept(world)
    except TypeError:  # a world of tensors has no hash
        return Tree.of(world)


@lru_cache(maxsize=8)
def _kept(world: LatentWorld) -> Tree:
    return Tree.of(world)
