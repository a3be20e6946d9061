"""A normal-form game played again and again by players who remember.

The state is what all played in the last `memory` rounds, fewer at the beginning: 1 + J + ... + J^memory states for J
joint actions, and the first one is where nothing has been played. Payments are those of the game, so that a value times
(1 - discount) is what a round brings on average.

With one round of memory, a policy of the prisoner's dilemma can be grim (cooperate until somebody defects), tit for tat
(do what the other did) or win-stay lose-shift; grim against grim is an equilibrium from the discount
(temptation - reward) / (temptation - punishment) on. Friedman, "A non-cooperative equilibrium for supergames", Review
of Economic Studies 38 (1971); Nowak and Sigmund, Nature 364 (1993).
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.envs.stochastic.table import Below1, WrittenGame
from gamesim.errors import refuse
from gamesim.games import DenseGame, NormalFormGame, Sparse, tabulate
from gamesim.parameters import Bounds, build

Rounds = Annotated[int, Bounds("a whole number from 0 to 20", 0, 20)]


@final
@dataclass(frozen=True, kw_only=True)
class Repeated(WrittenGame):
    """A normal-form game for ever, or as long as the discount has it."""

    game: str | NormalFormGame = "matrix/prisoners-dilemma"
    """An id of `gamesim list games`, a file, or a normal-form game itself."""
    memory: Rounds = 1
    """How many of the last rounds everyone remembers."""
    discount: Below1 = 0.9
    """Chance of another round."""

    @cached_property
    def stage_game(self) -> NormalFormGame:
        """The game of a round."""
        if not isinstance(self.game, str):
            return self.game
        kind, own = catalog.named("games", self.game)
        if not (isinstance(kind, type) and issubclass(kind, NormalFormGame)):
            raise refuse("game", self.game, "a normal-form game: its id begins with matrix/")
        found: NormalFormGame = build(kind, own, what=self.game)
        return found

    @property
    def many(self) -> tuple[int, ...]:
        return self.stage_game.batch

    @property
    def action_counts(self) -> tuple[int, ...]:
        return self.stage_game.action_counts

    @property
    def players(self) -> tuple[str, ...]:
        return self.stage_game.players

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return self.stage_game.actions

    @property
    def state_count(self) -> int:
        return self._first(self.memory + 1)

    def _first(self, rounds: int) -> int:
        """The first state in which so many rounds are remembered."""
        return sum(self.joint_count**k for k in range(rounds))

    @property
    def successor_count(self) -> int:
        return 1

    @property
    def states(self) -> tuple[str, ...]:
        """What was played, the last round at the end."""
        joint = [",".join(profile) for profile in product(*self.actions)]
        histories = (product(joint, repeat=k) for k in range(self.memory + 1))
        return tuple(" ".join(history) or "start" for length in histories for history in length)

    def state_of(self, *rounds: tuple[int, ...]) -> int:
        """The state after joint actions that were played, the last one at the end."""
        remembered, number = rounds[len(rounds) - min(len(rounds), self.memory) :], 0
        for profile in remembered:
            if len(profile) != len(self.action_counts):
                raise refuse("rounds", profile, f"an action for each of {len(self.action_counts)} players")
            for action, count in zip(profile, self.action_counts, strict=True):
                if not 0 <= action < count:
                    raise refuse("rounds", profile, f"actions below {list(self.action_counts)}")
                number = number * count + action
        return self._first(len(remembered)) + number

    def opening(self) -> Tensor:
        rho = torch.zeros(self.state_count, dtype=torch.float64)
        rho[0] = 1.0
        return rho

    def payments(self) -> Tensor:
        game, n = self.stage_game, len(self.action_counts)
        payoffs = (game if isinstance(game, DenseGame) else tabulate(game)).payoffs.double().unsqueeze(-1 - n)
        return payoffs.expand(*payoffs.shape[: -1 - n], self.state_count, *self.action_counts)

    def motion(self) -> Sparse:
        joint, last, found = torch.arange(self.joint_count), self.joint_count**self.memory, []
        for k in range(self.memory + 1):
            after = torch.arange(self.joint_count**k)[:, None] * self.joint_count + joint
            found.append(self._first(min(k + 1, self.memory)) + (after if k < self.memory else after % last))
        to = torch.cat(found).reshape(self.state_count, *self.action_counts, 1)
        return Sparse(to, torch.ones(to.shape, dtype=torch.float64))
