"""Games of many players that never build their payoff tensor: polymatrix, congestion and symmetric ones.

Each is a structured game of gamesim.games made from parameters; `game` is that game, for a potential or a graph of your
own. Random ones take a seed, and `games` for a batch with the seeds seed, seed + 1, ...
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Drawn, Law, as_number, require_descending
from gamesim.errors import refuse
from gamesim.games import CongestionGame, PolymatrixGame, StructuredGame, SymmetricGame
from gamesim.games.matrix import LARGEST
from gamesim.games.symmetric import require_size
from gamesim.parameters import Bounds, Device, NonNegative, Probability, Real, check
from gamesim.simplex import lift

Many = Annotated[int, Bounds("a whole number from 2 to 100,000", 2, 100_000)]
Options = Annotated[int, Bounds("a whole number from 2 to 1,000", 2, 1000)]


@dataclass(frozen=True, kw_only=True)
class ManyPlayers(StructuredGame):
    """A structured game from parameters."""

    dtype: Literal["float32", "float64"] = "float64"
    """Precision of payoffs and policies."""
    device: Device = "cpu"
    """Where tensors live."""

    def __post_init__(self) -> None:
        check(self)
        self.validate()

    def validate(self) -> None:
        """Refuse parameters that contradict one another, or a game that would not fit in memory."""

    @cached_property
    @abstractmethod
    def game(self) -> Any:
        """The structured game."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        counts: tuple[int, ...] = self.game.action_counts
        return counts

    @property
    def batch(self) -> tuple[int, ...]:
        batch: tuple[int, ...] = self.game.batch
        return batch

    @property
    def like(self) -> dict[str, Any]:
        return {"dtype": getattr(torch, self.dtype), "device": self.device}

    def vectors(self, x: Tensor) -> Tensor:
        found: Tensor = self.game.vectors(x)
        return found

    def replies(self, actions: Tensor) -> Tensor:
        found: Tensor = self.game.replies(actions)
        return found


@final
@dataclass(frozen=True, kw_only=True)
class RandomPolymatrix(ManyPlayers, Drawn):
    """Two-player games with neighbours on a circle; A_ij has numbers uniform on (-1, 1), or standard normal."""

    player_count: Many = 10
    """Number of players, n."""
    action_count: Options = 3
    """Actions of every player."""
    reach: Annotated[int, Bounds("a whole number from 1 to 50,000", 1, 50_000)] | None = 2
    """Everyone plays with so many players on either side; none: with everybody."""
    pairs: Literal["general", "zero-sum", "coordination"] = "general"
    """A_ij and A_ji on their own, or A_ji = -A_ij' (the sum over players is 0), or A_ji = A_ij' (a potential game)."""
    law: Law = "uniform"
    """Of the numbers: uniform on (-1, 1), or standard normal."""

    def validate(self) -> None:
        numbers = self.player_count * 2 * self._reach * self.action_count**2 * (self.games or 1)
        if numbers > LARGEST:
            shown = f"{self.player_count} players with {2 * self._reach} neighbours"
            raise refuse("matrices", f"{numbers:.1e} numbers ({shown})", f"at most {LARGEST:,}")

    @property
    def _reach(self) -> int:
        half = self.player_count // 2
        return half if self.reach is None else min(self.reach, half)

    @cached_property
    def game(self) -> PolymatrixGame:
        n, a, stream = self.player_count, self.action_count, self.stream()
        i = torch.arange(n)
        pairs = torch.cat([torch.stack([i, (i + step) % n], -1) for step in range(1, self._reach + 1)])
        if 2 * self._reach == n:  # opposite players were listed twice
            pairs = pairs[: len(pairs) - n // 2]
        first = self.draw(stream, len(pairs), a, a, law=self.law)
        match self.pairs:
            case "general":
                second = self.draw(stream, len(pairs), a, a, law=self.law)
            case "zero-sum":
                second = -first.mT
            case "coordination":
                second = first.mT
        edges, matrices = torch.cat([pairs, pairs.flip(-1)]), torch.cat([first, second], -3)
        return PolymatrixGame(edges.to(self.device), matrices.to(**self.like), (a,) * n)


@final
@dataclass(frozen=True, kw_only=True)
class ParallelLinks(ManyPlayers, Drawn):
    """Everyone takes one of several links; link r costs fixed_r + slope_r load / n, both uniform on (0, 1)."""

    player_count: Many = 10
    """Number of players, n."""
    links: Options = 4
    """Number of links."""

    def validate(self) -> None:
        numbers = self.player_count * self.links * max(self.links, self.games or 1)
        if numbers > LARGEST:
            shown = f"{self.player_count} players, {self.links} links"
            raise refuse("costs", f"{numbers:.1e} numbers ({shown})", f"at most {LARGEST:,}")

    @cached_property
    def game(self) -> CongestionGame:
        n, stream = self.player_count, self.stream()
        fixed, slope = ((1 + self.draw(stream, self.links, 1)) / 2 for _ in range(2))
        costs = fixed + slope * torch.arange(1, n + 1, dtype=torch.float64) / n
        uses = torch.eye(self.links).expand(n, -1, -1)
        return CongestionGame(uses.to(**self.like), costs.to(**self.like))


@final
@dataclass(frozen=True, kw_only=True)
class Braess(ManyPlayers):
    """A new road makes everybody slower: two roads of cost 10 k and 50 + k in either order, and a bridge between them.

    Six drivers pay 83 each without the bridge and 92 with it, in equilibrium. Braess, "Über ein Paradoxon aus der
    Verkehrsplanung", Unternehmensforschung 12 (1968).
    """

    player_count: Many = 6
    """Number of drivers."""
    bridge: bool = True
    """Whether there is the bridge, from behind the first narrow road to before the second one."""
    toll: NonNegative = 10.0
    """What the bridge costs, and as much more as drivers use it."""

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return (("above", "below", "bridge") if self.bridge else ("above", "below"),) * self.player_count

    @cached_property
    def game(self) -> CongestionGame:
        load = torch.arange(1, self.player_count + 1, dtype=torch.float64)
        narrow, wide, bridge = 10 * load, 50 + load, as_number(lift(self.toll, 1)) + load
        costs = torch.stack(torch.broadcast_tensors(narrow, wide, wide, narrow, bridge), -2)
        routes = [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 1, 1]]
        uses = torch.tensor(routes if self.bridge else routes[:2]).expand(self.player_count, -1, -1)
        return CongestionGame(uses.to(**self.like), costs.to(**self.like))


@final
@dataclass(frozen=True, kw_only=True)
class RandomSymmetric(ManyPlayers, Drawn):
    """Payoffs by one's own action and the counts of the others' actions, each drawn on its own."""

    player_count: Many = 10
    """Number of players."""
    action_count: Annotated[int, Bounds("a whole number from 2 to 20", 2, 20)] = 2
    """Actions of every player."""
    law: Law = "uniform"
    """Of payoffs: uniform on (-1, 1), or standard normal."""

    def validate(self) -> None:
        require_size(self.player_count, self.action_count)
        numbers = self.action_count * self.player_count ** (self.action_count - 1) * (self.games or 1)
        if numbers > LARGEST:
            raise refuse("games", self.games, f"a batch of at most {LARGEST:,} numbers, not {numbers:.1e}")

    @cached_property
    def game(self) -> SymmetricGame:
        counts = [self.player_count] * (self.action_count - 1)
        table = self.draw(self.stream(), self.action_count, *counts, law=self.law)
        return SymmetricGame(table.to(**self.like), self.action_count)


@final
@dataclass(frozen=True, kw_only=True)
class ElFarol(ManyPlayers):
    """A bar that is fun unless too many come: good while at most a share of all are there, bad otherwise, home at home.

    In the symmetric equilibrium all come with one probability, at which the bar is worth as much as home. Arthur,
    "Inductive reasoning and bounded rationality", American Economic Review 84 (1994), has 100 players and 0.6.
    """

    player_count: Many = 50
    """Number of players, n."""
    capacity: Probability = 0.6
    """The share of all players, themselves included, that may come before it is crowded."""
    good: Real = 1.0
    """Of who comes while it is not crowded."""
    home: Real = 0.0
    """Of who stays at home."""
    bad: Real = -1.0
    """Of who comes when it is crowded; good > home > bad."""

    def validate(self) -> None:
        require_descending(self, "good", "home", "bad")
        if isinstance(self.capacity, Tensor):
            raise refuse("capacity", "a tensor", "one number")

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return (("home", "come"),) * self.player_count

    @cached_property
    def game(self) -> SymmetricGame:
        others = torch.arange(self.player_count)
        fits = others + 1 <= int(self.capacity * self.player_count + 1e-9)  # 0.6 of 5 is 3
        good, home, bad = (as_number(lift(x, 1)) for x in (self.good, self.home, self.bad))
        coming = torch.where(fits, good, bad)
        table = torch.stack(torch.broadcast_tensors(home, coming), -2)
        return SymmetricGame(table.to(**self.like), 2)
