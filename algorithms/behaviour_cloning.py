"""Behaviour cloning: do what the data do.

    pi^ = argmax_pi  mean_k (1/N_k) sum_i log pi(a_ki | S_k)

by Adam on minibatches; one equivariant network for all agents, and for sets of any size. It knows no reward, and is the
baseline that offline learning has to beat: Formanek et al., "Dispelling the mirage of progress in offline MARL through
standardised baselines and evaluation", NeurIPS 2024, arXiv 2406.09068.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gamesim.games.recorded import Recorded
from gamesim.networks import Network, SetTransformer
from gamesim.networks.adam import Weights, adam
from gamesim.offline.critics import blank
from gamesim.offline.learners import Learned, Offline
from gamesim.parameters import Count
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Imitator(Learned):
    """The policy, and how well it foretells what the data do."""

    loss: Tensor
    """Minus the mean log-probability of an agent's action in the last minibatch, [...]."""

    reported: ClassVar[tuple[str, ...]] = ("loss",)


@dataclass(frozen=True)
class BehaviourCloning(Offline):
    """The policy under which the data are likeliest."""

    network: Network = SetTransformer()
    """Of the policy: set-transformer, deep-sets, gcn or mlp."""
    batch_size: Count = 256
    """Transitions of a minibatch."""
    step_size: StepSize = Constant(1e-3)
    """Of Adam."""

    def init(self, game: Recorded) -> Imitator:
        return Imitator(blank(self.actor(game).network, game), torch.zeros((), **game.like))

    def step(self, t: int, game: Recorded, state: Imitator, generator: Stream) -> Imitator:
        lesson = self.lesson(game, state, generator)
        actor, front = lesson.actor, lesson.front
        if t == 0:
            state = lesson.begun(state, actor=actor.network)
        batch = lesson.minibatch(self.batch_size)
        losses = list[Tensor]()

        def loss(weights: Weights) -> Tensor:
            out = actor(weights, batch.tokens, batch.sets)
            losses.append(-batch.sets.team_mean(actor.head.log_prob(out, batch.actions)).mean(-1))
            return losses[0]

        moved = adam(state.actor, loss, self.step_size(t), t + 1, front)
        return Imitator(moved, losses[0].detach().expand(front))
