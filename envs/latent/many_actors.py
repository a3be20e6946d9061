"""Many actors: a prize for who opens the right boxes together; a planner that asks for each actor alone must agree.

There are n sets of K boxes, one box of each set before each of K actors. In world z,

    all open their box of one set k     the prize is there with probability p if k = z, and never else;  pays 1
    all read the sign                   it points at z with probability 1 - delta, else anywhere;  pays nothing
    anything else                       comes to nothing, whatever z

One episode is one decision. Actors say no more to each other than the planner says to each, by a law of its own,

    pi(g_1 ... g_K) = prod_k sum_z P(z) pi*_{z,k}(g_k),      TV(prod_k pi_k, pi*_z) <= sum_k TV(pi_k, pi*_{z,k}),

so that what is uncertain counts K times: eps = sqrt(K log(|Z| sqrt T) / (T eta)), and a regret like sqrt(K T). With one
set a box of each actor, no draw of a product hits a set but by agreement, and there is nothing else to learn from than
the sign. eta is that of the needle with n boxes, which is this world for K = 1.

The instance is ours, for the factored queries of He et al., ICML 2024, arXiv 2405.19883, section on many actors.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.latent.boxes import PRIZE, SIGN, Boxed
from gamesim.errors import refuse
from gamesim.games.latent import Belief
from gamesim.parameters import Bounds

Actors = Annotated[int, Bounds("a whole number from 1 to 1,000", 1, 1000)]
NOTHING, APART = 0, 1
"""The first reports: nothing yet, and that actors did not do the same."""


@final
@dataclass(frozen=True, kw_only=True)
class ManyActors(Boxed):
    """Sets of boxes, one box for each actor; the right set pays if all open theirs of it, and a sign tells which."""

    actors: Actors = 4
    """K."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.prize > 0:
            raise refuse("prize", self.prize, "a probability above 0")

    @cached_property
    def latents(self) -> tuple[str, ...]:
        return tuple(f"set {z + 1}" for z in range(self.boxes))

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("find the prize together",)

    @cached_property
    def subgoals(self) -> tuple[str, ...]:
        return *(f"open box {g + 1}" for g in range(self.boxes)), "read the sign"

    @cached_property
    def observations(self) -> tuple[str, ...]:
        said = ("{} is empty", "{} holds the prize", "the sign points at {}")
        sets = (words.format(name) for words in said for name in self.latents)
        return "nothing yet", "the actors did not act together", *sets

    @property
    def about(self) -> str:
        return (
            f"There are {self.actors} actors. Before each of them are {self.boxes} boxes, and there is a sign for all. "
            f"Actor k finds set j in box (j + k - 2) mod {self.boxes} + 1. One set is the right one, the same in all "
            f"episodes: it holds a prize in {self.prize:.0%} of all episodes, the others hold none. In each episode "
            f"every actor either opens one box or reads the sign. If all open their boxes of one set, they see what is "
            f"in it; if all read the sign, it points at the right set with probability {1 - self.blur:.2g}, and "
            f"otherwise at a set at random; if they do different things, nothing happens. A prize pays 1, everything "
            f"else 0."
        )

    @cached_property
    def right(self) -> Tensor:
        """The box of each actor in each set, [z, k]."""
        return (torch.arange(self.boxes).unsqueeze(-1) + torch.arange(self.actors)) % self.boxes

    def opened(self, subgoal: Tensor) -> Tensor:
        """The set that all actors open [...], n where all read the sign, n + 1 where they are not together."""
        n = self.boxes
        of = torch.where(subgoal < n, (subgoal - torch.arange(self.actors)) % n, n)
        together = (of == of[..., :1]).all(-1)
        return torch.where(together, of[..., 0], n + 1)

    # --- reports: 0 nothing yet, 1 not together, then 2 + n * (empty, prize, sign) + set ------------------------------

    @cached_property
    def _log_likelihood(self) -> Tensor:
        """log P(report | z) for (not together, empty, prize, sign) of set k: [report, (z = k, z != k)]."""
        chances = [(1.0, 1.0), (1 - self.prize, 1.0), (self.prize, 0.0), self.pointing]
        return torch.tensor(chances, **self.like).log()

    def move(self, h: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        n, of = self.boxes, self.opened(subgoal)
        found = (of == latent) & (u[..., 0] < self.prize)
        about = torch.where(of < n, of + n * found.long(), self.pointed(latent, u) + SIGN * n)
        return torch.zeros_like(latent), torch.where(of > n, APART, 2 + about)

    def rewards(self, h: int, task: Tensor, observation: Tensor) -> Tensor:
        return ((observation - 2).div(self.boxes, rounding_mode="floor") == PRIZE).to(**self.like)

    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        told = observation >= 2
        report = torch.where(told, 1 + (observation - 2) // self.boxes, 0)
        of = torch.where(told, (observation - 2) % self.boxes, 0)
        here, elsewhere = self._log_likelihood[report].unsqueeze(-1).unbind(-2)
        likelihood = elsewhere.expand(*elsewhere.shape[:-1], self.boxes)
        return belief.weighed(likelihood.scatter(-1, of.unsqueeze(-1), here), ())

    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        return self.right.expand(*belief.log.shape, self.actors)

    def losses(self, h: int, task: Tensor, latent: Tensor, belief: Belief, subgoal: Tensor) -> Tensor:
        return torch.where(self.opened(subgoal) == latent, 0.0, self.prize).to(**self.like)
