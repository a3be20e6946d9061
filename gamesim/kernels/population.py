"""Finitely many agents in compiled loops: stands in for `plain_play` of gamesim.populations.plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gamesim.kernels import allowed, plain

if TYPE_CHECKING:
    from gamesim.populations.worlds import Worlds


def serves(worlds: Worlds) -> bool:
    """Whether the loops can play: a game with row functions, in float64 on a CPU, with one graphon for all steps."""
    return allowed() and plain(worlds.policy) and worlds.game.plan is not None


def play(
    worlds: Worlds, first: int, episodes: int, flow: bool, watch: Tensor, record: bool
) -> tuple[Tensor | float, ...]:
    """The parts of a Chunk."""
    from gamesim.kernels import population_loops

    game, network = worlds.game, worlds.networks[0]
    plan = game.plan
    assert plan is not None, "ask serves() first"
    horizon, _, states, actions = plan.shape
    count, n = len(worlds.index), len(network)
    keys, iteration, _ = worlds.streams.take()

    def empty(*shape: int, dtype: Any = np.float64, when: bool = True) -> Any:
        return np.zeros(shape if when else (0,) * len(shape), dtype)

    returns, population = np.empty((count, episodes, n)), empty(count, horizon, states, dtype=np.int64)
    laws = empty(count, horizon, n, states, dtype=np.int64, when=flow)
    felt = np.empty((count, episodes, horizon, watch.shape[1], states))
    stood = np.empty((count, episodes, horizon, watch.shape[1]), np.int64)
    ever = empty(count, episodes, horizon + 1, n, dtype=np.int32, when=record)
    taken = empty(count, episodes, horizon, n, dtype=np.int32, when=record)
    paid = empty(count, episodes, horizon, n, when=record)
    above, lowest = empty(count, dtype=np.int64), empty(1)
    deviation = worlds.deviation if len(worlds.deviation) else worlds.policy.new_ones(1, horizon, states, actions)
    several = network.starts.dim() > 1 and len(network.starts) > 1
    which = worlds.index[:, :1] * int(several)
    initial = torch.from_numpy(plan.initial)
    initial = initial[:1] if bool((initial == initial[:1]).all()) else initial
    weights = torch.zeros(0, dtype=torch.float64) if network.weights is None else network.weights
    given = (
        *(network.starts.view(-1, n + 1), network.neighbours, weights),
        1 / (n * network.density),
        *(game.normalize, game.clip, game.z_is_probability and not game.normalize),
        *(worlds.index, keys, which.expand(-1, horizon), worlds.where, watch),
        *(
            _below(initial),
            _below(worlds.policy),
            worlds.bonus,
            _below(deviation),
            worlds.deviation_bonus,
            worlds.value,
        ),
    )
    arrays = [x.contiguous().numpy() if isinstance(x, Tensor) else x for x in given]
    rows = (plan.rows.reward, plan.rows.expect, plan.rows.push)
    addresses = (*(row.address for row in rows), plan.parameters, plan.dynamics)
    out = (returns, population, laws, felt, stood, ever, taken, paid, above)
    population_loops.simulate(*addresses, *arrays, iteration, first, *out, lowest)
    return (*map(torch.from_numpy, out), float(lowest[0]))


def _below(law: Tensor) -> Tensor:
    """The running sums of a law[..., o], without the last."""
    return law.cumsum(-1)[..., :-1]
