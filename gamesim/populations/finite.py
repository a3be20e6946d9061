"""The game of finitely many agents, played: thousands of episodes, many networks and deviations at once.

    G_i = (1 / (N rho_N)) sum_{j ~ i} delta_{s_j}          what agent i feels, instead of z(x_i)

(see `gamesim.populations.worlds`). Network g is drawn and played with seed + g, so that a batch of networks is one by
one. Cui and Koeppl, ICLR 2022 (dense); Fabian, Cui and Koeppl, AISTATS 2023 (sparse).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.errors import refuse
from gamesim.games import GraphonGame, Policy
from gamesim.parameters import Count, convert
from gamesim.populations.networks import Network
from gamesim.populations.places import Density, Positions
from gamesim.populations.settings import Deviation, deviating, make_worlds, require_play
from gamesim.populations.tallies import Tally, parts
from gamesim.populations.worlds import Worlds

KEPT = 10**9
"""Numbers that may be kept for the caller: 8 GB."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """What agents got: for each policy of a batch (...), each of g networks, and each of d deviations if there are any.

    Where [..., g] is written below, it is [..., g, d] with deviations.
    """

    returns: Tensor
    """[..., g, n]: mean return of each agent."""
    errors: Tensor
    """[..., g, n]: its standard error over episodes; NaN for one episode."""
    mean: Tensor
    """[..., g]: mean over agents of the returns."""
    mean_error: Tensor
    """[..., g]: its standard error. Agents of an episode are not independent: their errors do not average out."""
    population: Tensor
    """[..., g, h, s]: share of agents in each state."""
    cut: Tensor
    """[..., g]: share of agent steps in which an aggregate passed 1 and was cut to it."""
    positions: Tensor
    """float64 [g, n]."""
    networks: tuple[Network, ...]
    """One for each graphon of the game: [g] networks."""
    episodes: int
    """Of each network."""
    flow: Tensor | None = None
    """[..., g, h, n, s]: how often each agent is in each state, if asked for."""
    each: Tensor | None = None
    """[..., g, e, n]: the return of each agent in each episode, if asked for."""
    data: AgentData | None = None
    """The trajectories, if asked for."""

    def __str__(self) -> str:
        """One line, with what was cut, if anything was."""
        whole = f"{self.networks[0]}: {self.episodes} episodes, mean return {float(self.mean.mean()):.4g}"
        cut = float(self.cut.mean())
        return whole + (f"; {100 * cut:.2g}% of the aggregates passed 1 and were cut to it" if cut else "")


def simulate(
    game: GraphonGame,
    policy: Policy,
    *,
    agents: int | None = None,
    episodes: int = 1000,
    positions: Positions = "grid",
    density: Density = 1.0,
    network: Network | Any = None,
    graphs: int = 1,
    seed: int = 0,
    temperature: float = 0.0,
    deviation: Deviation | None = None,
    flow: bool = False,
    each: bool = False,
    record: bool = False,
) -> Simulation:
    """Play the game of finitely many agents with a policy [..., h, k, s, a] on the grid of the game.

    agents:      how many; those of a measured network need not be counted.
    positions:   "grid", (i + 1/2) / N; "random", uniform; "unknown", random and not recorded; or numbers in [0, 1].
    density:     rho_N of the networks that are drawn: a number, a function of N, or "power(1, 0.3)" for N^(-0.3).
    network:     a Network, or a symmetric matrix, in the place of one that is drawn from the graphon. A game with
                 graph=... is played on that graph.
    graphs:      so many networks, drawn and played with seed, seed + 1, ...
    temperature: returns count temperature times the entropy of what is played.
    deviation:   one agent at a time plays something else, against the same luck.
    flow, each, record: keep the law of each agent, the returns of each episode, the trajectories.

    >>> import gamesim as gs
    >>> game = gs.make("graphon/sis", positions=11)
    >>> print(simulate(game, game.start(), agents=200, episodes=100, graphs=3))
    3 networks of 200 agents, mean degree 66.12, density 1: 100 episodes, mean return -23.57
    """
    require_play(game, policy)
    episodes, graphs = convert(episodes, Count, "episodes"), convert(graphs, Count, "graphs")
    if record and (graphs > 1 or policy[0].dim() > 4 or deviation is not None):
        raise refuse("record", record, "one network, one policy and no deviation: a dataset is one game")
    worlds = make_worlds(game, policy, agents, positions, density, network, graphs, seed, temperature)
    batch: tuple[int, ...] = (*policy[0].shape[:-4], graphs)
    if deviation is not None:
        worlds = deviating(worlds, deviation)
        batch = (*batch, len(worlds.index) // len(worlds.policy) // graphs)
    n, horizon, states = worlds.positions.shape[1], game.horizon, worlds.policy.shape[-2]
    for name, wanted, size in (("record", record, 3 * episodes * horizon), ("each", each, episodes),
                               ("flow", flow, horizon * states)):  # fmt: skip
        if wanted and len(worlds.index) * n * size > KEPT:
            raise refuse(name, f"{len(worlds.index) * n * size:.2g} numbers", f"at most {KEPT:.0g} to be kept")
    tallies = list[Tally]()
    for some, at_once in parts(worlds, episodes, record=record):
        tallies.append(Tally())
        for first in range(0, episodes, at_once):
            chunk = some.play(first, min(at_once, episodes - first), flow=flow, record=record)
            tallies[-1].add(chunk, each=each, record=record)

    def whole(pieces: list[Tensor]) -> Tensor:
        found: Tensor = torch.cat(pieces).unflatten(0, batch)
        return found

    return Simulation(
        returns=whole([t.agents.mean for t in tallies]),
        errors=whole([t.agents.variance.sqrt() for t in tallies]),
        mean=whole([t.crowd.mean for t in tallies]),
        mean_error=whole([t.crowd.variance.sqrt() for t in tallies]),
        population=whole([t.population for t in tallies]).to(worlds.policy) / (episodes * n),
        cut=whole([t.above for t in tallies]).to(worlds.policy) / (episodes * n * horizon),
        positions=worlds.positions,
        networks=tuple(worlds.networks),
        episodes=episodes,
        flow=whole([t.flow for t in tallies]).to(worlds.policy) / episodes if flow else None,
        each=whole([torch.cat(t.each, 1) for t in tallies]) if each else None,
        data=_recorded(game, tallies[0], worlds, positions, seed) if record else None,
    )


def _recorded(game: GraphonGame, tally: Tally, worlds: Worlds, positions: Positions, seed: int) -> AgentData:
    states, actions, rewards = (
        torch.cat([part[0] for part in some])
        for some in zip(*((c.states, c.actions, c.rewards) for c in tally.chunks), strict=True)
    )
    return AgentData(
        states[:, :-1],
        actions,
        rewards,
        states[:, 1:],
        positions=None if isinstance(positions, str) and positions == "unknown" else worlds.positions[0],
        state_count=game.shape[-2],
        action_count=game.shape[-1],
        state_names=game.state_names,
        action_names=game.action_names,
        source=f"{type(game).__name__}, {worlds.networks[0]}, seed {seed}",
    )
