"""The worlds that a call asks for: everything that was given is checked, positions and networks are drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.games import GraphonGame, Policy
from gamesim.games.game import require_policy
from gamesim.graphons import Empirical
from gamesim.parameters import Natural, NonNegative, convert
from gamesim.populations.networks import Network, draw_network
from gamesim.populations.places import Density, Positions, place_agents, require_agents
from gamesim.populations.worlds import Worlds, distinct
from gamesim.randomness import Stream

POSITIONS, EDGES = 2**32 - 1, 2**32 - 2
"""The iterations of the stream that positions and edges are drawn from."""


class Deviation(NamedTuple):
    """One agent at a time plays something else: d deviations, each a world of its own."""

    agents: Sequence[int] | Tensor
    """Who deviates: [d], or [g, d]."""
    policy: Tensor
    """What it plays then: [h, s, a], [d, h, s, a] or [g, d, h, s, a]; [s, a] at all steps."""


def require_play(game: GraphonGame, policy: Policy) -> None:
    """Refuse what is not one graphon game, and what is not its policy."""
    if not isinstance(game, GraphonGame):
        raise refuse("game", type(game).__name__, "a GraphonGame: it says what an agent feels")
    if len(game.shape) != 3:
        raise refuse("game", f"a batch of {type(game).__name__}", "one game: its parameters are numbers, not tensors")
    require_policy(policy, game.start())


def make_worlds(
    game: GraphonGame,
    policy: Policy,
    agents: int | None,
    positions: Positions,
    density: Density,
    network: Network | Any,
    graphs: int,
    seed: int,
    temperature: float,
) -> Worlds:
    """The worlds [p, g] of policies and networks, after everything is checked."""
    require_play(game, policy)
    temperature = float(convert(temperature, NonNegative, "temperature"))
    seed = convert(seed, Natural, "seed")
    seeds = [seed + g for g in range(graphs)]
    known = distinct(game.graphons)
    measured = known[0] if network is None and len(known) == 1 and isinstance(known[0], Empirical) else None
    if measured is not None and (game.graph is not None or agents in (None, len(measured))):
        network = Network.of(measured)
        if agents not in (None, len(network)):
            raise refuse("agents", agents, f"{len(network)}, one for each node of {measured}, or leave it out")
    if network is not None:
        if isinstance(positions, str) and positions != "grid":
            raise refuse("positions", positions, "grid or numbers: the nodes of a given network stand in order")
        network = network if isinstance(network, Network) else Network.of(network)
        if network.starts.dim() > 1 and len(network.starts) not in (1, graphs):
            raise refuse("graphs", graphs, f"{len(network.starts)}, as many as there are networks")
        agents = len(network) if agents is None else agents
        if agents != len(network):
            raise refuse("agents", agents, f"{len(network)}, the agents of the network, or leave it out")
    if agents is None and isinstance(positions, str):
        raise InvalidInput("agents: say how many agents there are; only a measured network knows")
    x = place_agents(positions, agents, Stream(seeds, POSITIONS)).expand(graphs, -1).contiguous()
    n = require_agents(x.shape[-1], least=2)
    if network is not None:
        networks = [network]
    else:
        edges = Stream(seeds, EDGES)
        networks = [draw_network(w, x, density, edges) for w in known]
    pi = policy[0].to(**game.like).flatten(0, -5) if policy[0].dim() > 4 else policy[0].to(**game.like)[None]
    index = torch.cartesian_prod(torch.arange(len(pi)), torch.arange(graphs))
    nobody = torch.full((len(index), 2), -1)
    index = torch.cat([index.flip(-1), nobody], 1)
    worlds = Worlds(game, networks, x, seeds, pi, pi.new_zeros(0, *pi.shape[1:2], *pi.shape[3:]), index, temperature)
    _require_shapes(game, n)
    return worlds


def deviating(worlds: Worlds, deviation: Deviation) -> Worlds:
    """The worlds [p, g, d] in which one agent at a time plays something else."""
    n, graphs = worlds.positions.shape[1], len(worlds.positions)
    who = torch.as_tensor(deviation.agents)
    if who.dim() not in (1, 2) or who.dtype.is_floating_point or not who.numel():
        raise refuse("deviation.agents", f"shape {list(who.shape)} of {who.dtype}", "numbers of agents [d] or [g, d]")
    if who.dim() == 2 and len(who) != graphs:
        raise refuse("deviation.agents", f"shape {list(who.shape)}", f"[{graphs}, d]: as many rows as networks")
    bad = who[(who < 0) | (who >= n)]
    if len(bad):
        raise refuse("deviation.agents", int(bad[0]), f"a number from 0 to {n - 1}")
    who = who.long().expand(graphs, -1)
    d = who.shape[1]
    _, horizon, _, states, actions = worlds.policy.shape
    pi = deviation.policy
    try:
        pi = pi.to(worlds.policy).expand(graphs, d, horizon, states, actions)
    except RuntimeError:
        wanted = f"[{horizon}, {states}, {actions}], with {d} in front, or {graphs} and {d}"
        raise refuse("deviation.policy", f"shape {list(pi.shape)}", wanted) from None
    require_policy((pi,), field="deviation.policy")
    count = len(worlds.index)
    index = worlds.index.repeat_interleave(d, 0)
    g, turn = index[:, 0], torch.arange(d).repeat(count)
    index = torch.stack([g, index[:, 1], who[g, turn], g * d + turn], 1)
    return replace(worlds, deviation=pi.flatten(0, 1).contiguous(), index=index)


def _require_shapes(game: GraphonGame, n: int) -> None:
    """Refuse rewards or transitions that know their positions: agents off the grid have none of those."""
    like = game.initial.to(**game.like)
    z = torch.zeros(1, n, like.shape[-1], **game.like)
    states, actions = game.shape[-2:]
    try:
        game.reward(0, z).expand(1, n, states, actions)
        nobody = torch.zeros(1, n, dtype=torch.int64, device=z.device)
        game.law(0, nobody, nobody, z).expand(1, n, states)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise InvalidInput(
            f"{type(game).__name__}: reward(h, z) and transition(h, z) must take z of any number of agents, "
            f"here [1, {n}, {states}] ({reason})"
        ) from error
