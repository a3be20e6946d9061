"""Speculative decoding replayed from a log of how many tokens each draft brought in each round.

    rows       round t has row t of the table, for every seed alike, and after the last row the first one again: an
               oblivious adversary, which is what EXP3Spec and Hedge are for
    samples    each arm's numbers of tokens are drawn from those in the log, anew and alone in every round: stationary

Rows need a log in which every round has every arm. What a run is compared with is the mean of each arm.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.bandits.speculative_decoding import Tokens
from gamesim.errors import refuse
from gamesim.formats.acceptance import LONGEST, Acceptance, read_acceptance
from gamesim.games.bandit import BanditGame
from gamesim.parameters import check


@final
@dataclass(frozen=True, kw_only=True)
class AcceptanceLog(BanditGame):
    """Arms whose rewards were logged."""

    data: str | Acceptance
    """A file: .csv or .tsv with columns round, arm, accepted, or .jsonl; in Python also an `Acceptance`."""
    tokens: Tokens = 10_000.0
    """How many are to be generated; a run ends there."""
    replay: Literal["rows", "samples"] | None = None
    """In the order of the log, or drawn from it; none: rows where every round has every arm."""
    longest: int | None = None
    """L + 1, the most tokens that a round can bring; none: the most that one brought."""

    def __post_init__(self) -> None:
        check(self)
        log, most = self.log, int(max(x.max() for x in self.log.lengths))
        if self.replay == "rows" and not log.complete:
            raise refuse("replay", "rows", "samples: in this log some rounds lack some arms")
        if self.longest is not None and not max(most, 2) <= self.longest <= LONGEST:
            raise refuse(
                "longest", self.longest, f"a whole number from {max(most, 2)}, which is in the log, to {LONGEST}"
            )

    @cached_property
    def log(self) -> Acceptance:
        """What the file says."""
        return self.data if isinstance(self.data, Acceptance) else read_acceptance(self.data)

    @property
    def bounds(self) -> tuple[float, float]:
        most = self.longest or max(float(x.max()) for x in self.log.lengths)
        return 1.0, max(2.0, float(most))

    @property
    def stationary(self) -> bool:
        return self.replay == "samples" or not self.log.complete

    @property
    def goal(self) -> float | Tensor:
        return self.tokens

    @cached_property
    def _lengths(self) -> Tensor:
        """[arm, round], with zeros behind shorter sequences."""
        return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(x) for x in self.log.lengths], batch_first=True)

    @cached_property
    def _counts(self) -> Tensor:
        return torch.tensor([len(x) for x in self.log.lengths], dtype=torch.float64)

    @cached_property
    def _means(self) -> Tensor:
        return self._lengths.sum(-1) / self._counts

    def mean_rewards(self, t: int) -> Tensor:
        return self._means if self.stationary else self._lengths[:, t % self._lengths.shape[-1]]

    @property
    def lasting_rewards(self) -> Tensor:
        return self._means

    def paid(self, u: Tensor, t: int) -> Tensor:
        if not self.stationary:
            return self.mean_rewards(t).expand(u.shape)
        arm = torch.arange(len(self._counts), device=u.device).expand(u.shape)
        return self._lengths[arm, (u * self._counts).long()]
