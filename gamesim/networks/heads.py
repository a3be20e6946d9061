"""What the outputs of a policy network mean: a law over moves, or over forces, of each agent.

    moves     z_a the outputs,    pi(a) = e^{z_a} / sum_b e^{z_b};    sampled as argmax_a (z_a + Gumbel noise)
    forces    (mu, log sigma) the outputs,    a = tanh(mu + sigma noise)

Samples are differentiable in the outputs: moves straight through the softmax (Jang, Gu and Poole, "Categorical
reparameterization with Gumbel-softmax", ICLR 2017), forces by the noise (Haarnoja et al., "Soft actor-critic", ICML
2018). Critics see an action as the numbers of a sample: a one-hot, or a force.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import one_hot, softplus

from gamesim.randomness import Stream

LOG_SIGMA = (-5.0, 2.0)
"""Between which log sigma stays: Haarnoja et al., with a lowest value of public code."""
EDGE = 1e-4
"""How far from the ends of [-1, 1] an action counts, where its probability is asked for: there it would be 0."""


class Head(ABC):
    """Laws of actions from outputs [..., agent, outputs]; the agents of a set act independently given the set."""

    outputs: int
    """Numbers of the network for each agent."""
    size: int
    """Numbers of an action, as critics see it."""

    @abstractmethod
    def sample(self, out: Tensor, generator: Stream) -> tuple[Tensor, Tensor]:
        """Actions [..., agent, size], differentiable in the outputs, and their log-probabilities [..., agent]."""

    @abstractmethod
    def log_prob(self, out: Tensor, actions: Tensor) -> Tensor:
        """[..., agent], of actions [..., agent, size]."""

    @abstractmethod
    def mode(self, out: Tensor) -> Tensor:
        """The likeliest actions, differentiable as samples are, [..., agent, size]."""

    @abstractmethod
    def played(self, actions: Tensor) -> Tensor:
        """Actions as a world takes them: moves [..., agent], or forces [..., agent, 2]."""

    @abstractmethod
    def uniform(self, shape: tuple[int, ...], generator: Stream, like: Tensor) -> Tensor:
        """Actions drawn evenly, [*shape, size]."""

    @property
    @abstractmethod
    def target_entropy(self) -> float:
        """What soft algorithms keep the entropy of one agent at."""


@dataclass(frozen=True)
class Categorical(Head):
    """One of so many moves."""

    count: int

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.count

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.count

    def sample(self, out: Tensor, generator: Stream) -> tuple[Tensor, Tensor]:
        u = generator.uniform(tuple(out.shape), out.dtype, out.device)
        hard = self._through(out - (-u.log()).log())
        return hard, self.log_prob(out, hard.detach())

    def log_prob(self, out: Tensor, actions: Tensor) -> Tensor:
        return (out.log_softmax(-1) * actions).sum(-1)

    def mode(self, out: Tensor) -> Tensor:
        return self._through(out)

    def played(self, actions: Tensor) -> Tensor:
        return actions.argmax(-1)

    def uniform(self, shape: tuple[int, ...], generator: Stream, like: Tensor) -> Tensor:
        u = generator.uniform(shape, like.dtype, like.device)
        return one_hot((u * self.count).long().clamp(max=self.count - 1), self.count).to(like.dtype)

    @property
    def target_entropy(self) -> float:
        return 0.3 * math.log(self.count)

    def _through(self, scores: Tensor) -> Tensor:
        """One-hot of the largest score, with the gradient of the softmax."""
        soft = scores.softmax(-1)
        hard = one_hot(scores.argmax(-1), self.count).to(soft)
        return hard + soft - soft.detach()


@dataclass(frozen=True)
class Squashed(Head):
    """So many numbers in [-1, 1]."""

    count: int

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return 2 * self.count

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.count

    def sample(self, out: Tensor, generator: Stream) -> tuple[Tensor, Tensor]:
        mean, log_sigma = self._law(out)
        z = mean + log_sigma.exp() * generator.normal(tuple(mean.shape), out.dtype, out.device)
        return z.tanh(), self._log_density(z, mean, log_sigma)

    def log_prob(self, out: Tensor, actions: Tensor) -> Tensor:
        return self._log_density(actions.clamp(-1 + EDGE, 1 - EDGE).atanh(), *self._law(out))

    def mode(self, out: Tensor) -> Tensor:
        return self._law(out)[0].tanh()

    def played(self, actions: Tensor) -> Tensor:
        return actions

    def uniform(self, shape: tuple[int, ...], generator: Stream, like: Tensor) -> Tensor:
        return 2 * generator.uniform((*shape, self.count), like.dtype, like.device) - 1

    @property
    def target_entropy(self) -> float:
        return -float(self.count)

    def _law(self, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_sigma = out.split(self.count, -1)
        return mean, log_sigma.clamp(*LOG_SIGMA)

    @staticmethod
    def _log_density(z: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
        """Of tanh z: the density of z over that of tanh, log(1 - tanh^2 z) = 2 (log 2 - z - log(1 + e^{-2z}))."""
        normal = -0.5 * ((z - mean) / log_sigma.exp()) ** 2 - log_sigma - 0.5 * math.log(2 * math.pi)
        found: Tensor = (normal - 2 * (math.log(2) - z - softplus(-2 * z))).sum(-1)
        return found


def head_of(discrete: bool, count: int) -> Head:
    """The head of a space of actions: so many moves, or forces of so many numbers."""
    return Categorical(count) if discrete else Squashed(count)
