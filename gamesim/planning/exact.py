"""Planners that hold the posterior of the latent: what a perfectly pretrained language model would do, and kin.

    bail                  g ~ sum_z P(z | heard) pi*_z(g): per-step matching of experts, what such a model is
    posterior-sampling    z ~ P(z | heard) when an episode begins, and its expert for the whole episode
    map                   the expert of the likeliest z

Two switches make the posterior go wrong as that of real models does. `window`: only so many episodes before the current
one are in the prompt. `delusion`: a model that was trained on demonstrations alone reads its own subgoals as those of
an expert, and weighs z by prod pi*_z(g_h) as well (to this power), though it said them itself.

He et al., ICML 2024, arXiv 2405.19883; posterior sampling: Osband, Russo and Van Roy, NeurIPS 2013; self-delusion:
Ortega et al., "Shaking the foundations: delusions in sequence models for interaction and control", 2021.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.games.latent import Belief, LatentWorld, shared
from gamesim.parameters import Count, NonNegative, check
from gamesim.planning.planner import Planner, mixture
from gamesim.randomness import Stream
from gamesim.simplex import drawn

SLIP, TIE = 1e-9, 1e-9
"""The chance of an expert's slip, for who takes its own words for an expert's; logarithms that are alike."""


@dataclass(frozen=True)
class Held:
    """What is believed, and what is in the window."""

    belief: Belief
    task: Tensor
    """Of the current episode, [...]."""
    followed: tuple[Tensor, ...] = ()
    """The latent whose expert is followed in this episode, [...], by who follows one."""
    episodes: tuple[Tensor, ...] = ()
    """With a window of W: log likelihoods of the last W episodes and the current one, [..., episode, z]."""


@dataclass(frozen=True)
class _Posterior(Planner):
    window: Count | None = None
    """Episodes before the current one that are still in the prompt; all unless given."""
    delusion: NonNegative = 0.0
    """To what power own subgoals count as evidence, as if an expert had said them: 0 is right, 1 is what
    demonstrations alone teach."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def deluded(self) -> bool:
        return isinstance(self.delusion, Tensor) or self.delusion > 0

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.window is None and not self.deluded

    def cautions(self, world: LatentWorld) -> list[str]:
        found = list[str]()
        if self.window is not None:
            found.append(
                f"planner.window: what is older than {self.window} episodes is forgotten: regret may be linear"
            )
        if self.deluded:
            found.append("planner.delusion: own subgoals count as evidence: exploration cannot repair that")
        return found

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Held:
        belief = world.believe(front)
        task = torch.zeros(front, dtype=torch.long, device=belief.log.device)
        if self.window is None:
            return Held(belief, task)
        log = torch.zeros(*front, self.window + 1, len(world.prior), **world.like)
        return Held(belief, task, episodes=(log,))

    def meet(self, world: LatentWorld, memory: Held, task: Tensor, observation: Tensor, generator: Stream) -> Held:
        if not memory.episodes:
            return replace(memory, belief=world.meet(memory.belief, observation), task=task)
        (log,) = memory.episodes
        unseen = torch.zeros_like(log[..., :1, :])
        memory = replace(memory, task=task, episodes=(torch.cat([log[..., 1:, :], unseen], -2),))
        return self._recalled(world, memory, world.meet(self._current(memory), observation))

    def hear(self, world: LatentWorld, h: int, memory: Held, subgoal: Tensor, observation: Tensor) -> Held:
        belief = self._current(memory) if memory.episodes else memory.belief
        if self.deluded:
            said = (world.experts(h, memory.task, belief) == subgoal.unsqueeze(-2)).all(-1)
            slip = torch.where(said, 0.0, belief.log.new_tensor(math.log(SLIP)))
            belief = belief.weighed(self.delusion * slip, belief.inside)
        belief = world.update(h, belief, subgoal, observation)
        return self._recalled(world, memory, belief) if memory.episodes else replace(memory, belief=belief)

    def _current(self, memory: Held) -> Belief:
        """What the current episode alone says of the latent."""
        return Belief(memory.episodes[0][..., -1, :], memory.belief.inside)

    def _recalled(self, world: LatentWorld, memory: Held, current: Belief) -> Held:
        """The posterior from the prior and the episodes of the window, the last of which is the current one."""
        log = torch.cat([memory.episodes[0][..., :-1, :], current.log.unsqueeze(-2)], -2)
        prior = Belief(world.prior.log().expand(current.log.shape))
        return replace(memory, belief=prior.weighed(log.sum(-2), current.inside), episodes=(log,))

    def belief(self, memory: Held) -> Belief:
        return memory.belief


@dataclass(frozen=True)
class Bail(_Posterior):
    """The Bayes mixture of experts, drawn from anew at each decision: a perfectly pretrained language model."""

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Held) -> Tensor:
        return mixture(world, h, task, memory.belief)


@dataclass(frozen=True)
class PosteriorSampling(_Posterior):
    """One latent is drawn from the posterior for each episode, and its expert followed to the end."""

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Held:
        memory = super().begin(world, front)
        return replace(memory, followed=(memory.task,))

    def meet(self, world: LatentWorld, memory: Held, task: Tensor, observation: Tensor, generator: Stream) -> Held:
        memory = super().meet(world, memory, task, observation, generator)
        posterior = memory.belief.posterior
        return replace(memory, followed=(drawn(posterior, shared(generator, posterior.shape[:-1], 1)[..., 0]),))

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Held) -> Tensor:
        return followed(world, h, task, memory.belief, memory.followed[0])


@dataclass(frozen=True)
class MAP(_Posterior, kind="map"):
    """The expert of the likeliest latent, the first of ties."""

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Held) -> Tensor:
        log = memory.belief.log
        likeliest = (log >= log.amax(-1, keepdim=True) - TIE).to(torch.uint8).argmax(-1)
        return followed(world, h, task, memory.belief, likeliest)


def followed(world: LatentWorld, h: int, task: Tensor, belief: Belief, latent: Tensor) -> Tensor:
    """What the expert of one latent [...] says, as a law [..., k, g]."""
    experts = world.experts(h, task, belief)
    place = latent[..., None, None].expand(*experts.shape[:-2], 1, experts.shape[-1])
    return one_hot(experts.gather(-2, place)[..., 0, :], len(world.subgoals)).to(belief.log)
