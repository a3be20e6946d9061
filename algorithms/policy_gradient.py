"""Policy gradient in stochastic games: everyone follows the gradient of their own payoff, all at once.

With v_i(pi)(s, a) = d(s) Q_i(s, a), or an estimate vhat of it, and Euclidean projections row by row,

    eager    pi_{n+1} = Proj(pi_n + gamma_n vhat_n)
    lazy     y_{n+1} = y_n + gamma_n vhat_n,    pi_{n+1} = Proj(y_{n+1})

Near a deterministic strict Nash policy the lazy method arrives in finitely many iterations with high probability, and
near any second-order stationary one E||pi_n - pi*||^2 = O(n^-q), q = min(l_b, p - 2 l_s), for steps gamma / (n + m)^p,
a bias of O(n^-l_b) and a deviation of O(n^l_s). With REINFORCE and exploration eps / (n + m)^r these are r and r / 2,
and the theorem asks for p + r > 1 and p - r / 2 > 1/2. Schedules outside are run, with a caution.

In the softmax parametrisation pi_i(a | s) is softmax(theta_i(s, .)), and the gradient in theta is
pi_i(a | s) (v_i(s, a) - <pi_i(s), v_i(s)>). The natural gradient divides the visits out: theta (or y) moves by
Q_i(s, a). Leading steps are those of `ftrl`: optimistic, with the last gradients, and extra-gradient, with new ones.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy gradient methods to Nash
equilibria in general stochastic games", NeurIPS 2022, arXiv 2210.08857; Agarwal, Kakade, Lee and Mahajan, JMLR 22
(2021), for the softmax parametrisation and its natural gradient.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback import Exact, Feedback, Reinforce, rollout_lanes
from gamesim.feedback.gradients import Gradients
from gamesim.games import EpisodicGame, Policy, TabularGame
from gamesim.parameters import check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize
from gamesim.simplex import project, softmax, total


@dataclass(frozen=True)
class Ascent:
    """What moves (y or theta; of the eager method the policy), the policy, and the last gradients where they lead."""

    scores: tuple[Tensor, ...]
    policy: Policy
    last: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class PolicyGradient:
    """Independent policy gradient: projected or lazy, direct or softmax, exact or sampled."""

    step_size: StepSize = Constant(0.1)
    """gamma; power(gamma, p, m) is gamma / (t + m)^p."""
    feedback: Feedback = Exact()
    """What is known of the gradients: exact, noisy(scale), or reinforce(exploration, episodes, returns, baseline)."""
    projection: Literal["lazy", "eager"] = "lazy"
    """Project the sum of all gradients, or the policy after each of them."""
    parametrization: Literal["direct", "softmax"] = "direct"
    """The policy itself moves, or its logits."""
    natural: bool = False
    """Follow action values instead of gradients: each state is weighed alike, however often it is visited."""
    leader: Literal["plain", "optimistic", "extra-gradient"] = "plain"
    """What the leading step knows: nothing, the last gradients, or fresh ones."""

    requires: ClassVar[type] = EpisodicGame
    watches: ClassVar[tuple[str, ...]] = ("farthest", "last_wrong")
    """What its leaps can see of a target along the way."""

    def __post_init__(self) -> None:
        check(self)
        if self.parametrization == "softmax" and self.projection == "eager":
            raise refuse("projection", "eager", "lazy with parametrization=softmax: nothing is projected there")
        if self.natural and isinstance(self.feedback, Reinforce):
            raise refuse("natural", "true", "false with feedback=reinforce, which estimates gradients and not values")

    def cautions(self, game: Any) -> list[str]:
        return self.feedback.cautions(self.step_size)

    def init(self, game: Any) -> Ascent:
        if not isinstance(self.feedback, Reinforce) and not callable(getattr(game, "gradients", None)):
            raise refuse("feedback", self.feedback, f"reinforce: {type(game).__name__} is known from its episodes only")
        start = game.start()
        scores = tuple(x.log() for x in start) if self.parametrization == "softmax" else start
        return Ascent(scores, start, () if self.leader != "optimistic" else tuple(map(torch.zeros_like, start)))

    def step(self, t: int, game: Any, state: Ascent, generator: Stream) -> Ascent:
        gamma, oracle = self.step_size(t), game if self.natural else Gradients(game)

        def gradient(policy: Policy) -> tuple[Tensor, ...]:
            found = self.feedback(oracle, policy, 0.0, generator)
            if self.parametrization == "direct" or self.natural:
                return found
            return tuple(pi * (v - total(pi * v)[..., None]) for pi, v in zip(policy, found, strict=True))

        def moved(along: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(y + gamma * v for y, v in zip(state.scores, along, strict=True))

        choose = softmax if self.parametrization == "softmax" else project
        half = state.policy
        if self.leader != "plain":
            half = tuple(map(choose, moved(state.last or gradient(state.policy))))
        found = gradient(half)
        scores = moved(found)
        policy = tuple(map(choose, scores))
        return Ascent(policy if self.projection == "eager" else scores, policy, found if state.last else ())

    def prepare(self, game: Any) -> None:
        """Compile or load the loops of `leap` before they are needed; what `solve` will refuse is left to it."""
        if isinstance(self.feedback, Reinforce) and self.feedback.baseline == "none" and isinstance(game, TabularGame):
            game.validate()
            small = replace(self, feedback=replace(self.feedback, episodes=1))
            small.leap(0, 1, game, self.init(game), Stream(0))

    def leap(
        self, t: int, until: int, game: Any, state: Ascent, generator: Stream, target: Policy | None = None
    ) -> tuple[Any, ...] | None:
        """Many plain iterations of REINFORCE at once: (state, iteration reached), and with a target what was seen."""
        if (self.leader, self.parametrization) != ("plain", "direct"):
            return None
        lazy = self.projection == "lazy"
        landed = rollout_lanes.leap(
            game, state.scores, state.policy, self.feedback, self.step_size, lazy, generator, t, until, target
        )
        if landed is None:
            return None
        after = Ascent(landed.scores, landed.policy), landed.reached
        return after if target is None else (*after, landed)
