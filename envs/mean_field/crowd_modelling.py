"""Crowd modelling: walk on a grid of cells, away from the crowd.

States are the free cells (x, y) of an n x n torus in the order of x n + y; actions 0..4 move by (0, -1), (-1, 0),
(0, 0), (1, 0), (0, 1). After the move, with chance `noise`, one more: uniformly among those that hit no wall.

    open        r_h(s, a, z) = near(x) + near(y) - [a moves, h < H - 1] / n - log(z(s) + 1e-25)
                near(x) = 1 - 2 |x - n // 2| / n,   n = 10, H = 10, no walls, mu_0 = uniform
    four-rooms  r_h(s, a, z) = -log(z(s) + 1e-25)
                n = 13, H = 40, walls around and in the row and column n // 2, save doors at n // 4 and n - 1 - n // 4;
                everyone starts in (1, 1)

A move into a wall is illegal in the source. Here it stays where it is, which adds nothing to what can be done, and the
starting policy does not use it: it is uniform over legal moves. (A temperature counts the entropy of all five actions.)
The game is monotone (-log z decreases).

Source: `mfg_crowd_modelling_2d` of OpenSpiel (settings `crowd_modelling_2d_10x10` and `crowd_modelling_2d_four_rooms`),
which it derives from the beach bar of Perrin et al., NeurIPS 2020. `open` is the game that it declares: OpenSpiel
charges a move one step later, and the move of the first visitor (see `beach_bar.py`).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.mean_field import fused
from gamesim.envs.mean_field.variants import fill
from gamesim.errors import refuse
from gamesim.games import GraphonGame, Policy
from gamesim.graphons import ErdosRenyi, Graphon
from gamesim.kernels.rows import Rows
from gamesim.parameters import Count, Probability
from gamesim.simplex import lift

EPSILON = 1e-25
MOVES = ((0, -1), (-1, 0), (0, 0), (1, 0), (0, 1))
STAY = MOVES.index((0, 0))
DEFAULTS = {"open": {"places": 10, "horizon": 10}, "four-rooms": {"places": 13, "horizon": 40}}


@final
@dataclass(frozen=True, kw_only=True)
class CrowdModelling(GraphonGame):
    """A crowd that spreads over a plane, with or without walls."""

    layout: Literal["open", "four-rooms"] = "open"
    """Where: a torus with a favourite cell, or four rooms with doors and no aim but room."""
    horizon: Count = None  # type: ignore[assignment]
    """Number of decision steps; left out, the layout's: 10 or 40."""
    graphon: Graphon | tuple[Graphon, ...] = ErdosRenyi(1.0)
    """How positions feel one another; erdos-renyi(1) is the plain mean-field game."""
    positions: Count | None = 1
    """Grid points: 1 where all positions are alike; give more with another graphon."""
    places: Count = None  # type: ignore[assignment]
    """Cells along each side, walls included; left out, the layout's: 10 or 13; four rooms need 5."""
    noise: Probability = 1.0
    """Chance of a second, random move."""

    def __post_init__(self) -> None:
        fill(self, "layout", DEFAULTS)
        super().__post_init__()
        if self.layout == "four-rooms" and self.places < 5:
            raise refuse("places", self.places, "a whole number of at least 5 for four rooms")

    def is_free(self, x: int, y: int) -> bool:
        """Whether a cell is no wall."""
        if self.layout == "open":
            return True
        middle, doors = self.places // 2, (self.places // 4, self.places - 1 - self.places // 4)
        inside = 0 < x < self.places - 1 and 0 < y < self.places - 1
        return inside and (x != middle or y in doors) and (y != middle or x in doors)

    @cached_property
    def cells(self) -> tuple[tuple[int, int], ...]:
        """(x, y) of each state."""
        side = range(self.places)
        return tuple((x, y) for x in side for y in side if self.is_free(x, y))

    @property
    def initial(self) -> Tensor:
        if self.layout == "open":
            return torch.full((len(self.cells),), 1 / len(self.cells), **self.like)
        return torch.eye(len(self.cells), **self.like)[self.cells.index((1, 1))]

    @cached_property
    def near(self) -> Tensor:
        """The reward of each cell when it is empty, [s, 1]."""
        if self.layout == "four-rooms":
            return torch.zeros(len(self.cells), 1, **self.like)
        away = (torch.tensor(self.cells, **self.like) - self.places // 2).abs()
        return (1 - 2 / self.places * away).sum(-1, keepdim=True)

    def reward(self, h: int, z: Tensor) -> Tensor:
        base = self.near - self.cost if h < self.charged else self.near
        return base - (z + EPSILON).log()[..., None]

    @cached_property
    def charged(self) -> int:
        """How many steps' moves cost."""
        return self.horizon - 1 if self.layout == "open" else 0

    @cached_property
    def cost(self) -> Tensor:
        """What each move costs, [a]."""
        return torch.tensor([float(a != STAY) for a in range(5)], **self.like) / self.places

    @cached_property
    def after(self) -> tuple[Tensor, Tensor]:
        """The state where each move ends, t[s, a], and whether it is legal, [s, a]."""
        index, n = {cell: s for s, cell in enumerate(self.cells)}, self.places
        ends = [[index.get(((x + dx) % n, (y + dy) % n), -1) for dx, dy in MOVES] for x, y in self.cells]
        end = torch.tensor(ends, device=self.device)
        return torch.where(end >= 0, end, end[:, STAY, None]), end >= 0

    def start(self) -> Policy:
        """Uniform over legal moves, [..., h, k, s, a]."""
        legal = self.after[1].to(**self.like)
        (uniform,) = super().start()
        return ((legal / legal.sum(-1, keepdim=True)).expand_as(uniform).clone(),)

    @cached_property
    def moves(self) -> Tensor:
        """P[..., s, a, t]."""
        end, legal = self.after
        identity = torch.eye(len(self.cells), **self.like)
        legal = legal.to(**self.like)
        spread = torch.einsum("sa,sat->st", legal / legal.sum(-1, keepdim=True), identity[end])
        return torch.lerp(identity[end], spread[end], torch.as_tensor(lift(self.noise, 4), **self.like))

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.moves

    def rows(self) -> Rows:
        return Rows(
            reward=fused.shy_reward, parameters=(EPSILON, self.charged, self.near, self.cost), transition=self.moves
        )
