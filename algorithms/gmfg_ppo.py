"""GMFG-PPO: proximal policy optimisation for regularised graphon mean-field games.

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531,
Algorithm 1 with the model known. One iteration, at every step h, position k and state s, from pi_t and the averaged
flow mubar_t:

    Q      = Q^{lam}(pi_t, mubar_t)                                               values in the averaged flow
    pi^    = argmax_p  eta_t (<Q, p> + lam H(p)) - KL(p || pi_t)                  the proximal step
    pi'    = (1 - beta_t) pi^ + beta_t Unif                                       mixing
    mubar' = (1 - alpha_t) mubar_t + alpha_t mu(pi')                              averaging

The flow mu(pi') moves in its own aggregates (`self-consistent`) or in those of mubar_t (`frozen`); the two agree when
transitions do not depend on the aggregate. The theory takes alpha = O(T^{-2/3}), beta = O(1/T) and a constant eta, for
a rate of T^{-1/3}. With exact values no mixing is needed, and its size is the floor of what can be reached.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.feedback import Exact, Feedback
from gamesim.games import GraphonGame, Policy
from gamesim.parameters import Temperature, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Mixing, Share, StepSize
from gamesim.simplex import explore_scores, mirror_step, per_state
from gamesim.states import Scored


@dataclass(frozen=True)
class Believed:
    """The actor's scores[..., h, k, s, a] and the averaged flow[..., h, k, s] that it believes in."""

    actor: Scored
    flow: Tensor

    @property
    def policy(self) -> Policy:
        return self.actor.policy


@dataclass(frozen=True)
class GMFGPPO:
    """Proximal policy optimisation in an averaged mean field."""

    step_size: StepSize = Constant(1.0)
    """eta: how far the policy moves along the action values."""
    temperature: Temperature = 0.1
    """lam: weight of the entropy, in the game and in the step."""
    averaging: Share = Constant(0.3)
    """alpha: how much of the new flow enters the averaged one."""
    averaging_variant: Literal["self-consistent", "frozen"] = "self-consistent"
    """Whose aggregates move the new flow: its own, or those of the averaged flow."""
    mixing: Mixing = Constant(0.0)
    """beta: share of the uniform policy mixed in."""
    feedback: Feedback = Exact()
    """What is known of the action values."""

    requires: ClassVar[type] = GraphonGame

    def __post_init__(self) -> None:
        check(self)

    @property
    def measures(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def init(self, game: GraphonGame) -> Believed:
        policy = game.start()
        return Believed(Scored(tuple(p.log() for p in policy)), game.flow(policy))

    def step(self, t: int, game: GraphonGame, state: Believed, generator: Stream) -> Believed:
        (q,) = self.feedback(game, state.policy, self.temperature, generator, flow=state.flow)
        (scores,) = state.actor.scores
        scores = mirror_step(scores, q, self.step_size(t), self.temperature)
        actor = Scored((explore_scores(scores, self.mixing(t)),))
        moved = game.flow(actor.policy, frozen=state.flow if self.averaging_variant == "frozen" else None)
        return Believed(actor, torch.lerp(state.flow, moved, per_state(self.averaging(t))))
