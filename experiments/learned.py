"""What the experiments on unknown graphons share: games learned from agents, and their policies in the true game."""

from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms import PolicyMirrorDescent
from gamesim.data import AgentData
from gamesim.estimation import Estimate, FittedGame, Learner
from gamesim.games import GraphonGame, Policy
from gamesim.loop import solve
from gamesim.parameters import build
from gamesim.schedules import Constant

ITERATIONS, POSITIONS = 60, 30


def equilibrium(game: GraphonGame, temperature: float, step: float = 0.3) -> Policy:
    """The regularised equilibrium, by mirror descent."""
    solver = PolicyMirrorDescent(Constant(step / temperature), temperature)
    return solve(game, solver, iterations=ITERATIONS, every=ITERATIONS).policy


def places(game: GraphonGame, seats: Tensor, estimate: Estimate) -> Tensor:
    """Where in the learned game the positions of the true one belong: with the nearest agent, seats[n] being the true
    positions of those that were sampled; where the true graphon has blocks, with the nearest one of the same block."""
    x = game.grid.positions
    distance = (x[:, None] - seats).abs()
    blocks = game.graphons[0].blocks()
    if blocks is not None:
        of_x, of_seat = (torch.searchsorted(blocks[1].to(x), at.contiguous(), right=True) for at in (x, seats))
        distance = distance + 2 * (of_x[:, None] != of_seat)
    return estimate.positions[distance.argmin(-1)]


def learned_gap(game: GraphonGame, data: AgentData, temperature: float, **assumptions: Any) -> tuple[float, FittedGame]:
    """The regularised exploitability, in the true game, of the equilibrium of the game learned without positions."""
    assert data.positions is not None
    estimate = build(Learner, assumptions).learn(data.without_positions())
    stepped = estimate.graphon.blocks() is not None
    learned = FittedGame(data=estimate, positions=None if stepped else POSITIONS)
    policy = learned.carried(equilibrium(learned, temperature), game, places(game, data.positions, estimate))
    return float(game.exploitability(policy, temperature)), learned
