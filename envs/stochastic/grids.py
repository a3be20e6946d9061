"""Players on a board who want to arrive, or to meet, and are in one another's way.

Everyone begins in the bottom row, spread over its width, and chooses north, east, south, west or stand; a step fails,
and leaves one where one is, with chance `noise`, and a step north from a first cell also with chance `barrier`. A step
off the board does nothing.

    crossed     everyone's goal is in the top row, opposite to where it began
    shared      all have one goal, in the middle of the top row

Who arrives is paid the prize, and the episode ends as soon as anyone has. Those who would enter one cell, or change
places, stay where they are and pay for the collision; only the goal of all has room for all. With two players on
3 x 3 these are the grid games 1 and 2 of Hu and Wellman, "Nash Q-learning for general-sum stochastic games", JMLR 4
(2003), the second with barrier=0.5. Standing still is added, and that two cannot change places.

    meet        no goal and no end; cells have room for all, and all are paid the prize after each step that leaves
                them on one cell: a team
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, final

import torch
from torch import Tensor

from gamesim.envs.stochastic.table import MOVES, NAMES, Below1, Cells, WrittenGame, along, merged
from gamesim.errors import refuse
from gamesim.games import Sparse
from gamesim.games.matrix import LARGEST
from gamesim.parameters import Bounds, NonNegative, Probability, Real

Walkers = Annotated[int, Bounds("a whole number from 1 to 8", 1, 8)]


@final
@dataclass(frozen=True, kw_only=True)
class GridCoordination(WrittenGame):
    """Walk to a goal past the others, or find one another."""

    rows: Cells = 3
    """Cells from north to south."""
    columns: Cells = 3
    """Cells from west to east, at least one for each player."""
    player_count: Walkers = 2
    """Number of players."""
    task: Literal["crossed", "shared", "meet"] = "crossed"
    """Goals opposite to the first cells, one goal for all, or none but to meet."""
    prize: Real = 100.0
    """Of who arrives, or of all who meet."""
    collision: NonNegative = 1.0
    """What who is in a collision pays."""
    noise: Probability = 0.0
    """Chance that a step fails."""
    barrier: Probability = 0.0
    """Chance that a step north from a first cell fails, besides."""
    discount: Below1 = 0.99
    """Weight of the next step."""

    def agree(self) -> None:
        if self.columns < self.player_count:
            raise refuse("columns", self.columns, f"at least {self.player_count}, one for each player")
        if self.rows < 2:
            raise refuse("rows", self.rows, "at least 2: players begin in the bottom row, goals are in the top one")
        outcomes = (self.cell_count * 5 * 2) ** self.player_count
        if outcomes > LARGEST:
            shown = f"{outcomes:.1e} outcomes ({self.player_count} players on {self.cell_count:,} cells)"
            raise refuse("tables", shown, f"at most {LARGEST:,}: fewer cells or players")

    @property
    def cell_count(self) -> int:
        """Cells of the board, counted row by row."""
        return self.rows * self.columns

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (5,) * self.player_count

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return (NAMES,) * self.player_count

    @property
    def successor_count(self) -> int:
        return self.luck.shape[0]

    @property
    def first_cells(self) -> tuple[int, ...]:
        """Where everyone begins."""
        last = max(self.player_count - 1, 1)
        columns = (round(i * (self.columns - 1) / last) for i in range(self.player_count))
        return tuple((self.rows - 1) * self.columns + c for c in columns)

    @property
    def goals(self) -> tuple[int, ...]:
        """Where everyone wants to go; nowhere (-1) to meet."""
        match self.task:
            case "crossed":
                return tuple(self.columns - 1 - cell % self.columns for cell in self.first_cells)
            case "shared":
                return (self.columns // 2,) * self.player_count
            case "meet":
                return (-1,) * self.player_count

    @cached_property
    def situations(self) -> Tensor:
        """The cell of each player in each state, [s, player]: different ones, short of the goals, unless to meet."""
        n = self.player_count
        every = torch.cartesian_prod(*[torch.arange(self.cell_count)] * n).reshape(-1, n)
        if self.task == "meet":
            return every
        ordered = every.sort(-1).values
        apart = (ordered[:, 1:] != ordered[:, :-1]).all(-1)
        return every[apart & (every != torch.tensor(self.goals)).all(-1)]

    @property
    def state_count(self) -> int:
        return len(self.situations)

    @cached_property
    def luck(self) -> Tensor:
        """Whose steps do not fail in each outcome of chance, [k, player]."""
        either = [torch.tensor([True, False])] * self.player_count
        every = torch.cartesian_prod(*either).reshape(-1, self.player_count)
        sure = not any(isinstance(x, Tensor) or x > 0 for x in (self.noise, self.barrier))
        return every[:1] if sure else every

    @property
    def states(self) -> tuple[str, ...]:
        width = self.columns
        return tuple(" ".join(f"{c // width + 1},{c % width + 1}" for c in row) for row in self.situations.tolist())

    def state_of(self, *cells: int) -> int:
        """The state in which players stand on these cells, counted row by row."""
        found = (self.situations == torch.tensor(cells)).all(-1).nonzero()
        if not len(found):
            raise refuse("cells", list(cells), "cells of the board, different ones and no goals unless to meet")
        return int(found[0])

    def opening(self) -> Tensor:
        rho = torch.zeros(self.state_count, dtype=torch.float64)
        rho[self.state_of(*self.first_cells)] = 1.0
        return rho

    def payments(self) -> Tensor:
        prize, collision = self.lifted("prize", "collision")
        cells, collided = self._walked
        at_goal = (cells == cells[:1]).all(0).expand(cells.shape) if self.task == "meet" else cells == self._goals
        chances, gained = self._chances, []
        for i in range(self.player_count):
            paid = prize * at_goal[i] - collision * collided[i]
            gained.append((chances * paid).sum(-1))
        return torch.stack(torch.broadcast_tensors(*gained), -2 - self.player_count)

    def motion(self) -> Sparse:
        cells, _ = self._walked
        number, place = torch.zeros_like(cells[0]), torch.zeros(len(self.situations), dtype=torch.long)
        for i, own in enumerate(cells):
            number = number * self.cell_count + own
            place = place * self.cell_count + self.situations[:, i]
        known = torch.full((self.cell_count**self.player_count,), -1)
        known[place] = torch.arange(len(place))
        ended = (cells == self._goals).any(0)
        return merged(torch.where(ended, -1, known[number]), self._chances)

    @property
    def _goals(self) -> Tensor:
        return along(self.goals, 0, 3 + self.player_count)

    @property
    def _chances(self) -> Tensor:
        """Of each outcome, [..., s, a1, ..., an, k]."""
        n = self.player_count
        noise, barrier = self.lifted("noise", "barrier")
        first = (self.situations[..., None] == torch.tensor(self.first_cells)).any(-1)
        found = torch.ones(1, dtype=torch.float64)
        for i in range(n):
            behind = along(first[:, i], 0, n + 2) & along(torch.arange(5) == 0, 1 + i, n + 2)
            holds = (1 - noise) * (1 - barrier * behind)
            found = found * torch.where(along(self.luck[:, i], n + 1, n + 2), holds, 1 - holds)
        return found

    @cached_property
    def _walked(self) -> tuple[Tensor, Tensor]:
        """Where everyone is after a step and who has collided, [player, s, a1, ..., an, k]."""
        n, rank = self.player_count, self.player_count + 2
        south, east = (torch.tensor(x) for x in zip(*MOVES, strict=True))
        shape = (self.state_count, *self.action_counts, len(self.luck))
        before, wanted = [], []
        for i in range(n):
            cell = along(self.situations[:, i], 0, rank)
            row, column = (
                cell // self.columns + along(south, 1 + i, rank),
                cell % self.columns + along(east, 1 + i, rank),
            )
            inside = (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
            moves = inside & along(self.luck[:, i], rank - 1, rank)
            before.append(cell.expand(shape))
            wanted.append(torch.where(moves, row * self.columns + column, cell).expand(shape))
        at, to = torch.stack(before), torch.stack(wanted)
        collided = torch.zeros_like(to, dtype=torch.bool)
        if self.task == "meet":
            return to, collided
        for _ in range(n):  # who is sent back may stand in the way of the next
            crash = torch.zeros_like(collided)
            for i in range(n):
                for j in range(n):
                    if i != j:
                        free = (to[i] == self.goals[i]) & (self.goals[i] == self.goals[j])
                        crash[i] |= ((to[i] == to[j]) & ~free) | ((to[i] == at[j]) & (to[j] == at[i]))
            collided, to = collided | crash, torch.where(crash, at, to)
        return to, collided
