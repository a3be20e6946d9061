"""A combination lock: every wrong turn ends in silence, and only the last report says whether the lock opened.

    z = (z_0, ..., z_{H-1})   the combination, one of A positions for each dial
    dial h is set to g        the lock is still good if it was and g = z_h; nothing tells
    after the last dial       "the lock opens" pays 1, "the lock stays shut" nothing

With all A^H combinations as latents, two laws of an episode of uniform exploration differ in what two combinations
alone are told, so that

    eta = 2 A^-H

which is exact, and the hard case: episodes of exploration are worth less and less as H grows, and who follows the
mixture of experts mixes combinations dial by dial. The diabolical lock of the literature on exploration (Kakade, "On
the sample complexity of reinforcement learning", 2003) as a latent world.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Truth
from gamesim.games.latent_tables import TabularWorld
from gamesim.parameters import Bounds, check

Dials = Annotated[int, Bounds("a whole number from 1 to 16", 1, 16)]
Positions = Annotated[int, Bounds("a whole number from 2 to 64", 2, 64)]
MOST = 4096
"""Latents: their tables, and the filters of runs, hold numbers for each."""


@final
@dataclass(frozen=True, kw_only=True)
class Lock(TabularWorld):
    """A lock with a combination that no report hints at."""

    dials: Dials = 3
    """H, dials that are set one after the other: an episode."""
    positions: Positions = 3
    """A, positions of a dial; A^H latents."""
    truth: Truth = "prior"
    """The combination, as in 0-2-1, or its number; prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        if self.positions**self.dials > MOST:
            shown = f"{self.positions}^{self.dials} = {self.positions**self.dials:,} combinations"
            raise refuse("dials", shown, f"at most {MOST:,}: fewer dials, or fewer positions")
        self.truth_law  # noqa: B018  refuses a latent that is not there

    @property
    def horizon(self) -> int:
        return self.dials

    @cached_property
    def combinations(self) -> Tensor:
        """[z, h]."""
        every = itertools.product(range(self.positions), repeat=self.dials)
        return torch.tensor(list(every))

    @cached_property
    def prior(self) -> Tensor:
        count = len(self.combinations)
        return torch.full((count,), 1 / count, **self.like)

    @cached_property
    def latents(self) -> tuple[str, ...]:
        return tuple("-".join(map(str, row)) for row in self.combinations.tolist())

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("open the lock",)

    @cached_property
    def subgoals(self) -> tuple[str, ...]:
        return tuple(f"set the next dial to {g}" for g in range(self.positions))

    @cached_property
    def observations(self) -> tuple[str, ...]:
        silent = (f"{h} of {self.dials} dials are set" for h in range(self.dials))
        return *silent, "the lock stays shut", "the lock opens"

    @property
    def about(self) -> str:
        return (
            f"There is a lock with {self.dials} dials, each with the positions 0 to {self.positions - 1}. In each "
            f"episode the dials are set one after the other. If all are right, the lock opens, and that pays 1; "
            f"otherwise it stays shut and pays nothing. The combination is the same in all episodes; no dial tells "
            f"whether it is right."
        )

    # --- tables: state h while all of h dials are right, H + 1 + h once one is wrong ----------------------------------

    @cached_property
    def transition(self) -> Tensor:
        H, count = self.dials, len(self.combinations)
        right = torch.nn.functional.one_hot(self.combinations, self.positions).to(**self.like)  # [z, h, g]
        table = torch.zeros(count, 2 * H + 2, self.positions, 2 * H + 2, **self.like)
        for h in range(H):
            table[:, h, :, h + 1] = right[:, h]
            table[:, h, :, H + 2 + h] = 1 - right[:, h]
            table[:, H + 1 + h, :, H + 2 + h] = 1
        for end in (H, 2 * H + 1):
            table[:, end, :, end] = 1
        return table

    @cached_property
    def emission(self) -> Tensor:
        H = self.dials
        said = torch.tensor([*range(H), H + 1, *range(H + 1)])
        table = torch.nn.functional.one_hot(said, H + 2).to(**self.like)
        return table.expand(len(self.combinations), *table.shape)

    @cached_property
    def initial(self) -> Tensor:
        return torch.eye(2 * self.dials + 2, **self.like)[:1].expand(len(self.combinations), -1)

    @cached_property
    def reward(self) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor([self.dials + 1]), self.dials + 2).to(**self.like)

    def distinguishability(self) -> float:
        return float(2 / self.positions**self.dials)
