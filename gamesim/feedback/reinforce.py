"""REINFORCE: gradients of a player's payoff from episodes, each player seeing states, own actions and own rewards only.

Everyone plays pih_i = (1 - eps) pi_i + eps / |A_i|; of an episode tau with return R_i(tau), player i estimates

    vhat_i(s, a) = R_i(tau) N_{s,a}(tau) / pih_i(a | s) = R_i(tau) sum_t d log pih_i(a_t | s_t) / d pih_i(a | s)

Its mean is the gradient v_i(pih) up to a number for each (i, s), which a projection on the simplex does not see; as an
estimate of v_i(pi) it has a bias of O(eps) and a variance of at most 24 |A_i|^2 / (eps zeta^4). In place of R_i(tau)
there may stand the sum of the rewards from step t on, and a baseline that does not depend on the action a_t may be
taken off: both leave the mean and lower the variance.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, NeurIPS 2022, arXiv 2210.08857; Williams, Machine Learning 8
(1992).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback.oracle import Feedback
from gamesim.feedback.play import Exploration, exploring_cautions
from gamesim.games import Episodes, EpisodicGame, Policy, TabularGame
from gamesim.parameters import Count, check
from gamesim.randomness import Stream
from gamesim.schedules import Power, Schedule
from gamesim.simplex import explore


@dataclass(frozen=True)
class Reinforce(Feedback):
    """Gradients from sampled episodes."""

    exploration: Exploration = Power(0.5, 0.4, 10.0)
    """eps: share of the uniform policy in what is played; power(eps, r, m) is eps / (t + m)^r."""
    episodes: Count = 1
    """Episodes that the estimate of an iteration is the mean of."""
    returns: Literal["whole", "to-go"] = "whole"
    """Weigh each action by the return of the whole episode, or by the rewards from that step on."""
    baseline: Literal["none", "others", "value"] = "none"
    """What is taken off: nothing, the mean return of the other episodes, or the exact value of the state."""

    def __post_init__(self) -> None:
        check(self)
        if self.baseline == "others" and self.episodes < 2:
            raise refuse("baseline", self.baseline, "episodes of at least 2 with it; with one take none or value")

    def __str__(self) -> str:
        defaults = type(self)()
        rest = [n for n in ("episodes", "returns", "baseline") if getattr(self, n) != getattr(defaults, n)]
        return f"reinforce({', '.join([str(self.exploration), *(f'{n}={getattr(self, n)}' for n in rest)])})"

    def require(self, game: Any) -> None:
        if not isinstance(game, EpisodicGame):
            raise refuse("game", type(game).__name__, f"one that is played in episodes, which feedback={self} needs")
        if self.baseline == "value" and not isinstance(game, TabularGame):
            raise refuse("baseline", "value", "others or none: the values of a simulator are not known")

    def cautions(self, step_size: Schedule) -> list[str]:
        return super().cautions(step_size) + outside(step_size, self.exploration)

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        epsilon = self.exploration(generator.iteration)
        played = tuple(explore(x, epsilon) for x in policy)
        episodes = game.rollout(played, self.episodes, generator)
        weights = self._weights(game, played, episodes)
        return tuple(_estimate(x, episodes, weights, i) for i, x in enumerate(played))

    def _weights(self, game: Any, played: Policy, episodes: Episodes) -> Tensor:
        """What the action of each step is credited with, [..., m, time, player]."""
        credit = episodes.to_go if self.returns == "to-go" else episodes.returns[..., None, :]
        if self.baseline == "others":
            returns = episodes.returns
            credit = credit - ((returns.sum(-2, keepdim=True) - returns) / (self.episodes - 1))[..., None, :]
        elif self.baseline == "value":
            values = game.state_values(played).mT
            seen = episodes.observations
            known = values[..., None, :, :].expand(*seen.shape[:-2], *values.shape[-2:])
            credit = credit - known.gather(-2, seen)
        return credit * episodes.alive[..., None]


def _estimate(played: Tensor, episodes: Episodes, weights: Tensor, player: int) -> Tensor:
    """The mean over episodes of sum_t weight_t 1{s_t = s, a_t = a} / pih(a | s), [..., s, a]."""
    place = episodes.observations[..., player] * played.shape[-1] + episodes.actions[..., player]
    place = place.flatten(-2)
    weight = weights[..., player].flatten(-2).to(played.dtype)
    batch = place.shape[:-1]
    flat = played.expand(*batch, *played.shape[-2:]).flatten(-2)
    summed = torch.zeros_like(flat).scatter_add_(-1, place, weight / episodes.alive.shape[-2])
    return (summed / flat).reshape(*batch, *played.shape[-2:])


def outside(step_size: Schedule, exploration: Schedule) -> list[str]:
    """Where steps gamma / (n + m)^p with exploration eps / (n + m)^r leave the conditions of the theorem.

    The bias falls like n^-r and the deviation grows like n^(r/2): p + r > 1 and p - r/2 > 1/2, for p at most 1.
    """
    p, r, found = step_size.decay, exploration.decay, exploring_cautions(step_size, exploration)
    if p + r <= 1:
        found.append(
            f"step_size: {step_size} with exploration {exploration} has p + r = {p + r:g}, not above 1, so "
            "step_size x bias does not sum; p = 0.8, r = 0.4 is inside"
        )
    if p == 1:
        found.append(
            f"step_size: {step_size} with p = 1 has its rate only if 2 mu step_size > q with the modulus mu of the "
            "equilibrium, which is not known; p below 1 needs nothing of the kind and is faster here"
        )
    return found
