"""Dilemmas of many actions or many players, each by one formula of the profile."""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Choices, Few, TableGame, as_number, profiles, require_descending
from gamesim.errors import refuse
from gamesim.parameters import Bounds, Positive, Real


@final
@dataclass(frozen=True, kw_only=True)
class TravelersDilemma(TableGame):
    """Two claims from low to high: both are paid the lower one, and who claimed less takes a bonus from the other.

    u_i = min(c_1, c_2) + bonus sign(c_j - c_i). For a bonus above 1 the only equilibrium is that both claim least.
    Basu, "The traveler's dilemma", American Economic Review 84 (1994).
    """

    low: Annotated[int, Bounds("a whole number from 0 to 1,000,000", 0, 10**6)] = 2
    """The smallest claim."""
    high: Annotated[int, Bounds("a whole number from 1 to 1,000,000", 1, 10**6)] = 100
    """The largest claim."""
    bonus: Positive = 2.0
    """What the lower claim takes from the higher one."""

    def validate(self) -> None:
        if self.high <= self.low:
            raise refuse("high", self.high, f"a number above low, which is {self.low}")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.high - self.low + 1,) * 2

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.low, self.high + 1)))

    def table(self) -> Tensor:
        claims = self.low + profiles(self.action_counts)
        (bonus,) = self.lifted("bonus")
        return claims.amin(0) + bonus * torch.sign(claims.flip(0) - claims)


@final
@dataclass(frozen=True, kw_only=True)
class Centipede(TableGame):
    """Take the larger pile or pass it on while both grow, in the reduced normal form: when to take, or never.

    Taking at move k pays large growth^k to who takes and small growth^k to the other; after the last move as though the
    next one had taken. In every equilibrium the first player takes at once. Rosenthal, Journal of Economic Theory 25
    (1981); the piles are of McKelvey and Palfrey, Econometrica 60 (1992), whose games have 4 and 6 moves.
    """

    moves: Annotated[int, Bounds("a whole number from 1 to 1,000", 1, 1000)] = 4
    """Moves until the end, in turns."""
    large: Positive = 0.4
    """The larger pile at first."""
    small: Positive = 0.1
    """The smaller pile at first."""
    growth: Positive = 2.0
    """How many times as large both piles are after each move; taking beats waiting: large > growth small."""

    def validate(self) -> None:
        if not bool((as_number(self.large) > as_number(self.growth) * as_number(self.small)).all()):
            raise refuse("large", self.large, f"a number above growth x small, {self.growth} x {self.small}")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return ((self.moves + 1) // 2 + 1, self.moves // 2 + 1)

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return tuple((*(f"take {k + 1}" for k in range(i, self.moves, 2)), "pass") for i in (0, 1))

    def table(self) -> Tensor:
        own = 2 * profiles(self.action_counts) + torch.tensor([0.0, 1.0], dtype=torch.float64)[:, None, None]
        end = own.amin(0).clamp(max=self.moves)
        taker = end % 2 == torch.tensor([0, 1])[:, None, None]
        large, small, growth = self.lifted("large", "small", "growth")
        return torch.where(taker, large, small) * growth**end


@final
@dataclass(frozen=True, kw_only=True)
class MinimumEffort(TableGame):
    """The weakest link: u_i = benefit min_j e_j - cost e_i + base, efforts e = 1..efforts.

    While benefit > cost everybody at one effort is a strict equilibrium, whichever effort. Van Huyck, Battalio and
    Beil, American Economic Review 80 (1990), whose game A has 0.2, 0.1, 0.6 and seven efforts.
    """

    player_count: Few = 3
    """Number of players."""
    efforts: Choices = 7
    """Largest effort."""
    benefit: Real = 0.2
    """What a unit of the least effort brings to everyone."""
    cost: Positive = 0.1
    """What a unit of one's own effort costs; benefit > cost."""
    base: Real = 0.6
    """Paid in any case."""

    def validate(self) -> None:
        require_descending(self, "benefit", "cost")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.efforts,) * self.player_count

    def table(self) -> Tensor:
        effort = 1 + profiles(self.action_counts)
        benefit, cost, base = self.lifted("benefit", "cost", "base")
        return benefit * effort.amin(0) - cost * effort + base


@final
@dataclass(frozen=True, kw_only=True)
class PublicGoods(TableGame):
    """Contributions grow and are shared: u_i = endowment - c_i + (factor / n) sum_j c_j, c = 0..endowment.

    While 1 < factor < n the only equilibrium, strict, is that nobody gives, and all would rather that all gave. Isaac
    and Walker, "Group size effects in public goods provision", Quarterly Journal of Economics 103 (1988).
    """

    player_count: Few = 3
    """Number of players, n."""
    endowment: Annotated[int, Bounds("a whole number from 1 to 10,000", 1, 10_000)] = 4
    """What each has, in units."""
    factor: Annotated[float | Tensor, Bounds("a number above 1", 1, low_open=True)] = 1.5
    """How many times as much the contributions are together; below the number of players."""

    def validate(self) -> None:
        if not bool((as_number(self.factor) < self.player_count).all()):
            raise refuse("factor", self.factor, f"a number between 1 and the {self.player_count} players")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.endowment + 1,) * self.player_count

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.endowment + 1)))

    def table(self) -> Tensor:
        given = profiles(self.action_counts)
        (factor,) = self.lifted("factor")
        return self.endowment - given + factor / self.player_count * given.sum(0)


@final
@dataclass(frozen=True, kw_only=True)
class VolunteersDilemma(TableGame):
    """One volunteer serves everybody: u_i = benefit if anyone volunteers, less cost for those who do.

    A strict equilibrium for each player who might do it alone; in the symmetric one each stays away with probability
    (cost / benefit)^(1 / (n - 1)), so the more there are the less they are served. Diekmann, "Volunteer's dilemma",
    Journal of Conflict Resolution 29 (1985).
    """

    player_count: Few = 3
    """Number of players, n."""
    benefit: Real = 2.0
    """What everyone has once somebody volunteers."""
    cost: Positive = 1.0
    """What volunteering costs; benefit > cost."""

    action_names = ("volunteer", "wait")

    def validate(self) -> None:
        require_descending(self, "benefit", "cost")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (2,) * self.player_count

    def table(self) -> Tensor:
        volunteers = 1 - profiles(self.action_counts)
        benefit, cost = self.lifted("benefit", "cost")
        return benefit * volunteers.amax(0) - cost * volunteers


@final
@dataclass(frozen=True, kw_only=True)
class Dispersion(TableGame):
    """Everybody wants to be alone: u_i = 1 where nobody else made the same choice, and 0 otherwise.

    With as many actions as players or more, profiles in which all differ are equilibria. Grenager, Powers and Shoham,
    "Dispersion games", AAAI 2002.
    """

    player_count: Few = 3
    """Number of players."""
    action_count: Choices = 3
    """Places to choose from."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.action_count,) * self.player_count

    def table(self) -> Tensor:
        choice = profiles(self.action_counts)
        sharing = torch.stack([(choice == own).sum(0) for own in choice])
        return (sharing == 1).to(torch.float64)
