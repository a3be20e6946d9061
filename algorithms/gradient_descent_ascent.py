"""Gradient descent ascent: everyone follows their own gradient and is put back into their own set.

    simultaneous    x' = P(x - gamma_t (F(x) + U_t))
    alternating     the same player by player, each seeing where those before have just gone

U_t is the error of the feedback. Exact steps converge where F is strongly monotone with mu and Lipschitz with L and
gamma < 2 mu / L^2. In spite of errors decreasing steps converge; with constant ones the iterates do not, their law
does, and averages of them have a bias of the order of the step (`gamesim.ergodic`). Where F is monotone only, as in a
zero-sum game, simultaneous steps move away from the solution and alternating ones circle it: extragradient is for that.

Vlatakis-Gkaragkounis, Giannou, Chen and Xie, "Stochastic methods in variational inequalities: ergodicity, bias and
refinements", AISTATS 2024; alternation: Zhang, Wang, Lessard and Grosse, AISTATS 2022.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gamesim.feedback import Exact, Feedback
from gamesim.games.operators import assumption_cautions
from gamesim.games.variational import VariationalInequality
from gamesim.parameters import check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, StepSize
from gamesim.states import Played


@dataclass(frozen=True)
class GradientDescentAscent:
    """Projected gradient steps of all players, SGDA with a noisy feedback."""

    step_size: StepSize = Constant(0.1)
    """gamma: a number, or power(gamma, p, m) for gamma / (t + m)^p."""
    order: Literal["simultaneous", "alternating"] = "simultaneous"
    """Whether all players move at once or one after the other."""
    feedback: Feedback = Exact()
    """What is known of the operator: exact, or noisy(scale); realised or bandit for a game of actions."""

    requires: ClassVar[type] = VariationalInequality

    def __post_init__(self) -> None:
        check(self)

    def cautions(self, game: Any) -> list[str]:
        L, mu = getattr(game, "lipschitz", None), getattr(game, "mu", None)
        limit = (2 * mu / L**2 if mu else 1 / L) if L else None
        found = assumption_cautions(game, self.step_size, limit, noisy=not isinstance(self.feedback, Exact))
        if getattr(game, "monotone", None) and not mu:
            found.append(
                "solver: the operator is monotone but not known to be strongly so: gradient steps need not converge, "
                "extragradient does"
            )
        return found

    def init(self, game: Any) -> Played:
        return Played(game.start())

    def step(self, t: int, game: Any, state: Played, generator: Stream) -> Played:
        gamma, x = self.step_size(t), state.policy
        if self.order == "simultaneous":
            ascent = self.feedback(game, x, 0.0, generator)
            return Played(game.project(tuple(a + gamma * v for a, v in zip(x, ascent, strict=True))))
        for i in range(len(x)):
            ascent = self.feedback(game, x, 0.0, generator)
            x = game.project((*x[:i], x[i] + gamma * ascent[i], *x[i + 1 :]))
        return Played(x)
