"""Formulas of offline learners written out one set at a time: what their steps are held to."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gamesim.attention import Layout
from gamesim.envs.sets.recorded import RecordedPlay
from gamesim.envs.sets.spread import Spread
from gamesim.games.recorded import Batch
from gamesim.networks import Network
from gamesim.networks.adam import BETA_1, Trained, Weights
from gamesim.networks.stateless import Stateless
from gamesim.offline.critics import actor_of, critic_of, one_of, value_of
from gamesim.offline.recording import record_sets
from gamesim.parameters import convert
from gamesim.randomness import Stream

SPACES = ("discrete", "continuous")
SMALL = "deep-sets(width=6, layers=1)"


def task_of(space: str, sizes: tuple[int, ...] = (2, 3), precision: str = "float64", episodes: int = 6) -> RecordedPlay:
    worlds = [Spread(agents=n, actions=space, steps=5) for n in sizes]  # type: ignore[arg-type]
    data = record_sets(worlds, "medium", episodes, references=False)
    return RecordedPlay(data=data, evaluation_episodes=2, precision=precision)  # type: ignore[arg-type]


def network(text: str) -> Any:
    return convert(text, Network, "network")


@dataclass
class One:
    """One set of a minibatch."""

    tokens: Tensor
    actions: Tensor
    reward: Tensor
    after: Tensor
    going_on: Tensor
    agents: slice
    who: int = -1


def ones(batch: Batch, who: Tensor | None = None) -> list[One]:
    found = []
    rows, teams = batch.sets.layout.offsets.tolist(), batch.sets.teams.offsets.tolist()
    for b in range(len(rows) - 1):
        row, agents = slice(rows[b], rows[b + 1]), slice(teams[b], teams[b + 1])
        one = One(
            batch.tokens[row], batch.actions[agents], batch.rewards[b], batch.after[row], torch.tensor(1.0), agents
        )
        one.going_on = 1 - batch.terminated[b]
        if who is not None:
            assert int(who[agents].sum()) == 1
            one.who = int(who[agents].long().argmax())
        found.append(one)
    return found


def invariant(f: Stateless, weights: Weights, tokens: Tensor, actions: Tensor | None = None) -> Tensor:
    """f(S, A) or V(S) of one set."""
    if actions is not None:
        empty = torch.zeros(len(tokens) - len(actions), actions.shape[-1], dtype=tokens.dtype)
        tokens = torch.cat([tokens, torch.cat([actions, empty])], -1)
    return f(weights, tokens, Layout.of([len(tokens)]), torch.arange(1))[0, 0]


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def leaves(weights: Weights) -> Weights:
    return tuple(x.detach().clone().requires_grad_() for x in weights)


def assert_gradient(found: Trained, loss: Tensor, weights: Weights) -> None:
    """Adam's mean of gradients after its first step from rest."""
    for m, g in zip(found.mean, torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(m / (1 - BETA_1), g, rtol=1e-8, atol=1e-11)


class Bench:
    """A solver with networks and targets drawn apart, a step of it, and what that step drew."""

    t = 5

    def __init__(self, task: RecordedPlay, solver: Any) -> None:
        self.task, self.solver, self.head = task, solver, task.head
        self.actor, self.critic = actor_of(task, solver.network), critic_of(task, solver.network)
        self.luck = Stream(3).at(self.t)
        draw = Stream(11)
        self.pi, self.pi_bar = (self.actor.network.draw((), draw, torch.float64) for _ in range(2))
        self.f, self.f_bar = (self.critic.network.draw((2,), draw, torch.float64) for _ in range(2))
        state = solver.init(task)
        given = {"actor": Trained.fresh(self.pi), "critic": Trained.fresh(self.f), "target": self.f_bar}
        if hasattr(state, "followed"):
            given["followed"] = self.pi_bar
        if hasattr(state, "worth"):
            self.v = value_of(task, solver.network).network.draw((), draw, torch.float64)
            given["worth"] = Trained.fresh(self.v)
        self.before = replace(state, **given)
        self.after: Any = solver.step(self.t, task, self.before, Stream(3).at(self.t))
        self.batch = task.batch(solver.batch_size, self.luck)

    def twin(self, weights: Weights, j: int) -> Weights:
        return one_of(weights, self.critic.network, j)

    def q(self, weights: Weights, tokens: Tensor, actions: Tensor) -> Tensor:
        return invariant(self.critic.network, weights, tokens, actions)

    def doubtful(self, weights: Weights, tokens: Tensor, actions: Tensor) -> Tensor:
        return torch.minimum(*(self.q(self.twin(weights, j), tokens, actions) for j in range(2)))

    def out(self, weights: Weights, tokens: Tensor) -> Tensor:
        """Of all sets in their order."""
        return self.actor(weights, tokens, self.batch.sets)

    def y(self, one: One, following: Tensor) -> Tensor:
        low, high = self.task.bounds
        return (one.reward + self.task.discount * one.going_on * following).clamp(low, high).detach()
