"""BAIL with exploration: follow a language-model planner, and explore in whole episodes now and then.

Algorithm 1 of He, Chen, Zhang and Yang, "From words to actions: unveiling the theoretical underpinnings of LLM-driven
autonomous systems", ICML 2024, arXiv 2405.19883. In each episode t = 1, 2, ...

    omega^t is told;  I_t ~ Bernoulli(eps)
    for each decision h:   o_h is reported;   g_LLM ~ LLM(. | prompt);   g_h = pi_exp(.) if I_t = 1, else g_LLM
    the episode is added to the prompt, whoever chose

With eps of `theory` the regret is O~(H^{3/2} sqrt((T / eta) log(c_Z |Z| sqrt T))); without exploration it may be linear
where |Z| grows with T, or where decoding, training or a short prompt takes the truth out of what is said.

`regret` adds up V*_z - Q*_z of what was done, of the true latent: its mean is the regret, without the noise of returns.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.games.latent import Belief, LatentWorld, shared
from gamesim.games.luck import Ahead
from gamesim.parameters import Probability, Temperature, check
from gamesim.planning import Bail, Exploration, NoExploration, Planner, mixture
from gamesim.planning.wrappers import decoded
from gamesim.randomness import Stream
from gamesim.simplex import drawn


@dataclass(frozen=True)
class Planned:
    """Runs so far."""

    policy: Policy
    """The posterior of the latent after everything that was heard, [..., z]."""
    memory: Any
    """The planner's."""
    reference: tuple[Belief, ...]
    """The exact posterior and filter, where the planner's are not."""
    latent: Tensor
    """The truth, [...]."""
    accounts: "Accounts"

    @property
    def metrics(self) -> dict[str, Tensor]:
        truth = self.policy[0].gather(-1, self.latent.unsqueeze(-1))[..., 0]
        return self.accounts.metrics | {"posterior_on_truth": truth} | getattr(self.memory, "metrics", {})


@dataclass(frozen=True)
class Accounts:
    """Sums over the episodes of a run, [...] each."""

    episodes: Tensor
    regret: Tensor
    """sum V*_z - Q*_z(g_h)."""
    reward: Tensor
    explored: Tensor
    """Episodes of exploration."""
    invalid: Tensor
    """Subgoals that were not understood."""
    said: Tensor
    """Decisions that the planner took by a law that is known."""
    apart: tuple[Tensor, ...] = ()
    """Sum over these of the total variation between its law and the exact mixture of experts, if there is a law."""

    @property
    def metrics(self) -> dict[str, Tensor]:
        found = {
            "regret": self.regret,
            "return": self.reward / self.episodes.clamp(min=1),
            "explored": self.explored,
            "invalid": self.invalid,
        }
        if self.apart:
            found["off_mixture"] = self.apart[0] / self.said.clamp(min=1)
        return found


@dataclass(frozen=True)
class BAIL:
    """A planner in a latent world, episode by episode."""

    planner: Planner = field(default_factory=Bail)
    """Who says the subgoals."""
    exploration: Exploration = field(default_factory=NoExploration)
    """Which episodes explore."""
    temperature: Temperature = 1.0
    """Of decoding; 0 is greedy."""
    top_p: Probability = 1.0
    """Decode from the likeliest subgoals of so much probability."""
    error: Probability = 0.0
    """Share of the uniform law in the planner's: what is wrong with its training."""

    requires: ClassVar[Any] = LatentWorld

    def __post_init__(self) -> None:
        check(self)
        self.exploration.require(self.planner)

    def cautions(self, game: LatentWorld) -> list[str]:
        return [*game.cautions(), *self.planner.cautions(game), *self.exploration.cautions(game)]

    def cautions_of_length(self, iterations: int) -> list[str]:
        self.planner.require_length(iterations)
        return self.exploration.cautions_of_length(iterations)

    @cached_property
    def decoded(self) -> Planner:
        """The planner as it is decoded."""
        return decoded(self.planner, self.temperature, self.top_p, self.error)

    def init(self, game: LatentWorld) -> Planned:
        if not isinstance(game, LatentWorld):
            raise refuse("start", "a policy", "none: what a planner begins with is the prior of its world")
        self.decoded.require(game)
        memory = self.decoded.begin(game, ())
        reference = () if self.decoded.exact else (game.believe(()),)
        zero = torch.zeros((), **game.like)
        accounts = Accounts(zero, zero, zero, zero, zero, zero, (zero,) if self.decoded.has_law else ())
        return Planned((game.prior,), memory, reference, torch.tensor(0), accounts)

    def kept_in(self, folder: Path) -> AbstractContextManager[Any]:
        """Whatever planners ask of language models is written down in this folder."""
        from gamesim.planning.language.transcripts import kept_in

        return kept_in(folder)

    def step(self, t: int, game: LatentWorld, state: Planned, generator: Stream) -> Planned:
        planner, world, front = self.decoded, game, state.latent.shape
        luck: Callable[[int], Tensor] = lambda count: shared(generator, front, count).expand(*front, count)  # noqa: E731
        latent = drawn(world.truth_law, luck(1)[..., 0]) if t == 0 else state.latent
        task = drawn(world.task_law, luck(1)[..., 0])
        explores = luck(1)[..., 0] < self.exploration.chance(t, world, planner.belief(state.memory))
        hidden, report = world.open(latent, luck(2))
        memory = planner.meet(world, state.memory, task, report, generator)
        reference = tuple(world.meet(belief, report) for belief in state.reference)
        sums = state.accounts
        for h in range(world.horizon):
            believed = reference[0] if reference else planner.belief(memory)
            assert believed is not None
            proposal = planner.propose(world, h, task, memory, generator, ~explores)
            other = drawn(world.explore(h, report), luck(world.actors))
            subgoal = torch.where(explores.unsqueeze(-1), other, proposal.subgoal)
            loss = world.losses(h, task, latent, believed, subgoal)
            apart = _apart(world, h, task, believed, proposal.law, explores)
            hidden, report = world.move(h, latent, hidden, subgoal, luck(2))
            memory = planner.hear(world, h, memory, subgoal, report)
            reference = tuple(world.update(h, belief, subgoal, report) for belief in reference)
            invalid = 0.0 if proposal.invalid is None else torch.where(explores, 0, proposal.invalid)
            sums = replace(
                sums,
                regret=sums.regret + loss,
                reward=sums.reward + world.rewards(h, task, report),
                invalid=sums.invalid + invalid,
                said=sums.said + (0.0 if proposal.law is None else (~explores).to(loss)),
                apart=tuple(x + apart for x in sums.apart),
            )
        sums = replace(sums, episodes=sums.episodes + 1, explored=sums.explored + explores.to(sums.explored))
        believed = reference[0] if reference else planner.belief(memory)
        assert believed is not None
        return Planned((believed.posterior,), memory, reference, latent, sums)

    def leap(self, t: int, until: int, game: LatentWorld, state: Planned, generator: Stream) -> tuple[Planned, int]:
        """The same episodes with luck drawn ahead."""
        ahead = Ahead(generator, until)
        for s in range(t, until):
            state = self.step(s, game, state, ahead.at(s))
        return state, until


def _apart(
    world: LatentWorld, h: int, task: Tensor, belief: Belief, law: Tensor | None, explores: Tensor
) -> Tensor | float:
    """Total variation between a law and the exact mixture, mean over actors, [...]; 0 where nobody listens."""
    if law is None:
        return 0.0
    apart = (law - mixture(world, h, task, belief)).abs().sum(-1).mean(-1) / 2
    return torch.where(explores, 0.0, apart)
