"""Questions to a language model, many at once, and what becomes of each: never an exception, always counted.

All questions of a decision are asked side by side by threads. They go in rounds: every question is asked; those whose
request failed are asked again after a while, those whose answer was not understood are asked again with what was wrong;
and so on until none is left. The budget is looked at before each round, in the order of runs. So what is asked, and
what comes of it, does not depend on which answer comes first. What a transcript holds is not asked again.

The n-th try of a request waits 2^(n-1) times `backoff` seconds, times a number in [1/2, 3/2) that its place settles, or
as long as the endpoint asks for, a minute at most.
"""

import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from gamesim.errors import Caution, InvalidInput
from gamesim.planning.language.budget import Account, tokens_of
from gamesim.planning.language.endpoint import LONGEST_WAIT, RETRIED, Answer, Endpoint
from gamesim.planning.language.transcripts import Line, Place, Recorded, Transcript, hash_of

PATIENCE = 5
"""Decisions in a row, of all runs, in which no request came through, before an endpoint is given up."""
Reader = Callable[[Answer], Any]
"""Makes something of an answer, or None."""
QUOTED = 400
"""Characters of a reply that it is shown again."""
SPENT, LOST = "the budget is spent", "the endpoint is given up"


@dataclass(frozen=True)
class Question:
    """What one run wants to know."""

    place: Place
    prompt: str
    """Empty if nothing can be asked."""
    seed: int = 0
    """Whose luck it is; where an endpoint honours seeds, the same question has the same answer."""


@dataclass(frozen=True)
class Decided:
    """What came of a question."""

    found: Any = None
    """What the reader made of the answer; None where it had to give up."""
    calls: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Persistence:
    """How often is asked again, and after how long."""

    retries: int = 4
    reasks: int = 2
    backoff: float = 0.5

    def after(self, place: Place, answer: Answer | None, read: Reader) -> tuple[Any, Place | None]:
        """What was found, and which request comes next, if any."""
        if answer is None or answer.status == "rejected":
            return None, None
        if answer.status in RETRIED:
            return None, place._replace(number=place.number + 1) if place.number < self.retries else None
        found = read(answer) if answer.status == "ok" else None
        if found is not None or place.attempt >= self.reasks:
            return found, None
        return None, place._replace(attempt=place.attempt + 1, number=0)

    def wait(self, place: Place, asked_for: float) -> float:
        """Seconds before a request, none before the first try."""
        if not place.number:
            return 0.0
        spread = 0.5 + zlib.crc32(repr(place).encode()) / 2**32
        return min(max(self.backoff * 2.0 ** (place.number - 1) * spread, asked_for), LONGEST_WAIT)


@dataclass
class Talk:
    """A question that is being asked."""

    question: Question
    place: Place
    replies: list[str] = field(default_factory=list)
    wait: float = 0.0
    new: bool = False
    """Whether anything of it was not known from the transcript."""


@dataclass
class Asker:
    """How questions are asked; `endpoint` is None where a transcript answers all of them."""

    endpoint: Endpoint | None
    transcript: Transcript
    account: Account
    request: dict[str, Any]
    """Model, temperature and the rest of a request, without its messages."""
    system: str
    again: str
    """What is said after an answer that was not understood."""
    persistence: Persistence = Persistence()
    concurrency: int = 8
    losses: int = 0
    """Decisions in a row in which no request came through."""
    error: str = ""
    """What was said of the last request that failed."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when a run is broken off."""

    def ask(self, questions: Sequence[Question], read: Reader) -> list[Decided]:
        """What `read` makes of the answer to each question; it gives None for an answer that it does not understand."""
        decided = [Decided()] * len(questions)
        talks = [Talk(question, question.place) for question in questions]
        due = [i for i, question in enumerate(questions) if question.prompt]
        asked = reached = False
        while due:
            answers = self._round([talks[i] for i in due])
            still = list[int]()
            for i, answer in zip(due, answers, strict=True):
                talk = talks[i]
                if answer is not None:
                    asked = True
                    reached = reached or answer.status not in (*RETRIED, "rejected")
                    self.error = answer.error or self.error
                    decided[i] = self._counted(decided[i], answer, talk)
                found, following = self.persistence.after(talk.place, answer, read)
                decided[i] = replace(decided[i], found=found)
                if following is not None and answer is not None:
                    if following.attempt > talk.place.attempt:
                        talk.replies.append(quoted(answer))
                    talk.place, talk.wait = following, answer.wait
                    still.append(i)
            due = still
        if asked:
            self._judge(reached)
        for talk, each in zip(talks, decided, strict=True):
            if talk.new or not talk.question.prompt:
                self.account.decisions += 1
                self.account.invalid += each.found is None
        return decided

    def _round(self, talks: list[Talk]) -> list[Answer | None]:
        """What became of each request, asked now or known from the transcript."""
        known = [self.transcript.known(talk.place, talk.question.prompt) for talk in talks]
        new = [i for i, line in enumerate(known) if line is None]
        answers = [None if line is None else line.answer for line in known]
        if new and self.endpoint is None:
            raise InvalidInput(
                f"{self.transcript.name}: it ends before {talks[new[0]].place.words()};"
                " lower --iterations, or go on with the planner that made it"
            )
        lost = self.losses >= PATIENCE
        allowed = self._allowed(talks, answers) if new and not lost else 0
        sent = [i for i in new if i < allowed]
        for i in new:
            talks[i].new = True
        for i in new[len(sent) :]:
            if not lost and not self.account.refused:
                _say(f"planner: {SPENT}; the exploration law decides from here on, which is counted as refused")
            self.account.refused += 1
            self.transcript.keep(
                talks[i].place,
                talks[i].question.prompt,
                Line(hash_of(talks[i].question.prompt), None, LOST if lost else SPENT),
            )
        if not sent:
            return answers
        pool = ThreadPoolExecutor(min(self.concurrency, len(sent)), thread_name_prefix="gamesim-llm")
        try:
            for i, answer in zip(sent, pool.map(self._send, [talks[i] for i in sent]), strict=True):
                answers[i] = answer
        except BaseException:  # a second Ctrl-C, a full disk: nobody waits for what is under way
            self.stopped.set()
            assert self.endpoint is not None
            self.endpoint.close()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return answers

    def _allowed(self, talks: list[Talk], known: list[Answer | None]) -> int:
        """How many of these requests the budget allows, by what was spent before any of them: stopped runs go on so."""
        spent = [used(a, *self._words(talk))[:2] for a, talk in zip(known, talks, strict=True) if a is not None]
        before = replace(
            self.account,
            calls=self.account.calls - len(spent),
            prompt_tokens=self.account.prompt_tokens - sum(prompt for prompt, _ in spent),
            reply_tokens=self.account.reply_tokens - sum(reply for _, reply in spent),
        )
        return before.affordable(
            [sum(map(tokens_of, self._words(talk))) for talk in talks], int(self.request["max_tokens"])
        )

    def _words(self, talk: Talk) -> tuple[str, ...]:
        """All that a request says."""
        return self.system, talk.question.prompt, *talk.replies

    def _send(self, talk: Talk) -> Answer:
        """One request; runs in a thread of its own."""
        assert self.endpoint is not None
        prompt = talk.question.prompt
        if self.stopped.wait(self.persistence.wait(talk.place, talk.wait)):
            return Answer("unreachable", error="stopped")
        seed = zlib.crc32(repr((talk.question.seed, talk.place[1:-1])).encode()) >> 1
        messages = [{"role": "system", "content": self.system}, {"role": "user", "content": prompt}]
        for reply in talk.replies:
            messages += [
                {"role": "assistant", "content": reply or "(nothing)"},
                {"role": "user", "content": self.again},
            ]
        answer = self.endpoint.ask(self.request | {"messages": messages, "seed": seed})
        if answer.status not in RETRIED or not self.stopped.is_set():  # what was cut short is asked again another time
            self.transcript.keep(talk.place, prompt, Line(hash_of(prompt), answer, seed=seed))
        return answer

    def _counted(self, decided: Decided, answer: Answer, talk: Talk) -> Decided:
        """One more call; the account knows those of the transcript already."""
        prompt, reply, counted = used(answer, *self._words(talk))
        if talk.new:
            self.account.count(answer.status, prompt, reply, answer.seconds, counted)
        return replace(decided, calls=decided.calls + 1, tokens=decided.tokens + prompt + reply)

    def _judge(self, reached: bool) -> None:
        """Give up an endpoint from which nothing comes any more."""
        self.losses = 0 if reached else self.losses + 1
        if self.losses == PATIENCE and self.endpoint is not None:
            seen = ", ".join(f"{n} {status}" for status, n in self.account.statuses.most_common(3))
            seen += f"; the last: {self.error}" if self.error else ""
            _say(
                f"planner: no request came through in {PATIENCE} decisions ({seen}); {self.endpoint.address} is given "
                "up, and the exploration law decides, which is counted as refused"
            )


def used(answer: Answer, *said: str) -> tuple[int, int, bool]:
    """Tokens of prompt and reply, and whether the endpoint counted them; none of a request that failed."""
    if answer.prompt_tokens is not None and answer.reply_tokens is not None:
        return answer.prompt_tokens, answer.reply_tokens, True
    if answer.status not in ("ok", "empty"):
        return 0, 0, True
    return sum(map(tokens_of, said)), tokens_of(answer.text or ""), False


def quoted(answer: Answer) -> str:
    """What a model is shown of its reply: half a surrogate pair, which JSON can say and nobody can send, is a mark."""
    return (answer.text or "")[:QUOTED].encode("utf-8", "replace").decode()


def tally(recorded: Recorded, read: Reader, persistence: Persistence, account: Account) -> Account:
    """Put what a transcript tells into an account: calls, tokens, and decisions that were come to."""
    replies = dict[Place, list[str]]()
    system = str(recorded.header.get("system", ""))
    for place in sorted(recorded.lines):
        line, origin = recorded.lines[place], place._replace(attempt=0, number=0)
        before = replies.setdefault(origin, [])
        if line.answer is None:
            account.refused += 1
        else:
            counts = used(line.answer, system, recorded.prompts.get(line.prompt, ""), *before)
            account.count(line.answer.status, counts[0], counts[1], line.answer.seconds, counts[2])
        found, following = persistence.after(place, line.answer, read)
        if following is None:
            account.decisions += 1
            account.invalid += found is None
        elif following.attempt > place.attempt and line.answer is not None:
            before.append(quoted(line.answer))
    return account


def _say(words: str) -> None:
    warnings.warn(words, Caution, stacklevel=2)
