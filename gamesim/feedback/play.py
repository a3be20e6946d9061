"""Values from play: everyone draws an action, and learns from what was drawn.

    realised    a_i ~ x_i, and each player sees the whole vector      vhat_i[a] = u_i(a; a_-i)
    bandit      a_i ~ xh_i = (1 - eps) x_i + eps / |A_i|, and sees    vhat_i[a] = 1{a_i = a} u_i(a_1..a_N) / xh_i[a]
                its own payoff alone (importance-weighted estimate)

Realised values are unbiased and bounded; the bandit's have a bias of O(eps), since their mean is v_i(xh), and a
variance of O(1/eps). Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, COLT 2021, arXiv 2101.04667.

The draws of a step are the same for every game and hyper-parameter of a batch (common random numbers), and differ by
seed: differences between them are not those of luck.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback.oracle import Feedback, unbiased_cautions
from gamesim.games import Policy
from gamesim.parameters import Bounds, check
from gamesim.randomness import Stream
from gamesim.schedules import Power, Schedule
from gamesim.shapes import broadcast_shapes
from gamesim.simplex import explore

Exploration = Annotated[Schedule, Bounds("a number or schedule above 0 and at most 1", 0, 1, low_open=True)]


@runtime_checkable
class Playable(Protocol):
    """A game that can be played out: choices in, payoffs out; a random answer takes its luck from the generator."""

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        """What each action would have paid against the others' choices, [..., a] for actions[..., player]."""
        ...

    def play(self, actions: Tensor, generator: Stream | None = None) -> Tensor:
        """What the choices paid, [..., player]."""
        ...


@dataclass(frozen=True)
class Realised(Feedback):
    """Everyone draws an action and sees what each of their own would have paid against the others' draws."""

    def require(self, game: Any) -> None:
        _require_playable(game, self)

    def cautions(self, step_size: Schedule) -> list[str]:
        return super().cautions(step_size) + unbiased_cautions(step_size)

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        self.require(game)
        return _checked(game.answers(draw_actions(policy, generator), generator), policy)


@dataclass(frozen=True)
class Bandit(Feedback):
    """Everyone draws an action, sees the payoff of that one alone, and weighs it by its probability."""

    exploration: Exploration = Power(0.5, 0.4)
    """eps: share of the uniform policy in what is played; power(eps, r) falls like t^-r."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"bandit({self.exploration})"

    def require(self, game: Any) -> None:
        _require_playable(game, self)

    def cautions(self, step_size: Schedule) -> list[str]:
        return super().cautions(step_size) + exploring_cautions(step_size, self.exploration)

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        self.require(game)
        epsilon = self.exploration(generator.iteration)
        played = tuple(explore(x, epsilon) for x in policy)
        actions = draw_actions(played, generator)
        payoffs = game.play(actions, generator)
        return tuple(_weighted(x, actions[..., i : i + 1], payoffs[..., i : i + 1]) for i, x in enumerate(played))


def exploring_cautions(step_size: Schedule, exploration: Schedule) -> list[str]:
    """Estimates weighed by 1 / probability have a bias of O(eps) and a variance of O(1 / eps): r > 0 and 2p - r > 1."""
    p, r, found = step_size.decay, exploration.decay, list[str]()
    if r <= 0:
        found.append(
            f"feedback.exploration: {exploration} does not fall, so estimates keep a bias of its size; "
            "take power(scale, r) with r > 0"
        )
    if 2 * p - r <= 1:
        found.append(
            f"step_size: {step_size} with exploration {exploration} has 2p - r = {2 * p - r:g}, not above 1, "
            "so step_size^2 / exploration does not sum and the theorem on convergence does not apply; "
            "p = 0.8, r = 0.4 is inside"
        )
    return found


def draw_actions(policy: Policy, generator: Stream) -> Tensor:
    """a_i ~ x_i[..., a] for every player, by inverse distribution functions: whole numbers [..., player]."""
    batch = broadcast_shapes(*(x.shape[:-1] for x in policy))
    u = generator.quick((*generator.alike(batch), len(policy)), policy[0].dtype, policy[0].device)
    drawn = [(x.cumsum(-1)[..., :-1] <= u[..., i : i + 1]).sum(-1).expand(batch) for i, x in enumerate(policy)]
    return torch.stack(drawn, -1)


def _weighted(played: Tensor, action: Tensor, payoff: Tensor) -> Tensor:
    """1{a_i = a} u_i / xh_i[a]."""
    batch = broadcast_shapes(action.shape[:-1], payoff.shape[:-1])
    played, action = played.expand(*batch, played.shape[-1]), action.expand(*batch, 1)
    weighted = payoff.to(played.dtype) / played.gather(-1, action)
    return torch.zeros_like(played).scatter(-1, action, weighted.expand(*batch, 1))


def _require_playable(game: Any, feedback: Feedback) -> None:
    if not isinstance(game, Playable):
        raise refuse(
            "game",
            type(game).__name__,
            f"one with play(actions) and answers(actions), which feedback={feedback} needs; use exact or noisy",
        )


def _checked(answers: Policy, policy: Policy) -> Policy:
    """The dtype of the policy, and its shape where a game answers fewer dimensions."""
    return tuple(q.to(x.dtype).expand(x.shape) for q, x in zip(answers, policy, strict=True))
