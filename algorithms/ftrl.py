"""Follow the regularised leader, also known as dual averaging: scores add up values, a mirror map makes them a policy.

All players at once, for n = 1, 2, ..., with the regulariser's mirror map Q (`gamesim.regularizers`):

    X_n = Q(Y_n),    X_{n+1/2} = Q(Y_n + gamma_n vhat_n),    Y_{n+1} = Y_n + gamma_n vhat_{n+1/2}

the generalised leader of Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "On the rate of convergence of regularized
learning in games", NeurIPS 2021. What is known when the leading step is taken makes the method:

    plain             vhat_n = 0, no leading step: FTRL itself, of "Survival of the strictest", COLT 2021
    optimistic        vhat_n = vhat_{n-1/2}, the last values again: one query an iteration
    extra-gradient    vhat_n = values at X_n, fresh: mirror-prox, two queries an iteration
    generalized       vhat_n = anticipation * vhat_{n-1/2}: 0 is plain, 1 optimistic

A Nash equilibrium is stable and attracting with high probability, under every feedback and every regulariser here, if
and only if it is strict. With noise the theorem asks for step sizes gamma / (n + m)^p that are square-summable, under
bandit feedback with exploration eps / (n + m)^r for 2p - r > 1; its statements hold on an event whose probability grows
to one as gamma falls or m grows. Schedules outside are run, with a caution.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.feedback import Exact, Feedback, lanes
from gamesim.games import Game, Policy
from gamesim.parameters import NonNegative, check
from gamesim.randomness import Stream
from gamesim.regularizers import ENTROPIC, Regularizer, centred
from gamesim.schedules import Constant, StepSize


@dataclass(frozen=True)
class Leader:
    """Scores Y, their choice X = Q(Y), and the last values where they lead."""

    scores: tuple[Tensor, ...]
    policy: Policy
    last: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class FTRL:
    """Follow the (generalised) regularised leader."""

    step_size: StepSize = Constant(0.1)
    """gamma: weight of each iteration's values; power(gamma, p, m) is gamma / (t + m)^p."""
    regularizer: Regularizer = ENTROPIC
    """h: entropic, euclidean, tsallis(q) or log-barrier."""
    leader: Literal["plain", "optimistic", "extra-gradient", "generalized"] = "plain"
    """What the leading step knows: nothing, the last values, fresh ones, or a share of the last ones."""
    anticipation: NonNegative = 1.0
    """Share of the last values in the leading step of the generalized leader."""
    feedback: Feedback = Exact()
    """What is known of the payoffs: exact, noisy(scale), realised or bandit(exploration)."""

    watches: ClassVar[tuple[str, ...]] = ("farthest",)
    """What its leaps can see of a target along the way."""

    def __post_init__(self) -> None:
        check(self)

    def cautions(self, game: Any) -> list[str]:
        return self.feedback.cautions(self.step_size)

    @property
    def lead(self) -> Any:
        """The weight of the last values in the leading step."""
        return {"plain": 0.0, "optimistic": 1.0, "extra-gradient": 0.0, "generalized": self.anticipation}[self.leader]

    def init(self, game: Game) -> Leader:
        start = game.start()
        scores = tuple(centred(self.regularizer.scores(x)) for x in start)
        remembered = self.leader in ("optimistic", "generalized")
        return Leader(scores, start, tuple(map(torch.zeros_like, scores)) if remembered else ())

    def step(self, t: int, game: Any, state: Leader, generator: Stream) -> Leader:
        gamma, Q = self.step_size(t), self.regularizer.choose

        def values(policy: Policy) -> Policy:
            return self.feedback(game, policy, 0.0, generator)

        if self.leader == "plain":
            half = state.policy
        elif self.leader == "extra-gradient":
            fresh = values(state.policy)
            half = tuple(Q(y + gamma * v) for y, v in zip(state.scores, fresh, strict=True))
        else:
            half = tuple(Q(y + gamma * self.lead * v) for y, v in zip(state.scores, state.last, strict=True))
        found = values(half)
        scores = tuple(centred(y + gamma * v) for y, v in zip(state.scores, found, strict=True))
        return Leader(scores, tuple(map(Q, scores)), found if state.last else ())

    def prepare(self, game: Any) -> None:
        """Compile or load the loops of `leap` before they are needed."""
        self.leap(0, 1, game, self.init(game), Stream(0))

    def leap(
        self, t: int, until: int, game: Any, state: Leader, generator: Stream, target: Policy | None = None
    ) -> tuple[Any, ...] | None:
        """Many plain steps at once in compiled loops: (state, iteration reached), and with a target what was seen."""
        if self.leader != "plain":
            return None
        landed = lanes.leap(
            game, state.scores, self.regularizer, self.feedback, self.step_size, generator, t, until, target
        )
        if landed is None:
            return None
        after = Leader(landed.scores, landed.policy), landed.reached
        return after if target is None else (*after, landed)
