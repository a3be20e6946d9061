"""Faults of a language model's server, injected on purpose: which request is spoilt, and how, is settled by a seed.

A fault spoils what is said (the reply of the model) or how it travels (the answer of the server), and is written down.
By what it asks of a client:

    again       nothing that can be read came: to be asked again, after a while
    invalid     something came that names no subgoal: to be asked again with what is wrong, or counted as a fallback
    harmless    a right answer all the same
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any, Literal

from gamesim.errors import refuse, unknown
from gamesim.randomness import Stream

Effect = Literal["again", "invalid", "harmless"]
HUGE = 2**22
"""Bytes of a body that is too large."""


@dataclass(frozen=True)
class Answer:
    """What a server sends, and how."""

    status: int
    body: bytes
    type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    missing: int = 0
    """Bytes that are announced and never come."""
    wait: float = 0.0
    """Seconds before anything is sent."""
    pace: float = 0.0
    """Seconds between pieces of a few bytes."""
    reset: bool = False
    """Whether the connection breaks instead."""

    @classmethod
    def of(cls, status: int, content: Any, **more: Any) -> "Answer":
        """JSON."""
        return cls(status, json.dumps(content, allow_nan=False).encode(), **more)

    @classmethod
    def error(cls, status: int, message: str, what: str, code: str | None = None, **more: Any) -> "Answer":
        """An error in the form of the protocol."""
        error = {"message": message, "type": what, "param": None, "code": code}
        return cls.of(status, {"error": error}, **more)


@dataclass(frozen=True)
class Fault:
    """One way to go wrong."""

    effect: Effect
    said: Callable[[str], str] | None = None
    """What becomes of the reply."""
    sent: "Callable[[Answer, Faults], Answer] | None" = None
    """What becomes of the answer."""


def _failing(status: int, message: str, *headers: tuple[str, str]) -> Fault:
    return Fault("again", sent=lambda a, f: Answer.error(status, message, "server_error", headers=headers))


def _content(answer: Answer, content: Any) -> Answer:
    """The answer with another text."""
    try:
        found = json.loads(answer.body)
        found["choices"][0]["message"]["content"] = content
    except (ValueError, KeyError):  # a stream, or a completion without messages
        found = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
    return Answer.of(answer.status, found)


PAGE = b"<!doctype html><html><title>502 Bad Gateway</title><p>nginx</p></html>"
FAULTS: dict[str, Fault] = {
    "429": _failing(429, "too many requests", ("Retry-After", "0")),
    "500": _failing(500, "internal error"),
    "503": _failing(503, "overloaded"),
    "timeout": Fault("again", sent=lambda a, f: replace(a, wait=f.hang)),
    "slow": Fault("again", sent=lambda a, f: replace(a, pace=f.hang / 10)),
    "reset": Fault("again", sent=lambda a, f: replace(a, reset=True)),
    "truncated": Fault(
        "again", sent=lambda a, f: replace(a, body=a.body[: len(a.body) // 2], missing=len(a.body) // 2)
    ),
    "broken-json": Fault("again", sent=lambda a, f: replace(a, body=a.body[: len(a.body) // 2])),
    "not-utf8": Fault("again", sent=lambda a, f: replace(a, body=a.body.replace(b'"choices"', b'"choi\xff\xfe"'))),
    "html": Fault("again", sent=lambda a, f: replace(a, body=PAGE, type="text/html")),
    "redirect": Fault("again", sent=lambda a, f: Answer(307, b"", headers=(("Location", f.elsewhere),))),
    "null-choices": Fault("again", sent=lambda a, f: Answer.of(200, {"object": "chat.completion", "choices": None})),
    "no-choices": Fault("again", sent=lambda a, f: Answer.of(200, {"object": "chat.completion", "choices": []})),
    "huge": Fault("again", sent=lambda a, f: _content(a, "x" * HUGE)),
    "content-type": Fault("harmless", sent=lambda a, f: replace(a, type="application/octet-stream")),
    "null-content": Fault("invalid", sent=lambda a, f: _content(a, None)),
    "empty": Fault("invalid", said=lambda text: ""),
    "unknown": Fault("invalid", said=lambda text: "zzz qqq"),
    "prose": Fault("harmless", said=lambda text: f"I have thought about it.\nAnswer: {text}"),
}
"""By name, from what breaks most to what breaks nothing."""


@dataclass(frozen=True)
class Faults:
    """Which requests are spoilt: each fault with its probability, at request n by the seed alone.

    >>> plan = Faults.parse(["0.5"], seed=1)
    >>> [plan.at(n) for n in range(6)] == [Faults.parse(["0.5"], seed=1).at(n) for n in range(6)]
    True
    >>> round(sum(Faults.parse(["429=0.25", "empty=0.5"]).chances.values()), 2)
    0.75
    """

    chances: Mapping[str, float]
    seed: int = 0
    hang: float = 30.0
    """Seconds for which nothing comes, where something takes too long."""
    elsewhere: str = "http://127.0.0.1:9/v1/chat/completions"
    """Where a redirection leads: nobody should go there."""
    log: list[tuple[int, str]] = field(default_factory=list)
    """What was injected: (request, fault)."""
    lock: Any = field(default_factory=Lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, chance in self.chances.items():
            if name not in FAULTS:
                raise unknown("fault", name, FAULTS)
            if not 0 <= chance <= 1:
                raise refuse(f"fault {name}", chance, "a probability, between 0 and 1")
        if sum(self.chances.values()) > 1 + 1e-9:
            raise refuse("fault", sum(self.chances.values()), "probabilities that sum to 1 at most")

    @cached_property
    def _luck(self) -> Stream:
        return Stream(self.seed)

    @classmethod
    def parse(cls, given: "list[str] | tuple[str, ...]", seed: int = 0, **more: Any) -> "Faults":
        """From `name=probability`, or one probability that all faults share."""
        chances = dict[str, float]()
        for one in given:
            name, equals, value = one.rpartition("=")
            try:
                chance = float(value)
            except ValueError:
                raise refuse("fault", one, "name=probability, or one probability for all together") from None
            for each in [name] if equals else FAULTS:
                chances[each] = chances.get(each, 0.0) + (chance if equals else chance / len(FAULTS))
        return cls(chances, seed, **more)

    def at(self, request: int) -> str | None:
        """What happens to a request; nothing mostly."""
        u = float(self._luck.at(request).uniform((1,)))
        for name, chance in self.chances.items():
            u -= chance
            if u < 0:
                return name
        return None

    def inject(self, request: int) -> Fault | None:
        """The same, written down."""
        name = self.at(request)
        if name is None:
            return None
        with self.lock:
            self.log.append((request, name))
        return FAULTS[name]

    def count(self, effect: Effect | None = None) -> int:
        """How many were injected, of an effect or in all."""
        with self.lock:
            return sum(effect is None or FAULTS[name].effect == effect for _, name in self.log)
