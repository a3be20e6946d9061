"""A grid world with all three parts: a Planner that names boxes, an Actor that walks to them, a Reporter that misreads.

Along the walls of a grid stand boxes, and box z holds the treasure; a sign in the centre has the number of that box. A
subgoal is a box or the sign. The Actor walks `steps` slippery steps towards it, stays once there, and may not arrive.
The Reporter tells what is in the cell where the Actor stopped; it misreads every number with probability `noise`,

    gamma(box k is empty | s = box j) = (1 - noise) 1{k = j} + noise / n,     as for a treasure, and for the sign

and the treasure pays 1 / H whenever the Actor stops at it, whatever its number is read as. The high level is compiled
from the low one, P(t | s, g) = (P^{pi_g})^steps [s, t], and hidden: "nothing is here" may be any of the other cells.
Experts go to box z; no expert reads the sign.

`reporter=learned`: the planner takes a Reporter for the true one that was learned from `pairs` matched and unmatched
pairs. `actor=learned`: an Actor walks that was learned from `transitions`, which the planner takes for the one of value
iteration. Losses are always those of the world as it is.

The instance is ours, after the Planner-Actor-Reporter system of He et al., ICML 2024, arXiv 2405.19883.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, final

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.envs.latent.grid_actor import DISCOUNT, MOVES, exact_actor, grid_kernel, perimeter
from gamesim.envs.latent.imagined import Imagined
from gamesim.errors import refuse
from gamesim.games.hierarchy import Hierarchy
from gamesim.games.latent import Belief, Chance, Truth
from gamesim.games.latent_tables import TabularWorld
from gamesim.parameters import Bounds, Count, Natural, check
from gamesim.planning.actor import experienced, learned_actor
from gamesim.planning.reporter import distance, learned_reporter

Size = Annotated[int, Bounds("an odd whole number from 3 to 15", 3, 15)]
Few = Annotated[int, Bounds("a whole number from 1 to 4", 1, 4)]
Steps = Annotated[int, Bounds("a whole number from 1 to 1000", 1, 1000)]
Made = Literal["exact", "learned"]


@final
@dataclass(frozen=True, kw_only=True)
class Grid(TabularWorld):
    """Boxes along the walls of a slippery grid, one with a treasure, and a sign that says which."""

    size: Size = 7
    """Rows and columns: 4 (size - 1) boxes."""
    slip: Chance = 0.1
    """How often a move is one at random."""
    steps: Steps = 8
    """Moves of the Actor for a subgoal, H_a."""
    walks: Few = 2
    """H, subgoals of an episode."""
    noise: Chance = 0.05
    """How often the Reporter reads a number as one at random."""
    entrance: tuple[Natural, ...] | None = None
    """Row and column where episodes begin, from 0; none: row 1, in the middle."""
    reporter: Made = "exact"
    """What the planner takes for the Reporter."""
    actor: Made = "exact"
    """Who walks."""
    pairs: Count = 20_000
    """Pairs that a learned Reporter has seen."""
    transitions: Count = 2_000
    """Moves that a learned Actor has seen."""
    lesson: Natural = 0
    """The seed of what is learned."""
    truth: Truth = "prior"
    """The box with the treasure, by name or number; prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        if self.size % 2 == 0:
            raise refuse("size", self.size, "an odd number: the sign stands in the centre")
        if self.entrance is not None and (len(self.entrance) != 2 or max(self.entrance) >= self.size):
            raise refuse("entrance", list(self.entrance), f"a row and a column, 0 to {self.size - 1}")
        self.truth_law  # noqa: B018  refuses a latent that is not there

    @property
    def horizon(self) -> int:
        return self.walks

    # --- names --------------------------------------------------------------------------------------------------------

    @property
    def boxes(self) -> int:
        """n."""
        return 4 * (self.size - 1)

    @cached_property
    def prior(self) -> Tensor:
        return torch.full((self.boxes,), 1 / self.boxes, **self.like)

    @cached_property
    def latents(self) -> tuple[str, ...]:
        return tuple(f"box {k + 1}" for k in range(self.boxes))

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("get the treasure",)

    @cached_property
    def subgoals(self) -> tuple[str, ...]:
        return *(f"go to {name}" for name in self.latents), "read the sign"

    @cached_property
    def observations(self) -> tuple[str, ...]:
        said = ("{} is empty", "{} holds the treasure", "the sign names {}")
        return "nothing is here", *(words.format(name) for words in said for name in self.latents)

    @property
    def about(self) -> str:
        row, column = divmod(self.begin, self.size)
        return (
            f"A robot walks on a grid of {self.size} by {self.size} cells, from row {row + 1}, column {column + 1}. "
            f"Along the walls stand {self.boxes} boxes, numbered clockwise from the upper left corner; one holds a "
            f"treasure, the same in all episodes. A sign in the centre names it. In each of {self.horizon} turns of an "
            f"episode you send the robot to a box or to the sign: it takes {self.steps} steps, slips now and then, and "
            f"may not arrive. You are told what is in the cell where it stopped; numbers are misread in "
            f"{self.noise:.0%} of all reports. "
            f"Every turn that ends at the treasure pays {1 / self.horizon:.3g}."
        )

    # --- the low level ------------------------------------------------------------------------------------------------

    @cached_property
    def goals(self) -> Tensor:
        """The cell of each subgoal, [g]: boxes, then the sign."""
        return torch.cat([perimeter(self.size), torch.tensor([self.size**2 // 2])])

    @property
    def begin(self) -> int:
        """The cell where episodes begin."""
        row, column = self.entrance or (1, self.size // 2)
        return row * self.size + column

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(f"row {s // self.size + 1}, column {s % self.size + 1}" for s in range(self.size**2))

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Who walks, and where."""
        kernel = grid_kernel(self.size, float(self.slip))
        if self.actor == "exact":
            return self._told(kernel, exact_actor(kernel, self.goals))
        past = experienced(kernel, self.transitions, self.lesson)
        return self._told(kernel, learned_actor(past, self.goals, self.size**2, len(MOVES), DISCOUNT))

    def _told(self, kernel: Tensor, actor: Tensor) -> Hierarchy:
        return Hierarchy(
            kernel=kernel, actor=actor, steps=self.steps, states=self.cells, actions=MOVES, subgoals=self.subgoals
        )

    @property
    def actor_success(self) -> float:
        """The chance to be at the subgoal when the Actor stops, from the start: the mean over subgoals."""
        return float(self.hierarchy.reaches(self.goals)[0, self.begin].mean())

    # --- tables -------------------------------------------------------------------------------------------------------

    @cached_property
    def transition(self) -> Tensor:
        return self.hierarchy.compiled.expand(self.boxes, -1, -1, -1)

    @cached_property
    def _by_subgoal(self) -> Tensor:
        """P[g, z, s, t], with one z for all."""
        return self.hierarchy.compiled.permute(2, 0, 1, 3).contiguous()

    @cached_property
    def emission(self) -> Tensor:
        n, eps = self.boxes, float(self.noise)
        read = (1 - eps) * torch.eye(n, **self.like) + eps / n  # the number k as it is read
        table = torch.zeros(n, self.size**2, 1 + 3 * n, **self.like)
        table[:, :, 0] = 1
        table[:, self.goals, 0] = 0
        table[:, self.goals[:-1], 1 : n + 1] = read
        z = torch.arange(n)
        table[z, self.goals[z], 1 : n + 1] = 0
        table[z, self.goals[z], n + 1 : 2 * n + 1] = read
        table[:, self.goals[-1], 2 * n + 1 :] = read
        return table

    @cached_property
    def initial(self) -> Tensor:
        return one_hot(torch.tensor([self.begin]), self.size**2).to(**self.like).expand(self.boxes, -1)

    @cached_property
    def reward(self) -> Tensor:
        report = torch.arange(1 + 3 * self.boxes)
        return ((report > self.boxes) & (report <= 2 * self.boxes))[None].to(**self.like) / self.horizon

    @cached_property
    def _sign(self) -> Tensor:
        return one_hot(torch.tensor([self.boxes]), self.boxes + 1).to(**self.like)

    def explore(self, h: int, observation: Tensor) -> Tensor:
        """Read the sign."""
        return self._sign

    # --- what the planner takes the world for -------------------------------------------------------------------------

    @property
    def sights(self) -> Tensor:
        """What is to be seen in the cells of all worlds, [z s, d]: the cell, a treasure, the number on the sign."""
        n, s = self.boxes, self.size**2
        cell = torch.eye(s, **self.like).expand(n, s, s)
        treasure = torch.zeros(n, s, 1, **self.like)
        treasure[torch.arange(n), self.goals[:-1]] = 1
        number = torch.zeros(n, s, n, **self.like)
        number[:, self.goals[-1]] = torch.eye(n, **self.like)
        return torch.cat([cell, treasure, number], -1).flatten(0, 1)

    @cached_property
    def met(self) -> Tensor:
        """The law of what a Reporter meets in pretraining, [z, s]: where the Actor stops after one subgoal.

        That is the box with the treasure a quarter of the time, the sign another quarter, and anything otherwise.
        """
        n = self.boxes
        law = torch.full((n, n + 1), 0.5 / (n + 1), **self.like)
        law[:, n] += 0.25
        law[torch.arange(n), torch.arange(n)] += 0.25
        return law @ self.hierarchy.compiled[0, self.begin] / n

    @cached_property
    def learned(self) -> Tensor:
        """gamma_theta[z, s, o] of a Reporter that has seen `pairs` pairs."""
        emission = self.emission.flatten(0, 1)
        found = learned_reporter(emission, self.sights, self.met.flatten(), self.pairs, self.lesson)
        return found.reshape(self.emission.shape)

    @property
    def reporter_distance(self) -> float:
        """The mean total variation of the learned Reporter from the true one, over what it meets."""
        return float(distance(self.learned.flatten(0, 1), self.emission.flatten(0, 1), self.met.flatten()))

    @cached_property
    def imagined(self) -> Imagined | None:
        """The world that the planner reasons in, where it is not the true one."""
        if self.reporter == "exact" and self.actor == "exact":
            return None
        kernel = self.hierarchy.kernel
        high = self._told(kernel, exact_actor(kernel, self.goals)).compiled
        emission = self.emission if self.reporter == "exact" else self.learned
        return Imagined(of=self, high=high, seen=emission)

    def _outside(self, front: tuple[int, ...]) -> tuple[Tensor, ...]:
        own = super()._outside(front)
        return own if self.imagined is None else (*own, *self.imagined._outside(front))

    def _split(self, belief: Belief) -> tuple[Belief, Belief]:
        """What the true filter holds, and what the planner's does."""
        count = len(super()._outside(()))
        return Belief(belief.log, belief.inside[:count]), Belief(belief.log, belief.inside[count:])

    def meet(self, belief: Belief, observation: Tensor) -> Belief:
        if self.imagined is None:
            return super().meet(belief, observation)
        true, taken = self._split(belief)
        true, taken = super().meet(true, observation), self.imagined.meet(taken, observation)
        return Belief(taken.log, true.inside + taken.inside)

    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        if self.imagined is None:
            return super().update(h, belief, subgoal, observation)
        true, taken = self._split(belief)
        true = super().update(h, true, subgoal, observation)
        taken = self.imagined.update(h, taken, subgoal, observation)
        return Belief(taken.log, true.inside + taken.inside)

    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        if self.imagined is None:
            return super().experts(h, task, belief)
        return self.imagined.experts(h, task, self._split(belief)[1])
