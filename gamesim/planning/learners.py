"""Solvers in the seat of a repeated matrix game: they learn from every round as they always do.

Their game is one of one player whose payoffs u(., b_t) are those against what the other played:

    exact, realised feedback               they see the whole vector u(., b_t)
    bandit, reinforce, bandit solvers      their own payoff alone

Their step is a pure function, so it is asked twice with the same luck: once to see what it plays, and, once the other
has played, to learn.
"""

from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback import draw_actions
from gamesim.games import DenseGame, Episodes, EpisodicGame, Game, Policy, TabularGame
from gamesim.games.bandit import BanditGame
from gamesim.planning.seats import Seat
from gamesim.randomness import Stream


@final
@dataclass(frozen=True)
class Learner:
    """A solver that learns from every round, whatever it knows of games."""

    name: str
    solver: Any

    def seated(self, game: DenseGame) -> Seat:
        family = getattr(self.solver, "requires", Game)
        of_states = family is EpisodicGame
        seat = _Learner(self.solver, game.payoffs[0].double(), of_states)
        view = seat.facing(torch.zeros(1, dtype=torch.long))
        if not isinstance(view, family):
            needs = getattr(family, "__name__", str(family))
            raise refuse("entrant", self.name, f"a solver that learns from what was played; it needs a {needs}")
        require = getattr(getattr(self.solver, "feedback", None), "require", None)
        if callable(require):
            require(view)
        if (
            getattr(getattr(self.solver, "feedback", None), "episodes", 1) != 1
            or getattr(self.solver, "episodes", 1) != 1
        ):
            raise refuse("entrant", self.name, f"{self.name} with episodes=1: a round is one episode")
        return seat


@dataclass(frozen=True)
class _Learner(Seat):
    solver: Any
    payoffs: Tensor
    of_states: bool

    def facing(self, other: Tensor) -> "_Facing | _OneState":
        """The game of one player against what the other plays."""
        kind = _OneState if self.of_states else _Facing
        return kind(self.payoffs.mT[other], (float(self.payoffs.min()), float(self.payoffs.max())))

    def begin(self, front: tuple[int, ...]) -> Any:
        return self.solver.init(self.facing(torch.zeros(front, dtype=torch.long)))

    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        (policy,) = state.policy
        batch = policy.shape[: -2 if self.of_states else -1]
        probe = self.facing(torch.zeros(batch, dtype=torch.long))
        self.solver.step(t, probe, state, generator.aside())
        if probe.played:
            return probe.played[-1]
        (asked,) = probe.asked[-1] if probe.asked else (policy,)
        found: Tensor = draw_actions((asked.reshape(*batch, -1),), generator)[..., 0]
        return found

    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        return self.solver.step(t, self.facing(other), state, generator.aside())


@dataclass(eq=False)
class _Facing(BanditGame):
    """Arms that pay u(., b) for what the other plays, and a note of what was asked for."""

    column: Tensor
    """u(., b), [..., a]."""
    bounds: tuple[float, float] = (0.0, 1.0)
    asked: list[Policy] = field(default_factory=list)
    """Policies whose values were asked for."""
    played: list[Tensor] = field(default_factory=list)
    """Actions that were drawn, [...]."""

    def mean_rewards(self, t: int) -> Tensor:
        return self.column

    def paid(self, u: Tensor, t: int) -> Tensor:
        return self.column

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        self.asked.append(policy)
        return super().feedback(policy, temperature)

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        self.played.append(actions[..., 0])
        return (self.column.expand(*actions.shape[:-1], self.column.shape[-1]),)


@dataclass(eq=False)
class _OneState(TabularGame):
    """The same for solvers of games with states: one of them, and play stops."""

    column: Tensor
    bounds: tuple[float, float] = (0.0, 1.0)
    asked: list[Policy] = field(default_factory=list)
    played: list[Tensor] = field(default_factory=list)
    player_count = 1

    @property
    def reward(self) -> Tensor:
        return self.column[..., None, None, :]

    @property
    def transition(self) -> Tensor:
        return torch.zeros(1, self.column.shape[-1], 1, dtype=self.column.dtype)

    @property
    def initial(self) -> Tensor:
        return torch.ones(1, dtype=self.column.dtype)

    def gradients(self, policy: Policy) -> Policy:
        self.asked.append(policy)
        return super().gradients(policy)

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        self.asked.append(policy)
        return super().feedback(policy, temperature)

    def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Episodes:
        found = super().rollout(policy, episodes, generator)
        self.played.append(found.actions[..., 0, 0, 0])
        return found
