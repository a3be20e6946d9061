"""The classics: two or three players, two or three actions. Payoffs are (row, column); rows and columns in one order.

Sources stand with each game. Where nothing else is said, numbers are those that textbooks print.
"""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Few, TableGame, entries, require_descending, symmetric
from gamesim.errors import refuse
from gamesim.parameters import Bounds, Positive, Real


@dataclass(frozen=True, kw_only=True)
class TwoByTwo(TableGame):
    """Two players with two actions each."""

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (2, 2)


@final
@dataclass(frozen=True, kw_only=True)
class PrisonersDilemma(TwoByTwo):
    """Defecting is better whatever the other does, and both would rather cooperate: ((R,R) (S,T); (T,S) (P,P)).

    One equilibrium, strict: both defect. Tucker, 1950; 5, 3, 1, 0 are of Axelrod, "The evolution of cooperation", 1984.
    """

    temptation: Real = 5.0
    """T, of who defects alone."""
    reward: Real = 3.0
    """R, of both where both cooperate."""
    punishment: Real = 1.0
    """P, of both where both defect."""
    sucker: Real = 0.0
    """S, of who cooperates alone; T > R > P > S."""

    action_names = ("cooperate", "defect")

    def validate(self) -> None:
        require_descending(self, "temptation", "reward", "punishment", "sucker")

    def table(self) -> Tensor:
        return symmetric([[self.reward, self.sucker], [self.temptation, self.punishment]])


@final
@dataclass(frozen=True, kw_only=True)
class BattleOfTheSexes(TwoByTwo):
    """Together is better than apart, but where: ((3,2) (0,0); (0,0) (2,3)).

    Two strict equilibria, and one in which each goes to their own favourite with probability p / (p + o), 3/5. Luce
    and Raiffa, "Games and decisions", 1957, section 5.3.
    """

    preferred: Real = 3.0
    """p, of being together at one's own favourite: the row player's is the first action."""
    other: Real = 2.0
    """o, of being together at the other's favourite."""
    apart: Real = 0.0
    """Of being apart; preferred > other > apart."""

    action_names = ("first", "second")

    def validate(self) -> None:
        require_descending(self, "preferred", "other", "apart")

    def table(self) -> Tensor:
        first = entries([[self.preferred, self.apart], [self.apart, self.other]])
        return torch.stack([first, first.flip(-1, -2)], -3)


@final
@dataclass(frozen=True, kw_only=True)
class Chicken(TwoByTwo):
    """Who swerves loses face, but if nobody does both crash: ((R,R) (S,T); (T,S) (C,C)); also hawk and dove.

    Two strict equilibria, one swerving, and a mixed one. Rapoport and Chammah, American Behavioral Scientist 10 (1966);
    7, 6, 2, 0 are of Aumann, "Subjectivity and correlation in randomized strategies", Journal of Mathematical Economics
    1 (1974), where a correlated equilibrium pays more than any Nash equilibrium.
    """

    temptation: Real = 7.0
    """T, of who dares alone."""
    reward: Real = 6.0
    """R, of both where both swerve."""
    sucker: Real = 2.0
    """S, of who swerves alone."""
    crash: Real = 0.0
    """C, of both where both dare; T > R > S > C."""

    action_names = ("swerve", "dare")

    def validate(self) -> None:
        require_descending(self, "temptation", "reward", "sucker", "crash")

    def table(self) -> Tensor:
        return symmetric([[self.reward, self.sucker], [self.temptation, self.crash]])


@final
@dataclass(frozen=True, kw_only=True)
class StagHunt(TwoByTwo):
    """A stag takes both hunters, a hare only one: ((stag,stag) (alone,hare); (hare,alone) (hare,hare)).

    Two strict equilibria: the better one, and the safer one. Rousseau, 1755; Skyrms, "The stag hunt and the evolution
    of social structure", 2004.
    """

    stag: Real = 2.0
    """Of both where both hunt the stag."""
    hare: Real = 1.0
    """Of whoever hunts the hare."""
    alone: Real = 0.0
    """Of who hunts the stag alone; stag > hare > alone."""

    action_names = ("stag", "hare")

    def validate(self) -> None:
        require_descending(self, "stag", "hare", "alone")

    def table(self) -> Tensor:
        return symmetric([[self.stag, self.alone], [self.hare, self.hare]])


@final
@dataclass(frozen=True, kw_only=True)
class MatchingPennies(TwoByTwo):
    """The row player wants the pennies to match, the column player wants them to differ: zero-sum, value 0.

    The only equilibrium is uniform. Von Neumann, "Zur Theorie der Gesellschaftsspiele", Mathematische Annalen 100
    (1928).
    """

    stake: Positive = 1.0
    """What is won and lost."""

    action_names = ("heads", "tails")

    def table(self) -> Tensor:
        first = entries([[self.stake, -self.stake], [-self.stake, self.stake]])
        return torch.stack([first, -first], -3)


@final
@dataclass(frozen=True, kw_only=True)
class Roshambo(TableGame):
    """Rock, paper, scissors: each action beats half of the others and loses to the rest; of 5 and more, any odd number.

    The only equilibrium is uniform. Zero-sum where winning and losing weigh the same, and then only: where a win weighs
    less, play that learns runs away from the equilibrium (Weissing, in "Game equilibrium models I", 1991).
    """

    hands: Annotated[int, Bounds("an odd number from 3 to 4,999", 3, 4999)] = 3
    """Actions, an odd number: a beats b where (a - b) mod hands is odd; Spock is the fourth, the lizard the fifth."""
    win: Positive = 1.0
    """Of who wins."""
    loss: Positive = 1.0
    """What losing costs."""

    def validate(self) -> None:
        if self.hands % 2 == 0:
            raise refuse("hands", self.hands, "an odd number from 3 to 4,999")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.hands, self.hands)

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        named = ("rock", "paper", "scissors", "spock", "lizard")
        names = named[: self.hands] if self.hands <= 5 else tuple(map(str, range(1, self.hands + 1)))
        return names, names

    def table(self) -> Tensor:
        place = torch.arange(self.hands)
        wins = (place[:, None] - place) % self.hands % 2
        win, loss = self.lifted("win", "loss")
        return torch.stack([wins, wins.mT]) * win - torch.stack([wins.mT, wins]) * loss


@final
@dataclass(frozen=True, kw_only=True)
class Coordination(TableGame):
    """Everyone wants to do what all others do: u_i(a) = rewards[a] where all choose a, and 0 otherwise.

    A profile in which all choose the same is a strict equilibrium, and the game is one of common interest. Schelling,
    "The strategy of conflict", 1960.
    """

    player_count: Few = 2
    """Number of players."""
    rewards: tuple[Positive, ...] = (1.0, 1.0)
    """What each action pays to all if all choose it: as many actions as numbers."""

    def validate(self) -> None:
        if len(self.rewards) < 1:
            raise refuse("rewards", list(self.rewards), "a number for each action")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (len(self.rewards),) * self.player_count

    def table(self) -> Tensor:
        paid = torch.zeros(self.action_counts, dtype=torch.float64)
        along = torch.arange(len(self.rewards))
        paid[(along,) * self.player_count] = torch.tensor(self.rewards, dtype=torch.float64)
        return paid.expand(self.player_count, *self.action_counts)


@final
@dataclass(frozen=True, kw_only=True)
class Shapley(TableGame):
    """Fictitious play circles for ever, ever more slowly: rows want to match, columns to be one on.

    ((1,0) (0,1) (0,0); (0,0) (1,0) (0,1); (0,1) (0,0) (1,0)). The only equilibrium is uniform. Shapley, "Some topics in
    two-person games", Advances in Game Theory, Annals of Mathematics Studies 52 (1964).
    """

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (3, 3)

    def table(self) -> Tensor:
        first = torch.eye(3, dtype=torch.float64)
        return torch.stack([first, first.roll(1, -1)])


@final
@dataclass(frozen=True, kw_only=True)
class Jordan(TableGame):
    """Three-player matching pennies: 1 wants to match 2, 2 to match 3, and 3 to differ from 1; 1 or -1 each.

    The only equilibrium is uniform, and many ways of learning never come near it. Jordan, "Three problems in learning
    mixed-strategy Nash equilibria", Games and Economic Behavior 5 (1993).
    """

    stake: Positive = 1.0
    """What is won and lost."""

    action_names = ("heads", "tails")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (2, 2, 2)

    def table(self) -> Tensor:
        sign = torch.tensor([1.0, -1.0], dtype=torch.float64)
        x, y, z = sign[:, None, None], sign[:, None], sign
        (stake,) = self.lifted("stake")
        return torch.stack(torch.broadcast_tensors(x * y, y * z, -z * x)) * stake
