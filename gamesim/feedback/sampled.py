"""Values of a graphon game from sampled play: fitted Q iteration at sampled positions."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.feedback import draws, fitted
from gamesim.feedback.features import Features, Linear, Tabular
from gamesim.feedback.fitted import Estimate
from gamesim.feedback.oracle import Feedback
from gamesim.games import GraphonGame, Policy
from gamesim.parameters import LARGEST, Bounds, check
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Schedule
from gamesim.shapes import broadcast_shapes
from gamesim.simplex import entropy, explore, per_state


class _Several(Bounds):
    """How many at each iteration: a number is whole, a schedule is rounded up, and neither is a batch."""

    def __contains__(self, value: object) -> bool:
        if isinstance(value, Constant) and not (isinstance(value.value, float | int) and value.value % 1 == 0):
            return False
        return not isinstance(value, Tensor) and super().__contains__(value)


Several = Annotated[
    Schedule, _Several("a whole number from 1 to 1,000,000,000, or a schedule above 0", 0, LARGEST, low_open=True)
]
Share = Annotated[float, Bounds("a number above 0 and at most 1", 0, 1, low_open=True)]
Ridge = Annotated[float, Bounds("a number from 1e-9 to 1e9", 1e-9, 1e9)]
TABULAR = Tabular()


@dataclass(frozen=True)
class Sampled(Feedback):
    """Values estimated from play: fitted Q iteration at sampled positions (`gamesim.feedback.fitted`)."""

    positions: Several = Constant(10.0)
    """N: sampled positions; a number, or a schedule of the iteration, rounded up."""
    episodes: Several = Constant(100.0)
    """K: episodes for each position, or draws of each (s, a) of a generative model; a number or a schedule."""
    features: Features = TABULAR
    """What values may depend on: tabular, legendre(degree), or in Python a function of (x, s, a)."""
    model: Literal["episodes", "generative"] = "episodes"
    """Play whole episodes, or draw next states of every state and action at every step."""
    behaviour: Share = 1.0
    """Share of the uniform policy in what the sampled agents play; the rest is the current policy."""
    placing: Literal["random", "grid"] = "random"
    """Positions uniform at random, fresh at each iteration, or the midpoints of N equal cells."""
    rewards: Literal["known", "observed"] = "known"
    """Whether the reward function is known; if not, what was not visited has the mean of what was."""
    ridge: Ridge = 1e-3
    """Weight of the ridge of linear features, in samples; tabular has none."""

    def __post_init__(self) -> None:
        check(self)
        first = self._sizes(0)
        if math.prod(first) > LARGEST:
            raise refuse("episodes", self.episodes, f"at most {LARGEST // first[0]} with positions {self.positions}")

    def __str__(self) -> str:
        size = [f"{s.value:.12g}" if isinstance(s, Constant) else str(s) for s in (self.positions, self.episodes)]
        rest = [f for f in dataclasses.fields(self)[2:] if getattr(self, f.name) != f.default]
        return f"sampled({', '.join([*size, *(f'{f.name}={getattr(self, f.name)}' for f in rest)])})"

    def _sizes(self, t: int) -> tuple[int, int]:
        """(N, K) at an iteration."""

        def whole(schedule: Schedule) -> int:
            return math.ceil(float(schedule(t)) * (1 - 1e-12))  # 10.000000000000002 is ten

        return whole(self.positions), whole(self.episodes)

    def require(self, game: Any) -> None:
        if not isinstance(game, GraphonGame):
            raise refuse("game", type(game).__name__, "a GraphonGame, which feedback=sampled needs; use exact or noisy")

    def __call__(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Policy:
        return (self.estimate(game, policy, temperature, generator, flow).q,)

    def estimate(
        self, game: Any, policy: Policy, temperature: Any, generator: Stream, flow: Tensor | None = None
    ) -> Estimate:
        """The values, the positions they were sampled at, and how often each state and action was visited there."""
        self.require(game)
        flow = game.flow(policy) if flow is None else flow
        batch = broadcast_shapes(policy[0].shape[:-4], flow.shape[:-3], game.shape[:-3])
        pi = policy[0].expand(*batch, *policy[0].shape[-4:])
        agents, episodes = self._sizes(generator.iteration)
        sizes = (episodes * game.horizon, len(game.grid), math.prod(game.shape[-2:]) * game.shape[-2])
        if (numbers := math.prod(batch) * agents * max(sizes)) > LARGEST:
            raise refuse("feedback", self, f"fewer positions, episodes or seeds: {numbers:.1e} numbers in an iteration")

        x = self._place(agents, batch, game, generator)
        z = game.felt(flow, x)
        near = draws.nearest(game.grid.positions, x)
        nearby = torch.take_along_dim(pi, near[..., None, :, None, None], -3)
        if self.model == "generative":
            counts = draws.draw_transitions(game, z, batch, episodes, generator)
        else:
            law = game.initial.to(**game.like).expand(*batch, *pi.shape[-3:-1])
            initial = torch.take_along_dim(law, near[..., None], -2)
            counts = draws.play_episodes(game, z, explore(nearby, self.behaviour), initial, episodes, generator)

        known = self.rewards == "known"
        if isinstance(self.features, Linear):
            grid_z = game.aggregate(flow)
            fit = fitted.by_features(game, x, z, grid_z, known, self.features, self.ridge)
        else:
            fit = fitted.by_cells(game, x, z, known)
        bonus = (per_state(temperature) * entropy(pi)).expand(pi.shape[:-1])
        bonus = torch.take_along_dim(bonus, near[..., None, :, None], -2)
        q, visits = fitted.fitted_values(game.horizon, counts, nearby.double(), bonus.double(), fit)
        return Estimate(q.to(pi.dtype), x, visits)

    def _place(self, agents: int, batch: tuple[int, ...], game: GraphonGame, generator: Stream) -> Tensor:
        """x[..., n], increasing."""
        shape = (*batch, agents)
        if self.placing == "grid":
            return ((torch.arange(agents, **game.like) + 0.5) / agents).expand(shape)
        return generator.uniform(shape, game.like["dtype"], game.device).sort(-1).values
