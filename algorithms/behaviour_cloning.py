"""Behaviour cloning: do what the data do.

    pi^ = argmax_pi  mean_k (1/N_k) sum_i log pi(a_ki | S_k)

by Adam on minibatches; one equivariant network for all agents, and for sets of any size. It knows no reward, and is the
baseline that offline learning has to beat: Formanek et al., "Dispelling the mirage of progress in offline MARL through
standardised baselines and evaluation", NeurIPS 2024, arXiv 2406.09068.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.games.recorded import Actor, Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Trained, Weights, descended, gradients
from gamesim.offline.critics import actor_of, blank, drawn, front_of, minibatch
from gamesim.parameters import Count, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Imitator:
    """The policy, and how well it foretells what the data do."""

    actor: Trained
    loss: Tensor
    """Minus the mean log-probability of an agent's action in the last minibatch, [...]."""

    @property
    def policy(self) -> Weights:
        return self.actor.parameters

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"loss": self.loss}


@dataclass(frozen=True)
class BehaviourCloning:
    """The policy under which the data are likeliest."""

    network: Network = SetTransformer()
    """Of the policy: set-transformer, deep-sets, gcn or mlp."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam."""

    requires: ClassVar[type] = Recorded

    def __post_init__(self) -> None:
        check(self)

    def actor(self, game: Recorded) -> Actor:
        """The policy network, whose weights `result.policy` are."""
        return actor_of(game, self.network)

    def measures(self, game: Recorded) -> dict[str, Any]:
        return {"actor": self.actor(game)}

    def init(self, game: Recorded) -> Imitator:
        return Imitator(blank(self.actor(game).network, game), torch.zeros((), **game.like))

    def step(self, t: int, game: Recorded, state: Imitator, generator: Stream) -> Imitator:
        actor, learned = self.actor(game), state.actor
        front = front_of(state.policy, actor.network)
        if t == 0:
            learned = drawn(actor.network, learned, front, generator)
        batch = minibatch(game, self.batch_size, generator, front)
        losses = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, batch.sets)
            losses.append(-batch.sets.team_mean(actor.head.log_prob(out, batch.actions)).mean(-1))
            return losses[0]

        learned = descended(learned, gradients(loss, learned.parameters), self.step_size(t), t + 1, front)
        return Imitator(learned, losses[0].detach().expand(state.loss.shape))
