"""Prompts taken back: the text of gamesim.planning.language.text as the tensors of a History, exactly, or refused.

What comes from outside is bounded in length and in episodes, and every line must be one that we write: names are looked
up whole, never matched in part.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import LatentWorld
from gamesim.planning.history import History
from gamesim.planning.language.text import HEAD, LABELS, STYLES, TOLD, Episode, Style, checked

MOST_CHARACTERS = 2**22
MOST_EPISODES = 2**16
"""What is read of one prompt, at most."""

_HEAD = re.compile(
    re.escape(HEAD) + r"(0|[1-9]\d{0,8}) episodes ended; the last (0|[1-9]\d{0,8}) follow, (.{1,40})\.", re.ASCII
)
_PAYS = re.compile(r" \(pays (-?[0-9.e+-]{1,24})\)", re.ASCII)
_PAYS_TIMES = re.compile(r" \(pays (-?[0-9.e+-]{1,24}), (0|[1-9]\d{0,8}) times\)", re.ASCII)
_TIMES = re.compile(r" \((0|[1-9]\d{0,8}) times\)", re.ASCII)
_ALIKE = re.compile(r"(0|[1-9]\d{0,8}) times:", re.ASCII)
Counted = tuple[int, int, tuple[int, ...], int, int]


@dataclass(frozen=True)
class Told:
    """What a prompt says of one run."""

    world: LatentWorld
    style: Style
    count: int
    """Episodes that ended, those that are not told included."""
    ended: tuple[Episode, ...]
    """Those that are told: in their order in the raw style, alike ones together in a summary; of counts, those of one
    decision alone, which counts tell apart."""
    current: Episode
    actor: int
    labelled: bool
    firsts: tuple[tuple[int, int, int], ...] = ()
    """Of counts: task, first observation, how often."""
    steps: tuple[Counted, ...] = ()
    """Of counts: task, last observation, subgoals of all actors, observation, how often."""

    @property
    def whole(self) -> bool:
        """Whether episodes can be told apart: those of several decisions cannot in counts."""
        return self.style != "counts" or self.world.horizon == 1

    @property
    def inside(self) -> int:
        """Decisions taken in the episode under way."""
        return len(self.current[2])

    @cached_property
    def history(self) -> History:
        """The told episodes and the one under way, as planners keep them: with room for just so many."""
        world, told = self.world, (*self.ended, self.current)

        def long(values: Any, *shape: int) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=world.like["device"]).reshape(shape)

        h, k, r = world.horizon, world.actors, len(told)
        return History(
            long([e[0] for e in told], r),
            long([e[1] for e in told], r),
            long([[g for g, _ in e[2]] + [(-1,) * k] * (h - len(e[2])) for e in told], r, h, k),
            long([[o for _, o in e[2]] + [-1] * (h - len(e[2])) for e in told], r, h),
            long(self.count + 1),
            long(self.inside),
        )


def read_back(world: LatentWorld, text: str) -> Told:
    """What a prompt of `text.prompt` says; anything else is refused with the line that is wrong."""
    if len(text) > MOST_CHARACTERS:
        raise refuse("prompt", f"{len(text)} characters", f"at most {MOST_CHARACTERS}")
    return _Reader(world, text).read()


class _Reader:
    """Lines from the first to the last."""

    def __init__(self, world: LatentWorld, text: str) -> None:
        self.world, self.lines, self.at = world, text.split("\n"), 0
        self.numbers = {field: {name: i for i, name in enumerate(names)} for field, names in checked(world).items()}
        self.names = checked(world)["subgoals"]

    def read(self) -> Told:
        found = _HEAD.fullmatch(self._line())
        styles = {told: style for style, told in TOLD.items()}
        if not found or found[3] not in styles:
            self._wrong(f"a line '{HEAD}... episodes ended; the last ... follow, ...'", back=1)
        count, shown, style = int(found[1]), int(found[2]), styles[found[3]]
        if shown > min(count, MOST_EPISODES):
            self._wrong(f"at most {min(count, MOST_EPISODES)} episodes to follow", back=1)
        firsts: tuple[tuple[int, int, int], ...] = ()
        steps: tuple[Counted, ...] = ()
        ended: tuple[Episode, ...] = ()
        if style == "raw":
            ended = self._raw(count, shown)
        elif style == "summary":
            ended = self._summary(shown)
        else:
            firsts, steps = self._counts(shown)
            if self.world.horizon == 1:
                ended = tuple((w, last, ((g, o),)) for w, last, g, o, n in steps for _ in range(n))
        self._exactly("Now")
        current, actor = self._now()
        labelled = self._letters()
        if self.at < len(self.lines):
            self._wrong("nothing after the question")
        assert style in STYLES
        return Told(self.world, style, count, ended, current, actor, labelled, firsts, steps)

    def _raw(self, count: int, shown: int) -> tuple[Episode, ...]:
        found = []
        for number in range(count - shown + 1, count + 1):
            self._exactly(f"Episode {number}")
            found.append((*self._opening(), self._steps(self.world.horizon)))
        return tuple(found)

    def _summary(self, shown: int) -> tuple[Episode, ...]:
        found: list[Episode] = []
        opening: tuple[int, int] | None = None
        while len(found) < shown:
            if opening is None or self._peek().startswith("Task: "):
                opening = self._opening()
            n = self._number(_ALIKE, self._line())
            if not 1 <= n <= shown - len(found):
                self._wrong(f"a number from 1 to {shown - len(found)}: {shown} episodes in all", back=1)
            found += [(*opening, self._steps(self.world.horizon))] * n
        return tuple(found)

    def _counts(self, shown: int) -> tuple[tuple[tuple[int, int, int], ...], tuple[Counted, ...]]:
        firsts, steps = [], []
        told, reports = 0, 0
        while told < shown:
            task, mine = self._name("Task: ", "tasks"), 0
            while self._peek().startswith("First: "):
                first, n = self._counted("First: ", _TIMES)
                firsts.append((task, first, n))
                mine += n
            told += mine
            reports += mine * self.world.horizon
            if mine == 0 or told > shown:
                self._wrong(f"first reports of {shown} episodes in all, and of one at least for a task")
            last, subgoals = -1, None
            while reports > 0:
                if last < 0 or self._peek().startswith("After: "):
                    last, subgoals = self._name("After: ", "observations"), None
                if subgoals is None or self._peek().startswith("Subgoal"):
                    subgoals = self._subgoals()
                observation, n = self._counted("Report: ", _PAYS_TIMES)
                reports -= n
                if reports < 0:
                    self._wrong(f"{mine * self.world.horizon} reports of this task in all", back=1)
                steps.append((task, last, subgoals, observation, n))
        return tuple(firsts), tuple(steps)

    def _counted(self, prefix: str, pattern: re.Pattern[str]) -> tuple[int, int]:
        line = self._line()
        cut = line.rfind(" (")
        found = pattern.fullmatch(line[cut:]) if cut > 0 else None
        if not line.startswith(prefix) or not found or int(found[found.re.groups]) < 1:
            self._wrong(f"a line '{prefix}... ({'pays ..., ' if pattern is _PAYS_TIMES else ''}... times)'", back=1)
        return self._number_of("observations", line[len(prefix) : cut]), int(found[found.re.groups])

    def _now(self) -> tuple[Episode, int]:
        opening = self._opening()
        inside = 0
        steps: list[tuple[tuple[int, ...], int]] = []
        while inside < self.world.horizon - 1 and self._peek().startswith("Subgoal"):
            steps += self._steps(1)
            inside += 1
        line, actors = self._line(), int(self.world.actors)
        begun = f"Decision {inside + 1} of {self.world.horizon}: which subgoal is next"
        for actor in range(actors):
            if line == begun + ("?" if actors == 1 else f" for actor {actor + 1} of {actors}?"):
                return (*opening, tuple(steps)), actor
        self._wrong(f"'{begun}{'' if actors == 1 else f' for actor 1 of {actors}'}?'", back=1)

    def _letters(self) -> bool:
        if self.at == len(self.lines) or len(self.names) > len(LABELS):
            return False
        for label, name in zip(LABELS, self.names, strict=False):
            self._exactly(f"{label}: {name}")
        self._exactly("Answer with the letter alone.")
        return True

    def _opening(self) -> tuple[int, int]:
        return self._name("Task: ", "tasks"), self._name("First: ", "observations")

    def _steps(self, decisions: int) -> tuple[tuple[tuple[int, ...], int], ...]:
        found = []
        for _ in range(decisions):
            subgoals, line = self._subgoals(), self._line()
            cut = line.rfind(" (")
            if not line.startswith("Report: ") or cut < 0 or not _PAYS.fullmatch(line[cut:]):
                self._wrong("a line 'Report: ... (pays ...)'", back=1)
            found.append((subgoals, self._number_of("observations", line[len("Report: ") : cut])))
        return tuple(found)

    def _subgoals(self) -> tuple[int, ...]:
        k = int(self.world.actors)
        if k == 1:
            return (self._name("Subgoal: ", "subgoals"),)
        return tuple(self._name(f"Subgoal of actor {i + 1}: ", "subgoals") for i in range(k))

    def _name(self, prefix: str, field: str) -> int:
        line = self._line()
        if not line.startswith(prefix):
            self._wrong(f"a line '{prefix}...'", back=1)
        return self._number_of(field, line[len(prefix) :])

    def _number_of(self, field: str, name: str) -> int:
        found = self.numbers[field].get(name)
        if found is None:
            self._wrong(
                f"one of the {len(self.numbers[field])} {field} of the world, as {next(iter(self.numbers[field]))!r}",
                back=1,
            )
        return found

    def _number(self, pattern: re.Pattern[str], line: str) -> int:
        found = pattern.fullmatch(line)
        if not found:
            self._wrong("a line '... times:'", back=1)
        return int(found[1])

    def _exactly(self, wanted: str) -> None:
        if self._line() != wanted:
            self._wrong(repr(wanted), back=1)

    def _peek(self) -> str:
        return self.lines[self.at] if self.at < len(self.lines) else ""

    def _line(self) -> str:
        line = self._peek()
        self.at += 1
        return line

    def _wrong(self, wanted: str, back: int = 0) -> NoReturn:
        at = self.at - back
        line = self.lines[at] if at < len(self.lines) else "the end"
        raise refuse(f"prompt, line {at + 1}", line, wanted) from None
