"""Commons: what everyone takes today is what nobody has tomorrow.

Fishery: a stock x in (0, 1], of which player i catches the share e_i, so that what is left grows to

    x' = (x (1 - sum_i e_i))^growth        R_i = log(e_i x)

The great fish war of Levhari and Mirman, Bell Journal of Economics 11 (1980). Levels of the stock are equally far apart
in log x, and x' becomes one of the two levels around it with the chances that keep the mean of log x'. Values are
linear in log x, so that this rounding changes nothing while x' is not below the lowest level: in equilibrium every one
of n players takes the share (1 - b) / (n - (n - 1) b) of the stock, b = growth times discount, and together they would
take only (1 - b) / n each. Below the lowest level the stock does not fall.

Resource: a pool of whole units x = 0..capacity, from which player i asks for a_i = 0..most units. Who asks is served as
far as the pool goes, in proportion to what was asked, and what is left, y, grows to

    y + rate y (1 - y / capacity)          R_i = units received - cost a_i

rounded up or down with the chances that keep the mean. An empty pool stays empty. Open access in the sense of Gordon,
Journal of Political Economy 62 (1954), with the logistic growth of Schaefer, IATTC Bulletin 1 (1954).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import profiles
from gamesim.envs.stochastic.table import Below1, WrittenGame, along, rounded
from gamesim.errors import refuse
from gamesim.games import Sparse
from gamesim.parameters import Bounds, NonNegative

Open = Annotated[float, Bounds("a number between 0 and 1, ends excluded", 0, 1, True, True)]
Levels = Annotated[int, Bounds("a whole number from 2 to 10,000", 2, 10_000)]
Units = Annotated[int, Bounds("a whole number from 1 to 10,000", 1, 10_000)]
Takers = Annotated[int, Bounds("a whole number from 1 to 20", 1, 20)]
Rate = Annotated[float, Bounds("a number of at least 0", 0)]


@final
@dataclass(frozen=True, kw_only=True)
class Fishery(WrittenGame):
    """Fish now, or leave them to grow for everybody."""

    player_count: Takers = 2
    """Number of fishers, n."""
    levels: Levels = 8
    """Levels of the stock."""
    lowest: Open = 0.1
    """The lowest level; the highest is 1."""
    shares: tuple[Open, ...] = (0.1, 0.2, 0.3, 0.4)
    """What a fisher may catch, shares of the stock; all together below 1."""
    growth: Open = 0.5
    """Exponent of what is left: the smaller, the faster a small stock recovers."""
    discount: Below1 = 0.9
    """Weight of the next step."""

    def agree(self) -> None:
        if not self.shares:
            raise refuse("shares", "an empty list", "a share of the stock for each action")
        if self.player_count * max(self.shares) >= 1:
            wanted = f"shares below 1 / {self.player_count}: if all take the most, something has to be left"
            raise refuse("shares", list(self.shares), wanted)

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (len(self.shares),) * self.player_count

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return (tuple(f"{e:g}" for e in self.shares),) * self.player_count

    @property
    def state_count(self) -> int:
        return self.levels

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(f"{x:.3g}" for x in self.stock.tolist())

    @property
    def successor_count(self) -> int:
        return 2

    @property
    def stock(self) -> Tensor:
        """x of each state, [s]."""
        return torch.linspace(math.log(self.lowest), 0, self.levels, dtype=torch.float64).exp()

    @property
    def competitive_share(self) -> float:
        """What everyone takes in the equilibrium of the game with all shares and stocks."""
        b, n = self.growth * self.discount, self.player_count
        return (1 - b) / (n - (n - 1) * b)

    @property
    def cooperative_share(self) -> float:
        """What everyone takes where the sum of all values is greatest."""
        return (1 - self.growth * self.discount) / self.player_count

    @property
    def _caught(self) -> Tensor:
        """e_i in every profile, [player, a1, ..., an]."""
        return torch.tensor(self.shares, dtype=torch.float64)[profiles(self.action_counts).long()]

    def payments(self) -> Tensor:
        n = self.player_count
        return self._caught.log().unsqueeze(1) + along(self.stock.log(), 1, 2 + n)

    def motion(self) -> Sparse:
        left = (1 - self._caught.sum(0)).log()
        after = self.growth * (along(self.stock.log(), 0, 1 + self.player_count) + left)
        return rounded((self.levels - 1) * (1 - after / math.log(self.lowest)), self.levels)


@final
@dataclass(frozen=True, kw_only=True)
class Resource(WrittenGame):
    """A pool with room for so much, from which everyone may take, and which grows by what is left."""

    player_count: Takers = 2
    """Number of players."""
    capacity: Units = 10
    """Units in the full pool."""
    most: Units = 3
    """Units that a player may ask for."""
    rate: Rate = 0.5
    """Growth of a small stock in a step."""
    cost: NonNegative = 0.1
    """Of each unit that is asked for."""
    discount: Below1 = 0.95
    """Weight of the next step."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.most + 1,) * self.player_count

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return (tuple(str(a) for a in range(self.most + 1)),) * self.player_count

    @property
    def state_count(self) -> int:
        return self.capacity + 1

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(str(x) for x in range(self.capacity + 1))

    @property
    def successor_count(self) -> int:
        return 2

    def opening(self) -> Tensor:
        return torch.eye(self.state_count, dtype=torch.float64)[-1]

    @cached_property
    def _taken(self) -> Tensor:
        """Units received, [player, s, a1, ..., an]."""
        asked = profiles(self.action_counts).unsqueeze(1)
        pool, total = along(torch.arange(self.state_count).double(), 1, 2 + self.player_count), asked.sum(0)
        return asked * (pool / total.clamp(min=1)).clamp(max=1)

    def payments(self) -> Tensor:
        (cost,) = self.lifted("cost")
        return self._taken - cost * profiles(self.action_counts).unsqueeze(1)

    def motion(self) -> Sparse:
        pool = along(torch.arange(self.state_count).double(), 0, 1 + self.player_count)
        left = (pool - self._taken.sum(0)).clamp(min=0)
        left = torch.where(left < 1e-9 * self.capacity, 0.0, left)  # what rounding leaves of an empty pool would grow
        grown = left + self.rate * left * (1 - left / self.capacity)
        return rounded(grown.clamp(max=self.capacity), self.state_count)
