"""Models of a crowd whose luck is shared: the law of one agent, which is that of all, by maximum likelihood.

Where all agents at x = (z, u) move together by one draw of p(t | x), a transition holds one draw for every x that is
occupied, and the likelihood is a product over them: p_hat(t | x) is the share of draws that went to t. Two such models
differ on (S, A) by

    TV = 1/2 sum over what is drawn, (t_x) for occupied x, | prod_x p(t_x | x) - prod_x q(t_x | x) |

which depends on (S, A) only through which x are occupied, so that means over the data are sums over those sets.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from gamesim.offline.confidence import Worst, worst_model
from gamesim.offline.exact.pairs import Local, Transitions

STIFFEST = 0.1
"""The least variance of a draw that the search for a worst model reckons with: TV, unlike KL, has no walls at 0."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What data say of p(t | x), [..., x, t], and of which pairs were occupied."""

    draws: Tensor
    """How often luck took x to t, [..., x, t]."""
    share: Tensor
    """Share of the data with each set of occupied pairs, [..., set]; the set's number in binary, first pair first."""
    samples: int

    @classmethod
    def of(cls, data: Transitions) -> "Fitted":
        pairs = data.pairs.shape[-1]
        code = ((data.pairs > 0).long() * 2 ** torch.arange(pairs - 1, -1, -1)).sum(-1)
        share = torch.nn.functional.one_hot(code, 2**pairs).to(data.pairs.dtype).mean(-2)
        return cls(data.draws, share, data.pairs.shape[-2])

    @cached_property
    def kernel(self) -> Tensor:
        """p_hat[..., x, t]; uniform where nothing was drawn."""
        total = self.draws.sum(-1, keepdim=True)
        return torch.where(total > 0, self.draws / total.clamp(min=1), 1 / self.draws.shape[-1])

    @property
    def parameters(self) -> int:
        return self.draws.shape[-2] * (self.draws.shape[-1] - 1)

    @cached_property
    def occupied(self) -> Tensor:
        """Whether each set has each pair, bool [set, x]."""
        pairs = self.draws.shape[-2]
        return (torch.arange(2**pairs)[:, None] >> torch.arange(pairs - 1, -1, -1) & 1).bool()

    def outcomes(self, kernel: Tensor) -> Tensor:
        """Chances of everything that may be drawn, [..., set, outcome]; what is not occupied is drawn uniformly."""
        law = torch.where(self.occupied[..., None], kernel[..., None, :, :], 1 / kernel.shape[-1])
        found = law[..., 0, :]
        for x in range(1, law.shape[-2]):
            found = (found[..., :, None] * law[..., x, None, :]).flatten(-2)
        return found

    def distance(self, kernel: Tensor, known: Tensor) -> Tensor:
        """The mean over the data of TV^2 between models, [...]; `known` are the outcomes of the other."""
        variation = (self.outcomes(kernel) - known).abs().sum(-1) / 2
        return (self.share * variation.square()).sum(-1)

    def worst(self, problem: Local, policy: Tensor, start: Tensor, agents: int, zeta: float) -> Worst:
        """The worst p for policy[..., z, u] within mean TV^2 <= zeta, of two local states; `model` is p(first | x)."""
        known = self.outcomes(self.kernel)
        centre = self.kernel[..., 0]
        spread = (centre * (1 - centre)).clamp(min=STIFFEST)
        return worst_model(
            lambda w: replace(problem, kernel=torch.stack([w, 1 - w], -1)).returns(policy, start, agents),
            lambda w: self.distance(torch.stack([w, 1 - w], -1), known),
            centre,
            torch.diag_embed((self.draws.sum(-1) / self.samples).clamp(min=1 / self.samples) / spread),
            zeta,
            within=lambda w: w.clamp(0, 1),
        )
