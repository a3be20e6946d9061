"""What a run with a language model may cost, and what it has cost.

Calls are allowed in the order of runs and before any of them is made, each at the most that it may cost, so what a
budget stops does not depend on how fast answers come. Tokens of a text that nobody has counted are taken to be a
quarter of its bytes; where an endpoint says what it counted, that is counted.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gamesim.planning.language.endpoint import RETRIED


def tokens_of(text: str) -> int:
    """About how many tokens a text has.

    >>> tokens_of("open box 10")
    3
    """
    return -(-len(text.encode("utf-8", "replace")) // 4)


@dataclass(frozen=True)
class Prices:
    """In dollars for a million tokens."""

    prompt: float = 0.0
    reply: float = 0.0

    def cost(self, prompt: float, reply: float) -> float:
        return (self.prompt * prompt + self.reply * reply) / 1e6


@dataclass(frozen=True)
class Budget:
    """The most of a whole run; None is no limit."""

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None


@dataclass
class Account:
    """What was used, in numbers that add up."""

    budget: Budget = Budget()
    prices: Prices = Prices()
    calls: int = 0
    """Requests that were made, tries that failed included."""
    prompt_tokens: int = 0
    reply_tokens: int = 0
    guessed: int = 0
    """Calls whose tokens no endpoint counted."""
    seconds: float = 0.0
    """Spent waiting for answers, summed over calls."""
    decisions: int = 0
    invalid: int = 0
    """Decisions that the exploration law made, since no valid answer came."""
    refused: int = 0
    """Of these, those that nobody was asked for: the budget was spent, or the endpoint was given up."""
    shortened: int = 0
    """Prompts that were told in fewer words than asked for, so that they fit."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How calls ended."""

    @property
    def cost(self) -> float:
        return self.prices.cost(self.prompt_tokens, self.reply_tokens)

    def affordable(self, prompts: list[int], reply: int) -> int:
        """How many calls, from the first on, fit: prompts of so many tokens each, and replies of at most so many."""
        calls, prompt, replies = self.calls, self.prompt_tokens, self.reply_tokens
        for i, each in enumerate(prompts):
            calls, prompt, replies = calls + 1, prompt + each, replies + reply
            beyond = (
                (self.budget.calls is not None and calls > self.budget.calls)
                or (self.budget.tokens is not None and prompt + replies > self.budget.tokens)
                or (self.budget.cost is not None and self.prices.cost(prompt, replies) > self.budget.cost)
            )
            if beyond:
                return i
        return len(prompts)

    def count(self, status: str, prompt: int, reply: int, seconds: float, counted: bool) -> None:
        """A call has ended."""
        self.calls += 1
        self.statuses[status] += 1
        self.prompt_tokens += prompt
        self.reply_tokens += reply
        self.guessed += not counted
        self.seconds += seconds

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "reply_tokens": self.reply_tokens,
            "calls_with_guessed_tokens": self.guessed,
            "cost": round(self.cost, 6),
            "seconds": round(self.seconds, 3),
            "decisions": self.decisions,
            "invalid": self.invalid,
            "invalid_rate": self.invalid / self.decisions if self.decisions else 0.0,
            "refused": self.refused,
            "shortened": self.shortened,
            "retried": sum(self.statuses[name] for name in RETRIED),
            "statuses": dict(sorted(self.statuses.items())),
        }
