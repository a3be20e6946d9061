"""Bandits: one player, K arms, and nature, who pays each arm anew in every round t = 0, 1, 2, ...

Pulled in round t, arm a pays Y_a(t) with mean mu_a(t), whatever was pulled before: nature is oblivious. It takes its
luck from the generator, whose iteration is the round, so that all that play with one seed meet the same nature.

    regret(T) = max_a sum_{t < T} mu_a(t) - sum_{t < T} mu_{I_t}(t)

compares with the best arm that is pulled always. Where a run ends once rewards add up to a goal N (so many tokens), ST
is the number of rounds that takes, and the regret is counted in rounds, by Wald's identity:

    E[ST(algorithm)] - min_a E[ST(a)] = E[sum_{t < ST} mu* - mu_{I_t}] / mu*     up to the overshoot beyond N, in rounds

Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", ICML 2025, arXiv 2505.15141.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gamesim import simplex
from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.parameters import convert
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes


class BanditGame(ABC):
    """Arms, by their means and by the inverse distribution functions of what they pay."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest reward, the second above the first."""

    @abstractmethod
    def mean_rewards(self, t: int) -> Tensor:
        """mu_a(t)[..., a]."""

    @abstractmethod
    def paid(self, u: Tensor, t: int) -> Tensor:
        """What every arm pays in round t, for uniform numbers u[..., a] of (0, 1): [..., a]."""

    @property
    def stationary(self) -> bool:
        """Whether every round is as the first."""
        return True

    @property
    def lasting_rewards(self) -> Tensor:
        """The mean over time of what each arm pays, [..., a]."""
        return self.mean_rewards(0)

    @property
    def goal(self) -> float | Tensor:
        """The sum of rewards at which a run ends, [...]; infinite where none does."""
        return math.inf

    def start(self) -> Policy:
        """Every arm alike."""
        means = self.lasting_rewards
        goal = self.goal.shape if isinstance(self.goal, Tensor) else ()
        batch = broadcast_shapes(means.shape[:-1], goal)
        return (simplex.uniform_like(means.expand(*batch, means.shape[-1])),)

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        """The mean reward of each arm, over time where it changes."""
        return (self.lasting_rewards.to(policy[0]).expand(policy[0].shape),)

    def exploitability(self, policy: Policy, temperature: Any = 0.0) -> Tensor:
        """How much more a round the best arm pays, [...]."""
        (values,) = self.feedback(policy)
        return simplex.regret(policy[0], values, temperature)

    def metrics(self, policy: Policy, temperature: Any = 0.0) -> dict[str, Tensor]:
        """Exploitability, and with a temperature the regularised one."""
        found = {"exploitability": self.exploitability(policy)}
        if isinstance(temperature, Tensor) or temperature > 0:
            found["regularized_exploitability"] = self.exploitability(policy, temperature)
        return found

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        """What each arm would have paid in this round, a tuple of one [..., a]; actions[..., 1]."""
        if generator is None:
            raise refuse("generator", None, "a Stream, which nature takes its luck from")
        batch = actions.shape[:-1]
        arms = self.lasting_rewards.shape[-1]
        u = generator.quick((*generator.alike(batch), arms), device=actions.device)
        return (self.paid(u, generator.iteration).expand(*batch, arms),)

    def play(self, actions: Tensor, generator: Stream | None = None) -> Tensor:
        """What the pulled arm pays, [..., 1]; actions[..., 1] are whole numbers."""
        return self.answers(actions, generator)[0].gather(-1, actions)

    def normalized(self, reward: Tensor) -> Tensor:
        """Rewards as numbers from 0 to 1."""
        low, high = self.bounds
        return (reward - low) / (high - low)


class Round(NamedTuple):
    """What a round brought."""

    pulled: Tensor
    """[..., a]: 1 at the arm that was pulled, and nothing in runs that have ended."""
    rewards: Tensor
    """What each arm would have paid, [..., a]; a bandit may look at that of the pulled arm alone."""
    tally: "Tally"


@dataclass(frozen=True)
class Tally:
    """The accounts of a run; the last dimension of each is of size 1 but for `fixed`."""

    rounds: Tensor
    reward: Tensor
    """What was paid."""
    own: Tensor
    """What the pulled arms pay on average."""
    fixed: Tensor
    """What each arm pays on average when it is pulled always, [..., a]."""
    goal: Tensor

    @classmethod
    def of(cls, game: BanditGame) -> "Tally":
        """Before the first round."""
        fixed = torch.zeros_like(game.start()[0])
        zero = torch.zeros_like(fixed[..., :1])
        goal = torch.as_tensor(game.goal).to(zero)
        return cls(zero, zero, zero, fixed, goal.expand(zero.shape[:-1])[..., None])

    @property
    def playing(self) -> Tensor:
        """Which runs have not ended, [..., 1]."""
        return self.reward < self.goal

    def play(self, game: BanditGame, t: int, actions: Tensor, generator: Stream) -> Round:
        """Pull actions[..., 1] in round t."""
        (rewards,) = game.answers(actions, generator)
        playing = self.playing.to(self.fixed.dtype)
        pulled = torch.zeros_like(self.fixed).scatter(-1, actions, playing)
        means = game.mean_rewards(t)
        tally = Tally(
            self.rounds + playing,
            self.reward + (pulled * rewards).sum(-1, keepdim=True),
            self.own + (pulled * means).sum(-1, keepdim=True),
            self.fixed + playing * means,
            self.goal,
        )
        return Round(pulled, rewards, tally)

    @property
    def metrics(self) -> dict[str, Tensor]:
        """Regret (in rounds where there is a goal, in rewards otherwise), rounds and the rewards paid, each [...]."""
        best = self.fixed.amax(-1, keepdim=True)
        pace = torch.where(self.goal.isinf() | (self.rounds == 0), 1.0, best / self.rounds.clamp(min=1))
        found = {"regret": (best - self.own) / pace, "rounds": self.rounds, "reward": self.reward}
        return {name: value.squeeze(-1) for name, value in found.items()}


def as_arms(values: Any, rule: Any, field: str) -> Tensor:
    """A number for each arm, of a tuple or a tensor [..., a], each as the rule wants it: float64."""
    found = torch.as_tensor(values, dtype=torch.float64)
    if found.dim() == 0 or 0 in found.shape:
        raise refuse(field, f"shape {list(found.shape)}", "a number for each arm, at least one")
    checked: Tensor = convert(found, rule, field)
    return checked
