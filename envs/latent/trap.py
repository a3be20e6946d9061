"""Trap: a safe arm that pays alike in both worlds, and a risky one that only a bold world rewards.

    safe     pays with probability .6 in both
    risky    pays with probability .9 in the bold world and .2 in the timid one, which the prior favours, .7 to .3

In the bold world a planner that always follows the likelier expert plays safe, learns nothing and loses .3 in every
episode, for ever: greedy decoding, top-p and low temperatures have linear regret with two latents. Trying the risky arm
is exploring, and best, too: with p = .9 and q = .2

    eta = 1 - sqrt(p q) - sqrt((1 - p)(1 - q)) = .293

The instance is ours, in the setting of He et al., ICML 2024, arXiv 2405.19883.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from gamesim.games.latent import Chance, Truth
from gamesim.games.latent_tables import TabularWorld
from gamesim.parameters import check


@final
@dataclass(frozen=True, kw_only=True)
class Trap(TabularWorld):
    """Two arms, two worlds; an episode is one decision."""

    bold_prior: Chance = 0.3
    """What the prior gives the bold world."""
    safe: Chance = 0.6
    """Chance that the safe arm pays."""
    bold: Chance = 0.9
    """Chance that the risky arm pays in the bold world."""
    timid: Chance = 0.2
    """Chance that the risky arm pays in the timid world."""
    truth: Truth = "prior"
    """timid, bold, or prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        self.truth_law  # noqa: B018  refuses a latent that is not there

    @property
    def horizon(self) -> int:
        return 1

    @cached_property
    def prior(self) -> Tensor:
        return torch.tensor([1 - self.bold_prior, self.bold_prior], **self.like)

    @property
    def latents(self) -> tuple[str, ...]:
        return "timid", "bold"

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("get paid",)

    @property
    def subgoals(self) -> tuple[str, ...]:
        return "pull the safe arm", "pull the risky arm"

    @property
    def observations(self) -> tuple[str, ...]:
        said = (f"the {arm} arm paid {what}" for arm in ("safe", "risky") for what in ("nothing", "out"))
        return "nothing yet", *said

    @property
    def about(self) -> str:
        return (
            f"There is a safe arm and a risky arm, and one pull in each episode; what is paid out counts 1. The safe "
            f"arm pays out in {self.safe:.0%} of all pulls. The risky arm pays out in {self.bold:.0%} of all pulls if "
            f"the place is bold, and in {self.timid:.0%} if it is timid; which one it is never changes."
        )

    # --- tables: a state is the last report ---------------------------------------------------------------------------

    @cached_property
    def transition(self) -> Tensor:
        table = torch.zeros(2, 5, 2, 5, **self.like)
        for z, risky in enumerate((self.timid, self.bold)):
            for g, paid in enumerate((self.safe, risky)):
                table[z, :, g, 1 + 2 * g] = 1 - paid
                table[z, :, g, 2 + 2 * g] = paid
        return table

    @cached_property
    def emission(self) -> Tensor:
        return torch.eye(5, **self.like).expand(2, 5, 5)

    @cached_property
    def initial(self) -> Tensor:
        return torch.eye(5, **self.like)[:1].expand(2, 5)

    @cached_property
    def reward(self) -> Tensor:
        return torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0]], **self.like)

    def explore(self, h: int, observation: Tensor) -> Tensor:
        """Pull the risky arm."""
        return torch.tensor([[0.0, 1.0]], **self.like)
