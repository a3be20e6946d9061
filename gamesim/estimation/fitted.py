"""A graphon game that was learned from agents: every solver runs on it as on any other.

    z_h(x) = int W(x, y) mu_h(y) dy     with the graphon that was learned
    P(t | s, a, z), r(s, a, z)          the response that was learned, its laws kept on the simplex
    mu_0                                the mean of the agents' first states

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531: the
equilibrium of the estimated game is played in the true one.
"""

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, final

from torch import Tensor

from gamesim.data import AgentData
from gamesim.errors import refuse
from gamesim.estimation.estimate import Estimate
from gamesim.estimation.learning import Learner
from gamesim.estimation.responses import Rescaled
from gamesim.estimation.storage import load_estimate
from gamesim.formats.agents import read_agents
from gamesim.games import GraphonGame, Policy
from gamesim.graphons import Graphon, Grid, UniformAttachment
from gamesim.parameters import Natural, build, check
from gamesim.simplex import project


@final
@dataclass(frozen=True, kw_only=True)
class FittedGame(GraphonGame):
    """The game that sampled agents seem to play."""

    data: str | AgentData | Estimate
    """A file of sampled agents (.npz, .csv), or what `gamesim fit` wrote (.json)."""
    learn: Learner = Learner()
    """What is assumed: learn.graphon, learn.law, learn.positions, ... (see `gamesim fit --help`)."""
    horizon: Natural = 0
    """Number of decision steps; 0: as many as the data have."""
    graphon: Graphon | tuple[Graphon, ...] = field(init=False, default=UniformAttachment())
    graph: str | None = field(init=False, default=None)
    blocks: int | None = field(init=False, default=None)
    normalize: bool = field(init=False, default=False)
    clip: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        check(self)
        found = self.estimate
        learned = {"graphon": found.graphon, "normalize": found.normalize, "horizon": self.horizon or found.horizon}
        for name, value in (learned | {"state_names": found.states, "action_names": found.actions}).items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @cached_property
    def estimate(self) -> Estimate:
        """What was learned, or read."""
        found = self.data
        if isinstance(found, str):
            path = Path(found)
            found = load_estimate(path) if path.suffix == ".json" else read_agents(path)
        if isinstance(found, AgentData):
            return self.learn.learn(found)
        if self.learn != Learner():
            raise refuse("learn", self.learn, "agents to learn from: these data are an estimate already")
        return found

    def plain(self) -> dict[str, Any]:
        """What a run's configuration says: with what was learned, not only the name of a file that may change."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        kind = f"{type(self).__module__}:{type(self).__qualname__}"
        return {"kind": kind, **given, "data": self.estimate.plain() | {"file": str(self.data)[:200]}}

    @cached_property
    def grid(self) -> Grid:
        """One position per block where the graphon has blocks and no number of positions was asked for."""
        assert isinstance(self.graphon, Graphon)
        stepped = self.positions is None and self.graphon.blocks() is not None
        return self.graphon.grid("block" if stepped else self.quadrature, self.positions, **self.like)

    @cached_property
    def response(self) -> Rescaled:
        return self.estimate.response.on(self.like)

    @property
    def initial(self) -> Tensor:
        return self.estimate.initial.to(**self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.response.reward(0, z)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return project(self.response.transition(0, z))

    def carried(self, policy: Policy, game: GraphonGame, places: Tensor | None = None) -> Policy:
        """A policy of this game for the positions of another; places[k] stand for them here (left out: the same)."""
        if game.shape[-2:] != self.shape[-2:] or game.horizon != self.horizon:
            mine, other = (f"{g.shape[-2]} states, {g.shape[-1]} actions, {g.horizon} steps" for g in (self, game))
            raise refuse("game", other, mine)
        return self.at(policy, game.grid.positions if places is None else places)


def fit_game(data: AgentData | str | Path, **assumptions: Any) -> FittedGame:
    """The game that sampled agents seem to play; its `estimate` says what was found and how surely.

    data: sampled agents, or a file of them. assumptions: those of `Learner`, as objects or as text:
    fit_game(data, graphon="blocks(2)", positions="labels", law="graphon/sis").
    """
    learner = build(Learner, assumptions, what="fit_game")
    if isinstance(data, AgentData):  # learned at once, not again with every other horizon or grid
        return FittedGame(data=learner.learn(data))
    return FittedGame(data=str(data), learn=learner)
