"""Needle: one of n boxes may hold a prize; a wrong box says nothing of the others, and no expert ever reads the sign.

    open box g      the prize is there with probability p if g = z, else q;  pays 1
    read the sign   it points at z with probability 1 - delta, else at a box at random;  pays nothing

The expert of z opens box z. An episode is one decision. Of reading the sign, with b = delta / n, a = 1 - delta + b,

    eta = 1 - [ 2 sqrt(a b) + (n - 2) b ] = (sqrt a - sqrt b)^2

Who follows the Bayes mixture of experts opens boxes one after the other: with n = T the regret is at least
0.5 T (1 - 1/T)^T for p = 0.5, linear, whereas an exploring planner that reads the sign has one of order sqrt(T log T).

The instance is ours, after the hard one of He et al., ICML 2024, arXiv 2405.19883.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Belief, Chance, LatentWorld, Truth
from gamesim.parameters import Bounds, check

Boxes = Annotated[int, Bounds("a whole number from 2 to 1,000,000", 2, 10**6)]
EMPTY, PRIZE, SIGN = range(3)


@final
@dataclass(frozen=True, kw_only=True)
class Needle(LatentWorld):
    """Boxes, one of which may hold a prize, and a sign that no expert needs."""

    boxes: Boxes = 8
    """n: as many latents, and one more subgoal."""
    prize: Chance = 0.5
    """p: how often the right box holds the prize."""
    luck: Chance = 0.0
    """q: how often another box does; below p."""
    blur: Chance = 0.5
    """delta: how often the sign points anywhere."""
    truth: Truth = "prior"
    """The box that is right, by name or number; prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        if not self.luck < self.prize:
            raise refuse("luck", self.luck, f"a probability below prize, {self.prize}")
        self.truth_law  # noqa: B018  refuses a latent that is not there

    @property
    def horizon(self) -> int:
        return 1

    @cached_property
    def prior(self) -> Tensor:
        return torch.full((self.boxes,), 1 / self.boxes, **self.like)

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
        b = self.blur / self.boxes
        return torch.tensor([[1 - p, 1 - q], [p, q], [1 - self.blur + b, b]], **self.like).log()

    def open(self, latent: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        zero = torch.zeros_like(latent)
        return zero, zero

    def move(self, h: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        n, box = self.boxes, subgoal[..., 0]
        found = u[..., 0] < torch.where(box == latent, u.new_tensor(self.prize), u.new_tensor(self.luck))
        anywhere = (u[..., 1] * n).long().clamp(max=n - 1)
        pointed = torch.where(u[..., 0] < self.blur, anywhere, latent)
        report = torch.where(box < n, box + n * found.long(), pointed + SIGN * n)
        return torch.zeros_like(latent), 1 + report

    def rewards(self, h: int, task: Tensor, observation: Tensor) -> Tensor:
        return ((observation - 1) // self.boxes == PRIZE).to(**self.like)

    def meet(self, belief: Belief, observation: Tensor) -> Belief:
        return belief

    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        report, box = (observation - 1) // self.boxes, (observation - 1) % self.boxes
        here, elsewhere = self._log_likelihood[report].unsqueeze(-1).unbind(-2)
        box = box.unsqueeze(-1).expand(*belief.log.shape[:-1], 1)
        log = (belief.log + elsewhere).scatter(-1, box, belief.log.gather(-1, box) + here)
        total = log.logsumexp(-1, keepdim=True)
        return Belief(torch.where(total == -math.inf, belief.log, log - total))

    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        return torch.arange(self.boxes).unsqueeze(-1).expand(*belief.log.shape, 1)

    def losses(self, h: int, task: Tensor, latent: Tensor, belief: Belief, subgoal: Tensor) -> Tensor:
        box = subgoal[..., 0]
        wrong = self.prize - self.luck * (box < self.boxes).to(**self.like)
        return (box != latent) * wrong

    @cached_property
    def value(self) -> Tensor:
        return torch.full((self.boxes,), self.prize, **self.like)

    @cached_property
    def _sign(self) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor([self.boxes]), self.boxes + 1).to(**self.like)

    def explore(self, h: int, observation: Tensor) -> Tensor:
        """Read the sign."""
        return self._sign

    def distinguishability(self) -> float:
        a, b = 1 - self.blur + self.blur / self.boxes, self.blur / self.boxes
        return (math.sqrt(a) - math.sqrt(b)) ** 2
