"""Needle: one of n boxes may hold a prize; a wrong box says nothing of the others, and no expert ever reads the sign.

    open box g      the prize is there with probability p if g = z, else q;  pays 1
    read the sign   it points at z with probability 1 - delta, else at a box at random;  pays nothing

The expert of z opens box z. An episode is one decision. Of reading the sign, with b = delta / n, a = 1 - delta + b,

    eta = 1 - [ 2 sqrt(a b) + (n - 2) b ] = (sqrt a - sqrt b)^2

Who follows the Bayes mixture of experts opens boxes one after the other: with n = T the regret is at least
0.5 T (1 - 1/T)^T for p = 0.5, linear, whereas an exploring planner that reads the sign has one of order sqrt(T log T).

The instance is ours, after the hard one of He et al., ICML 2024, arXiv 2405.19883.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from gamesim.envs.latent.boxes import PRIZE, SIGN, Boxed
from gamesim.errors import refuse
from gamesim.games.latent import Belief, Chance


@final
@dataclass(frozen=True, kw_only=True)
class Needle(Boxed):
    """Boxes, one of which may hold a prize, and a sign that no expert needs."""

    luck: Chance = 0.0
    """q: how often another box holds a prize; below p."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.luck < self.prize:
            raise refuse("luck", self.luck, f"a probability below prize, {self.prize}")

    @cached_property
    def latents(self) -> tuple[str, ...]:
        return tuple(f"box {k + 1}" for k in range(self.boxes))

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("find the prize",)

    @cached_property
    def subgoals(self) -> tuple[str, ...]:
        return *(f"open {name}" for name in self.latents), "read the sign"

    @cached_property
    def observations(self) -> tuple[str, ...]:
        said = ("{} is empty", "{} holds the prize", "the sign points at {}")
        return "nothing yet", *(words.format(name) for words in said for name in self.latents)

    @property
    def about(self) -> str:
        return (
            f"There are {self.boxes} boxes and a sign. One box is the right one, the same in all episodes: it holds a "
            f"prize in {self.prize:.0%} of all episodes, any other box in {self.luck:.0%}. In each episode you either "
            f"open one box or read the sign. A prize pays 1, everything else 0. The sign points at the right box with "
            f"probability {1 - self.blur:.2g}, and otherwise at a box at random."
        )

    # --- reports: 0 nothing yet, then 1 + n * (empty, prize, sign) + box ---------------------------------------------

    @cached_property
    def _log_likelihood(self) -> Tensor:
        """log P(report | z) for (empty, prize, sign) about box k: [report, (z = k, z != k)]."""
        p, q = self.prize, self.luck
        return torch.tensor([[1 - p, 1 - q], [p, q], self.pointing], **self.like).log()

    def move(self, h: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        n, box = self.boxes, subgoal[..., 0]
        found = u[..., 0] < torch.where(box == latent, u.new_tensor(self.prize), u.new_tensor(self.luck))
        report = torch.where(box < n, box + n * found.long(), self.pointed(latent, u) + SIGN * n)
        return torch.zeros_like(latent), 1 + report

    def rewards(self, h: int, task: Tensor, observation: Tensor) -> Tensor:
        return ((observation - 1) // self.boxes == PRIZE).to(**self.like)

    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        report, box = (observation - 1) // self.boxes, (observation - 1) % self.boxes
        here, elsewhere = self._log_likelihood[report].unsqueeze(-1).unbind(-2)
        likelihood = elsewhere.expand(*elsewhere.shape[:-1], self.boxes)
        return belief.weighed(likelihood.scatter(-1, box.unsqueeze(-1), here), ())

    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        return torch.arange(self.boxes).unsqueeze(-1).expand(*belief.log.shape, 1)

    def losses(self, h: int, task: Tensor, latent: Tensor, belief: Belief, subgoal: Tensor) -> Tensor:
        box = subgoal[..., 0]
        wrong = self.prize - self.luck * (box < self.boxes).to(**self.like)
        return (box != latent) * wrong
