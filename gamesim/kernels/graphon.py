"""Flow, values and gains of a GraphonGame in compiled loops, if the game offers row functions (gamesim.kernels.rows).

Each function stands in for the lines of torch below its call in gamesim.games.graphon. Torch plays a game without row
functions, and whatever is to be differentiated, on a GPU or in float32, a batch of games, and a W that varies with h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gamesim.graphons.operators import Dense, LowRank, Operator, PrefixSum, Sparse, Step
from gamesim.kernels import allowed, plain
from gamesim.kernels.rows import Rows
from gamesim.shapes import broadcast_shapes

if TYPE_CHECKING:
    from gamesim.games.graphon import GraphonGame


@dataclass(frozen=True)
class Plan:
    """All that the loops need of a game, found once."""

    rows: Rows
    shape: tuple[int, ...]
    """(h, k, s, a)."""
    parameters: Any
    dynamics: Any
    """The parameters of expect and push: the same, or the entries (s, a, t, P) of a table."""
    operator: tuple[Any, ...]
    initial: Any
    """mu_0[k, s]."""


def plan(game: GraphonGame) -> Plan | None:
    """What the loops need of a game, or None where they cannot play it."""
    rows = game.rows()
    felt = _operator(game.operators[0])
    if rows is None or felt is None or len(game.operators) > 1 or len(game.shape) != 3:
        return None
    nothing = torch.zeros(0, dtype=torch.float64)
    kind, tables, indices = felt
    degree = game.degrees[0].flatten() if game.normalize else nothing
    initial = game.initial.to(**game.like).expand(game.shape[:-1])
    given = [torch.as_tensor(x, dtype=torch.float64).flatten() for x in rows.parameters]
    P = nothing if rows.transition is None else rows.transition
    if not all(plain(x) for x in (initial, *given, P, degree, *tables)):
        return None
    parameters = torch.cat([nothing, *given]).numpy()
    entries = torch.cat([P.nonzero().to(P), P[P != 0][:, None]], 1).flatten().numpy()
    arrays = [x.contiguous().numpy() for x in (*tables, *indices, degree)]
    dynamics = parameters if rows.transition is None else entries
    operator = (kind, *arrays, game.clip)
    return Plan(rows, (game.horizon, *game.shape), parameters, dynamics, operator, initial.contiguous().numpy())


def _operator(operator: Operator) -> tuple[int, tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """The number of an operator in the loops, its tables and its indices, two each; None for a batch of operators."""
    empty, none = torch.zeros(0, 0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    match operator:
        case Dense(matrix) if matrix.dim() == 2:
            return 0, (matrix, empty), (none, none)
        case LowRank(left, right) if left.dim() == right.dim() == 2:
            return 1, (right, left.mT), (none, none)
        case PrefixSum(rising, falling, weights) if rising.dim() == falling.dim() == 1:
            return 2, (torch.stack([rising, weights]), falling[None]), (none, none)
        case Step(values, block, weights) if values.dim() == 2:
            return 3, (values, weights[None]), (block, none)
        case Sparse(matrix) if matrix.dim() == 2:
            return 4, (matrix.values()[None], empty), (matrix.col_indices().long(), matrix.crow_indices().long())
    return None


def serves(game: GraphonGame, policy: Tensor | None, *flows: Tensor | None, temperature: Any = 0.0) -> bool:
    """Whether the loops may stand in for torch on a policy[..., h, k, s, a] and flows or aggregates[..., h, k, s]."""
    return (
        allowed()
        and isinstance(temperature, float | int)
        and all(x is None or plain(x) for x in (policy, *flows))
        and (plan := game.plan) is not None
        and (policy is None or policy.shape[-4:] == plan.shape)  # the loops trust these
        and all(flow is None or flow.shape[-3:] == plan.shape[:-1] for flow in flows)
    )


def _plan(game: GraphonGame) -> Plan:
    assert game.plan is not None, "ask serves() first"
    return game.plan


def _batch(*tensors: tuple[Tensor | None, int]) -> tuple[torch.Size, list[Any]]:
    """What b stands for, and arrays with one batch dimension, [..., own] -> [b, own], copied only if need be."""
    shapes = [x.shape[:-own] for x, own in tensors if x is not None]
    batch = broadcast_shapes(*shapes) if any(shapes) else torch.Size()
    arrays = []
    for x, own in tensors:
        if x is None:
            arrays.append(np.empty((0,) * (own + 1)))
        elif not batch:
            arrays.append(x.numpy()[None])
        else:
            arrays.append(x.expand(*batch, *x.shape[-own:]).reshape(batch.numel(), *x.shape[-own:]).numpy())
    return batch, arrays


def _new(batch: torch.Size, own: tuple[int, ...]) -> tuple[Tensor, Any]:
    """An empty tensor[..., own] and the array [b, own] it shares its memory with."""
    out = np.empty((batch.numel(), *own))
    return torch.from_numpy(out).view(*batch, *own), out


def prepare(game: GraphonGame) -> None:
    """Compile or load the loops and the row functions of a game."""
    from gamesim.kernels import loops

    rows = _plan(game).rows
    assert loops.values
    for row in (rows.reward, rows.expect, rows.push):
        assert row.address


def aggregate(game: GraphonGame, flow: Tensor) -> Tensor:
    """z of a flow[..., h, k, s] -> [..., h, k, s]: the answer is the only thing made of the size of a flow."""
    from gamesim.kernels import loops

    plan = _plan(game)
    batch, (mass,) = _batch((flow, 3))
    found, out = _new(batch, plan.shape[:-1])
    loops.aggregate(*plan.operator, mass, out)
    return found


def flow(game: GraphonGame, pi: Tensor, z: Tensor | None) -> Tensor:
    """The flow of pi[..., h, k, s, a] in aggregates z[..., h, k, s], or in its own: [..., h, k, s]."""
    return _flow(game, pi, z, keep=False)[0]


def play(game: GraphonGame, pi: Tensor) -> tuple[Tensor, Tensor]:
    """The flow of pi[..., h, k, s, a] and the aggregates met on the way, both [..., h, k, s]."""
    return _flow(game, pi, None, keep=True)


def _flow(game: GraphonGame, pi: Tensor, z: Tensor | None, keep: bool) -> tuple[Tensor, Tensor]:
    from gamesim.kernels import loops

    plan = _plan(game)
    batch, (policy, given) = _batch((pi, 4), (z, 3))
    (found, out), (felt, z_out) = _new(batch, plan.shape[:-1]), _new(batch, plan.shape[:-1] if keep else (0, 0, 0))
    dynamics = (plan.rows.push.address, plan.dynamics, *plan.operator, plan.initial)
    loops.flow(*dynamics, policy, given, z is not None, out, z_out, keep)
    return found, felt


def values(game: GraphonGame, z: Tensor, policy: Tensor | None, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    """Q[..., h, k, s, a] and V[..., h, k, s] in aggregates z[..., h, k, s], of a policy or of the best response."""
    from gamesim.kernels import loops

    plan = _plan(game)
    batch, (felt, followed) = _batch((z, 3), (policy, 4))
    (q, q_out), (v, v_out) = _new(batch, plan.shape), _new(batch, plan.shape[:-1])
    functions = (plan.rows.reward.address, plan.parameters, plan.rows.expect.address, plan.dynamics)
    loops.values(*functions, felt, followed, policy is not None, float(temperature), q_out, v_out)
    return q, v


def gains(game: GraphonGame, z: Tensor, own: Tensor, policy: Tensor, temperature: float | Tensor) -> Tensor:
    """sum_h E_own[regret of the policy against Q*_h] in aggregates z: [..., h, k, s], [..., h, k, s, a] -> [..., k]."""
    from gamesim.kernels import loops

    plan = _plan(game)
    batch, (felt, mass, played) = _batch((z, 3), (own, 3), (policy, 4))
    found, out = _new(batch, plan.shape[1:2])
    functions = (plan.rows.reward.address, plan.parameters, plan.rows.expect.address, plan.dynamics)
    loops.gains(*functions, felt, mass, played, float(temperature), out)
    return found
