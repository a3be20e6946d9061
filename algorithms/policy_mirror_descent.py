"""Policy mirror descent for regularised monotone games.

Zhang, Tan, Wang and Yang, "Learning regularized monotone graphon mean-field games", NeurIPS 2023, arXiv 2310.08089,
Algorithm 1 (MonoGMFG-PMD) with exact values. One iteration, at every decision point:

    Q   = Q^{lam}(pi_t) in the game's own flow of pi_t
    pi^ = argmax_p  eta_t / (1 - lam eta_t) (<Q, p> + lam H(p)) - KL(p || pi_t)
        = softmax((1 - lam eta_t) log pi_t + eta_t Q)
    pi' = (1 - beta_t) pi^ + beta_t Unif

which needs lam eta_t < 1. A step of GMFG-PPO with eta' is this step with eta = eta' / (1 + lam eta'). In a weakly
monotone game the distance sum_h KL(pi* || pi_t) falls by (1 - lam eta) each step up to O(eta^2), without any mixing.
Any game will do: of a game with three methods the feedback is taken as it is.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback import Exact, Feedback
from gamesim.games import Game
from gamesim.parameters import LOOKED_AT, Temperature, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Mixing, StepSize
from gamesim.simplex import explore_scores, mirror_step
from gamesim.states import Scored


@dataclass(frozen=True)
class PolicyMirrorDescent:
    """Regularised mirror descent on the policy."""

    step_size: StepSize = Constant(0.5)
    """eta: how far the policy moves along the action values; temperature times step_size stays below 1."""
    temperature: Temperature = 0.1
    """lam: weight of the entropy."""
    mixing: Mixing = Constant(0.0)
    """beta: share of the uniform policy mixed in."""
    feedback: Feedback = Exact()
    """What is known of the action values."""

    def __post_init__(self) -> None:
        check(self)
        for t in LOOKED_AT:
            product = self.temperature * self.step_size(t)
            if bool((product >= 1).any() if isinstance(product, Tensor) else product >= 1):
                raise refuse(
                    "step_size",
                    self.step_size,
                    f"temperature x step_size < 1 (it is {product} at iteration {t}); lower one, or use gmfg-ppo",
                )

    @property
    def measures(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def init(self, game: Game) -> Scored:
        return Scored(tuple(p.log() for p in game.start()))

    def step(self, t: int, game: Game, state: Scored, generator: Stream) -> Scored:
        values = self.feedback(game, state.policy, self.temperature, generator)
        eta, lam = self.step_size(t), self.temperature
        moved = (mirror_step(y, q, eta / (1 - lam * eta), lam) for y, q in zip(state.scores, values, strict=True))
        return Scored(tuple(explore_scores(y, self.mixing(t)) for y in moved))
