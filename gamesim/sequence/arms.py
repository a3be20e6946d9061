"""Which draft speculates best for the texts at hand: an arm is a draft and how many tokens it proposes at a time.

An arm's reward is the number of tokens that a call of the target brings. It is not known before, and learned from these
numbers alone: at work (`Live`), or where they were recorded (`recorded`, gamesim.envs.bandits.acceptance_log).

Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", ICML 2025, arXiv 2505.15141.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.formats.acceptance import Acceptance
from gamesim.games.bandit import BanditGame
from gamesim.games.game import Policy
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.speculative import Decoding, Texts


class Arm(NamedTuple):
    """A way to speculate: who proposes, and how many tokens at a time."""

    draft: Decoder
    gamma: int


class Live(BanditGame):
    """Which arm to use for each next call, on texts that are being written: a bandit whose rewards are tokens.

    Every run writes one text after the other, and begins anew where the longest draft would not fit any more. Only what
    the pulled arm brings is known; the others' rewards are given as the least there is. So are means, unless given:
    regret is measured against them. It holds the texts, so one object is played once, by one solver.
    """

    def __init__(
        self,
        target: Decoder,
        arms: Sequence[Arm],
        prompts: Callable[[Stream], Tensor],
        runs: int,
        tokens: float,
        means: Sequence[float] | None = None,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> None:
        """prompts(generator): how the next text of each run begins, long [run, L]; drawn anew for every call."""
        if not arms:
            raise refuse("arms", "none", "at least one arm")
        for arm in arms:
            if arm.gamma < 1:
                raise refuse("gamma", arm.gamma, "a whole number from 1")
        drafts = list(dict.fromkeys(arm.draft for arm in arms))
        self.decoding = Decoding.of(target, drafts, temperature, top_p)
        self.arms = [(drafts.index(arm.draft), arm.gamma) for arm in arms]
        self.longest = max(arm.gamma for arm in arms)
        self.prompts, self.runs, self.tokens = prompts, runs, tokens
        known = torch.ones(len(arms)) if means is None else torch.tensor(means)
        self.means = known.to(torch.float64).expand(runs, len(arms))
        self.texts: Texts | None = None
        self.brought = list[Tensor]()
        """What each call brought, [run]; 0 where there was none."""

    @property
    def bounds(self) -> tuple[float, float]:
        return 1.0, self.longest + 1.0

    @property
    def goal(self) -> float:
        return self.tokens

    def mean_rewards(self, t: int) -> Tensor:
        return self.means

    def paid(self, u: Tensor, t: int) -> Tensor:
        raise refuse("game", "a live decoder", "a recorded log, where what every arm would have paid is asked for")

    def answers(self, actions: Tensor, generator: Stream | None = None) -> Policy:
        """actions[run, 1]."""
        if generator is None:
            raise refuse("generator", None, "a Stream, which tokens are drawn with")
        texts = self._ready(generator)
        u = generator.uniform((self.runs, 2 * self.longest + 1))
        came = torch.zeros(self.runs, dtype=torch.long)
        for a, (which, gamma) in enumerate(self.arms):
            runs = (actions[:, 0] == a).nonzero()[:, 0]
            if len(runs):
                longer, brought = self.decoding.call(texts.at(runs), which, gamma, u[runs, : 2 * gamma + 1])
                texts, came = texts.put(runs, longer), came.index_copy(0, runs, brought)
        self.texts = texts
        self.brought.append(came)
        rewards = torch.full_like(self.means, self.bounds[0]).scatter(-1, actions, came[:, None].to(self.means))
        return (rewards,)

    def _ready(self, generator: Stream) -> Texts:
        """Texts with room for the longest draft."""
        prompt, most = self.prompts(generator), self.decoding.target.context - self.longest
        if prompt.shape[0] != self.runs or prompt.shape[-1] > most:
            raise refuse("prompts", list(prompt.shape), f"[{self.runs}, L], L at most {most}: a draft comes behind it")
        if self.texts is None:
            return self.decoding.texts(prompt)
        full = (self.texts.length > most).nonzero()[:, 0]
        return self.texts.put(full, self.decoding.texts(prompt[full])) if len(full) else self.texts


def recorded(
    live: Callable[[], Live], rounds: int, seeds: Sequence[int], names: Sequence[str] = (), first: int = 0
) -> Acceptance:
    """What every arm of a game brings when it is pulled always, so many rounds on every run: a log to replay.

    Rounds of different runs stand one behind the other, and those of one arm know nothing of those of another.
    """
    lengths = list[Any]()
    arms = len(live().arms)
    for a in range(arms):
        game = live()
        for t in range(first, first + rounds):
            game.answers(torch.full((game.runs, 1), a), Stream(list(seeds), t))
        lengths.append(torch.stack(game.brought, -1).flatten().double().numpy())
    return Acceptance(
        tuple(names) or tuple(map(str, range(arms))), tuple(np.asarray(x) for x in lengths), False, "recorded"
    )


def as_csv(log: Acceptance) -> str:
    """A log as text that `read_acceptance` reads."""
    rows = [
        f"{t},{arm},{int(x)}" for arm, found in zip(log.arms, log.lengths, strict=True) for t, x in enumerate(found)
    ]
    return "\n".join(["round,arm,accepted", *rows, ""])
