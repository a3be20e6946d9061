"""Soccer on a small board: two players, one ball, and moves that collide.

Players A and B stand on different cells and choose north, east, south, west or stand; the two moves are made one after
the other in random order. A move off the board does nothing, unless who has the ball leaves it through the goal that it
attacks: the middle one or two rows at the left for A, at the right for B. That is one point, +1 and -1; then players
go back to where they began and the ball goes to either with equal chances. A move to the cell of the other player is
not made, and the ball is then with the player who stood still.

States are who stands where and who has the ball: 2 n (n - 1) of them on n cells, 760 on the 4 x 5 board. Littman,
"Markov games as a framework for multi-agent reinforcement learning", ICML 1994, where the discount is 0.9. His figure 2
has the first positions, A at the right and B at the left of the rows of the goals; they are taken from it for 4 x 5,
and are turned by half a turn into one another on any board, so that nobody has an advantage but the ball.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.stochastic.table import MOVES, NAMES, Below1, Cells, WrittenGame, along, merged
from gamesim.errors import refuse
from gamesim.games import Sparse


@final
@dataclass(frozen=True, kw_only=True)
class Soccer(WrittenGame):
    """Dribble into the goal, or stand where the other wants to go; zero-sum."""

    rows: Cells = 4
    """Cells from north to south."""
    columns: Cells = 5
    """Cells from goal to goal."""
    discount: Below1 = 0.9
    """Weight of the next step: a goal soon is better than a goal later."""
    after_goal: Literal["restart", "stop"] = "restart"
    """Whether the game starts again, as in the paper, or ends."""

    action_counts = (5, 5)
    players = ("A", "B")
    actions = (NAMES, NAMES)

    def agree(self) -> None:
        for name, why in (
            ("rows", "in a single one nobody can pass"),
            ("columns", "each player begins in its own half"),
        ):
            if getattr(self, name) < 2:
                raise refuse(name, getattr(self, name), f"at least 2: {why}")

    @property
    def state_count(self) -> int:
        cells = self.rows * self.columns
        return 2 * cells * (cells - 1)

    @property
    def successor_count(self) -> int:
        return 4  # who moves first, and who gets the ball after a goal

    @property
    def first_cells(self) -> tuple[int, int]:
        """Where A and B begin, counted row by row."""
        row, column = self.rows // 2, max(self.columns - 2, (self.columns + 1) // 2)
        own = row * self.columns + column
        return own, self.rows * self.columns - 1 - own

    @cached_property
    def situations(self) -> Tensor:
        """The cells of A and of B, and who has the ball (0 for A), of each state: [s, 3]."""
        cells = torch.arange(self.rows * self.columns)
        every = torch.cartesian_prod(cells, cells, torch.arange(2))
        return every[every[:, 0] != every[:, 1]]

    def state_of(self, a: Tensor, b: Tensor, ball: Tensor) -> Tensor:
        """The state in which A and B stand on these cells."""
        return (a * (self.rows * self.columns - 1) + b - (b > a).long()) * 2 + ball

    @property
    def states(self) -> tuple[str, ...]:
        def place(cell: int) -> str:
            return f"{cell // self.columns + 1},{cell % self.columns + 1}"

        return tuple(
            f"A {place(a)}{'*' * (ball == 0)} B {place(b)}{'*' * (ball == 1)}"
            for a, b, ball in self.situations.tolist()
        )

    def opening(self) -> Tensor:
        rho = torch.zeros(self.state_count, dtype=torch.float64)
        rho[self._kick_off] = 0.5
        return rho

    @property
    def _kick_off(self) -> Tensor:
        """The states in which A and in which B begins with the ball, [2]."""
        a, b = map(torch.tensor, self.first_cells)
        return self.state_of(a, b, torch.arange(2))

    def payments(self) -> Tensor:
        points = torch.zeros(self.state_count, 5, 5, dtype=torch.float64)
        for first in (0, 1):
            winner = self._moved(first)[1]
            points += ((winner == 0).double() - (winner == 1).double()) / 2
        return torch.stack([points, -points])

    def motion(self) -> Sparse:
        again = self._kick_off if self.after_goal == "restart" else torch.tensor([-1, -1])
        found = []
        for first in (0, 1):
            after, winner = self._moved(first)
            found += [torch.where(winner < 0, after, kick_off) for kick_off in again]
        return merged(torch.stack(found, -1), torch.full((4,), 0.25, dtype=torch.float64))

    def _moved(self, first: int) -> tuple[Tensor, Tensor]:
        """The state after both moves and who has scored (-1: nobody), [s, a1, a2], where one moves first."""
        shape = (self.state_count, 5, 5)
        a, b, ball = (along(x, 0, 3).expand(shape) for x in self.situations.unbind(-1))
        cells, winner = [a, b], torch.full(shape, -1)
        south, east = (along(x, 0, 1) for x in zip(*MOVES, strict=True))
        for me in (first, 1 - first):
            other, playing = cells[1 - me], winner < 0
            row = cells[me] // self.columns + along(south, 1 + me, 3)
            column = cells[me] % self.columns + along(east, 1 + me, 3)
            before_goal = (2 * row - (self.rows - 1)).abs() <= 1
            scores = playing & (ball == me) & before_goal & (column == (-1, self.columns)[me])
            inside = (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
            target = torch.where(inside, row * self.columns + column, cells[me])
            meets = playing & (target == other)
            ball = torch.where(meets, 1 - me, ball)
            cells[me] = torch.where(meets | ~playing, cells[me], target)
            winner = torch.where(scores, me, winner)
        return self.state_of(cells[0], cells[1], ball), winner
