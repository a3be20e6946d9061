"""Offline problems by tables of multisets: what exact solvers take.

Data come from a law nu of (S, A); the truth is known to the measures alone. A policy is one tensor [..., s, a]: the
probability of each play in each joint state, 0 for plays that a state does not have.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import Policy, require_policy
from gamesim.offline.exact.counted import Crowd
from gamesim.offline.exact.pairs import features
from gamesim.offline.exact.tables import optimum, state_values
from gamesim.offline.exact.version_space import LinearClass, TabularClass, Visits

Functions = Literal["tables", "pairs"]


class CountedTask(ABC):
    """A homogeneous Markov decision process of exchangeable agents, with data."""

    if TYPE_CHECKING:

        @property
        def discount(self) -> float:
            """Weight of the next step."""

    @property
    @abstractmethod
    def crowd(self) -> Crowd:
        """Which states and plays there are."""

    @property
    @abstractmethod
    def reward(self) -> Tensor:
        """r[s, a], in [0, 1]; 0 where there is no such play."""

    @property
    @abstractmethod
    def law(self) -> Tensor:
        """P(t | s, a)[s, a, t]."""

    @property
    @abstractmethod
    def initial(self) -> Tensor:
        """The law of S0, [s]."""

    @property
    @abstractmethod
    def data(self) -> Visits:
        """What was seen."""

    @cached_property
    def shares(self) -> Tensor:
        """m_x / N of each play, [s, a, x]."""
        return self.crowd.plays.double() / self.crowd.agents

    def functions(self, kind: Functions) -> TabularClass | LinearClass:
        """The class F of functions: all tables, or those quadratic in the shares of agents, as many for every N."""
        if kind == "tables":
            return TabularClass(self.data)
        phi = torch.where(self.crowd.possible[..., None], features(self.shares), 0.0)
        return LinearClass(self.data, phi)

    def start(self) -> Policy:
        """Everyone does anything, independently."""
        z, u = self.crowd.local_states, self.crowd.local_actions
        return (self.crowd.acting(torch.full((1, z, u), 1 / u, dtype=torch.float64)),)

    def require(self, point: Any, field: str = "policy") -> None:
        """Refuse what is no law over the plays of each state."""
        require_policy(point, (self.reward,), field)
        outside = (point[0] > 0) & ~self.crowd.possible
        if bool(outside.any()):
            index = outside.nonzero()[0].tolist()
            raise refuse(f"{field}[0]{index}", float(point[0][tuple(index)]), "0: this state has no such play")

    def returns(self, policy: Policy) -> Tensor:
        """J(pi)[...], the discounted reward from S0 on."""
        return (self.initial * state_values(policy[0], self.reward, self.law, self.discount)).sum(-1)

    @cached_property
    def best(self) -> tuple[Tensor, Tensor]:
        """An optimal policy [s, a], and its J."""
        policy, values = optimum(self.crowd.possible, self.reward, self.law, self.discount)
        return policy, (self.initial * values).sum(-1)

    def metrics(self, policy: Policy) -> dict[str, Tensor]:
        """J(pi*) - J(pi) over all invariant policies, and J(pi)."""
        returns = self.returns(policy)
        return {"suboptimality": (self.best[1] - returns).clamp(min=0), "return": returns}
