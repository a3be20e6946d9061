"""Markets and contests: firms, vendors, waiting, guessing; each by one formula of the profile.

The kinds are those of GAMUT: Nudelman, Wortman, Shoham and Leyton-Brown, "Run the GAMUT: a comprehensive approach to
evaluating game-theoretic algorithms", AAMAS 2004.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Choices, Few, TableGame, profiles, require_descending
from gamesim.errors import refuse
from gamesim.parameters import Fraction, NonNegative, Positive, Real


@final
@dataclass(frozen=True, kw_only=True)
class Cournot(TableGame):
    """Firms choose quantities q = 0, 1, ...: u_i = q_i (max(0, intercept - slope sum_j q_j) - cost).

    With a price that stays above 0 the equilibrium is q = (intercept - cost) / (slope (n + 1)) where that is a whole
    number, 3 by default. Cournot, "Recherches sur les principes mathématiques de la théorie des richesses", 1838.
    """

    player_count: Few = 2
    """Number of firms, n."""
    quantities: Choices = 7
    """Quantities to choose from: 0, 1, ..., quantities - 1."""
    intercept: Positive = 10.0
    """Price of the first unit."""
    slope: Positive = 1.0
    """By how much each unit lowers the price."""
    cost: NonNegative = 1.0
    """What making a unit costs; intercept > cost."""

    def validate(self) -> None:
        require_descending(self, "intercept", "cost")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.quantities,) * self.player_count

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.quantities)))

    def table(self) -> Tensor:
        made = profiles(self.action_counts)
        intercept, slope, cost = self.lifted("intercept", "slope", "cost")
        price = torch.clamp(intercept - slope * made.sum(0), min=0)
        return made * (price - cost)


@final
@dataclass(frozen=True, kw_only=True)
class Bertrand(TableGame):
    """Firms choose prices p = 0, 1, ...: the cheapest share the demand market - p, and earn p - cost on each unit.

    All at the cost is an equilibrium, and so is all at one above it. Bertrand, Journal des Savants, 1883.
    """

    player_count: Few = 2
    """Number of firms."""
    prices: Choices = 11
    """Prices to choose from: 0, 1, ..., prices - 1."""
    market: Positive = 10.0
    """Units that would go at price 0; each unit of price loses one, until none is left."""
    cost: NonNegative = 2.0
    """What a unit costs; market > cost."""

    def validate(self) -> None:
        require_descending(self, "market", "cost")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.prices,) * self.player_count

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.prices)))

    def table(self) -> Tensor:
        asked = profiles(self.action_counts)
        market, cost = self.lifted("market", "cost")
        best = asked.amin(0)
        sells = (asked == best).to(torch.float64)
        return sells / sells.sum(0) * torch.clamp(market - best, min=0) * (best - cost)


@final
@dataclass(frozen=True, kw_only=True)
class Location(TableGame):
    """Vendors on a street: a customer at each place goes to the nearest, those at one distance share them.

    Two vendors meet in the middle. Hotelling, "Stability in competition", Economic Journal 39 (1929).
    """

    player_count: Few = 2
    """Number of vendors."""
    places: Choices = 5
    """Places on the street, with one customer each."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.places,) * self.player_count

    def table(self) -> Tensor:
        where = profiles(self.action_counts)
        sold = torch.zeros_like(where)
        for customer in range(self.places):
            way = (where - customer).abs()
            nearest = (way == way.amin(0)).to(torch.float64)
            sold += nearest / nearest.sum(0)
        return sold


@final
@dataclass(frozen=True, kw_only=True)
class WarOfAttrition(TableGame):
    """Who waits longer has the prize, and waiting costs both: u_i = prize_i [t_i > t_j] - wait min(t_i, t_j).

    Equal times share the prize. That one gives in at once and the other would outwait the prize is an equilibrium.
    Maynard Smith, "The theory of games and the evolution of animal conflicts", Journal of Theoretical Biology 47
    (1974).
    """

    times: Choices = 6
    """Times to give in: 0, 1, ..., times - 1."""
    first_prize: Positive = 4.0
    """What the prize is worth to the first player."""
    second_prize: Positive = 4.0
    """What the prize is worth to the second player."""
    wait: NonNegative = 1.0
    """What a unit of time costs each."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.times, self.times)

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.times)))

    def table(self) -> Tensor:
        time = profiles(self.action_counts)
        wins = (1 + torch.sign(time - time.flip(0))) / 2  # 1, 0, or a half each
        first, second, wait = self.lifted("first_prize", "second_prize", "wait")
        is_first = torch.tensor([True, False])[:, None, None]
        return torch.where(is_first, first, second) * wins - wait * time.amin(0)


@final
@dataclass(frozen=True, kw_only=True)
class GrabTheDollar(TableGame):
    """Who grabs first has the dollar, but it tears where both do: high, middle for the other, low for both.

    Equilibria: one grabs at once, and the other at any later time.
    """

    times: Choices = 4
    """When to grab: 0, 1, ..., times - 1."""
    high: Real = 1.0
    """Of who grabs first."""
    middle: Real = 0.0
    """Of who comes too late."""
    low: Real = -1.0
    """Of both where the dollar tears; high > middle > low."""

    def validate(self) -> None:
        require_descending(self, "high", "middle", "low")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.times, self.times)

    def table(self) -> Tensor:
        time = profiles(self.action_counts)
        high, middle, low = self.lifted("high", "middle", "low")
        return torch.where(time < time.flip(0), high, torch.where(time > time.flip(0), middle, low))


@final
@dataclass(frozen=True, kw_only=True)
class GuessTwoThirds(TableGame):
    """Who guesses nearest to a share of the average wins a prize of 1, which the nearest share among them.

    That all guess 0 is an equilibrium. Nagel, "Unraveling in guessing games", American Economic Review 85 (1995).
    """

    player_count: Few = 3
    """Number of players."""
    guesses: Choices = 11
    """Guesses to choose from: 0, 1, ..., guesses - 1."""
    share: Fraction = 2 / 3
    """Of the average."""

    def validate(self) -> None:
        if isinstance(self.share, Tensor):
            raise refuse("share", "a tensor", "one number")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.guesses,) * self.player_count

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.guesses)))

    def table(self) -> Tensor:
        guess = profiles(self.action_counts)
        away = (self.player_count * guess - self.share * guess.sum(0)).abs()
        nearest = (away <= away.amin(0) + 1e-9 * self.guesses).to(torch.float64)  # a share is not an exact number
        return nearest / nearest.sum(0)
