"""Prompts: what a planner of text is told of a latent world, and of what happened in it.

Names are written one to a line behind a fixed word, so that any names can be told apart: prefixes of one another too.
What went before the episode under way is told in one of three styles:

    raw        episode by episode
    summary    alike episodes together, with their number: all that matters of them, where episodes are exchangeable
    counts     by task and last report, what each subgoal was followed by, how often and what it paid on average: all
               that matters where a report tells the state, and short however long the history is

Where a model does not sum up by itself, a history that is summed up for it makes it explore at all (Krishnamurthy et
al., "Can large language models explore in-context?", NeurIPS 2024, arXiv 2403.15371). The module `reading` takes all of
it back exactly.
"""

import string
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from gamesim.errors import refuse
from gamesim.games.latent import LatentWorld
from gamesim.planning.history import History

Style = Literal["raw", "summary", "counts"]
STYLES: tuple[Style, ...] = get_args(Style)
LABELS = string.ascii_uppercase + string.ascii_lowercase
"""One letter, one token, for each subgoal."""
TOLD = {
    "raw": "one by one",
    "summary": "alike ones together",
    "counts": "as what came after what",
}
HEAD = "History: "
"""How every prompt begins."""
Episode = tuple[int, int, tuple[tuple[tuple[int, ...], int], ...]]
"""Task, first observation, and by decision the subgoals of all actors with what was reported."""


@dataclass(frozen=True)
class Past:
    """What one run has seen."""

    ended: tuple[Episode, ...]
    """Episodes from the oldest that is remembered to the last that ended."""
    current: Episode
    """The one under way."""
    count: int
    """How many ended, those that are forgotten included."""


@dataclass(frozen=True)
class Prompt:
    """A prompt, and how it was told."""

    text: str
    style: Style
    """As asked for, or a shorter one where that was too long."""
    shortened: bool


def system(world: LatentWorld, labelled: bool = False) -> str:
    """What the place is, its subgoals exactly as they are to be answered, and the form of an answer."""
    known = checked(world)
    actors = int(world.actors)
    each = "one subgoal" if actors == 1 else f"one subgoal for each of {actors} actors"
    decisions = "one decision" if world.horizon == 1 else f"{world.horizon} decisions, one after another"
    reply = "the letter of the subgoal" if labelled else "the subgoal, written exactly as in the list"
    return "\n".join(
        [
            " ".join(str(world.about).split()),
            f"Every episode has a task and a first report, and then {decisions}: {each}, answered by a report.",
            "What is true of the place stays the same in all episodes; tasks change.",
            "Subgoals:",
            *(f"- {name}" for name in known["subgoals"]),
            f"Answer with one line, {reply}, and nothing else.",
        ]
    )


def prompt(
    world: LatentWorld,
    history: History,
    index: Any = (),
    actor: int = 0,
    style: Style = "summary",
    window: int | None = None,
    limit: int | None = None,
    labelled: bool = False,
) -> str:
    """What the run `index` of a History has seen, and the question; see `told`."""
    return told(world, history, index, actor, style, window, limit, labelled).text


def told(
    world: LatentWorld,
    history: History,
    index: Any = (),
    actor: int = 0,
    style: Style = "summary",
    window: int | None = None,
    limit: int | None = None,
    labelled: bool = False,
) -> Prompt:
    """A prompt of the last `window` episodes that ended (all that is remembered, if None) and the one under way.

    One of more than `limit` characters is told in the next shorter style, and refused where none is short enough. With
    `labelled`, it ends in a list of letters, one of which is to be answered.
    """
    if style not in STYLES:
        raise refuse("style", style, f"one of {', '.join(STYLES)}")
    known, past = checked(world), seen(history, index)
    if not 0 <= actor < world.actors:
        raise refuse("actor", actor, f"a whole number from 0 to {world.actors - 1}")
    if window is not None and window < 0:
        raise refuse("window", window, "a whole number of episodes")
    shown = past.ended[max(0, len(past.ended) - (len(past.ended) if window is None else window)) :]
    tail = _now(world, known, past, actor) + (_letters(known["subgoals"]) if labelled else [])
    tellers = {"raw": _raw, "summary": _summary, "counts": _counts}
    text = ""
    for each in STYLES[STYLES.index(style) :]:
        head = f"{HEAD}{past.count} episodes ended; the last {len(shown)} follow, {TOLD[each]}."
        text = "\n".join([head, *tellers[each](world, known, shown, past.count), *tail])
        if limit is None or len(text) <= limit:
            return Prompt(text, each, each != style)
    wanted = f"room for {len(text)}, the shortest that tells {len(shown)} episodes; or a smaller window"
    raise refuse("limit", f"{limit} characters", wanted)


def checked(world: LatentWorld) -> dict[str, tuple[str, ...]]:
    """The names of a world by field, each of one line and different from all others of its field."""
    found = {field: tuple(getattr(world, field)) for field in ("tasks", "subgoals", "observations")}
    for field, names in found.items():
        for name in names:
            unseen = () if name.isprintable() else (c for c in name if unicodedata.category(c) in ("Cc", "Cs"))
            if not name or name != name.strip() or any(unseen):
                raise refuse(field, name, "names of one line, without control characters, or blanks at its ends")
        if len(set(names)) < len(names):
            raise refuse(field, Counter(names).most_common(1)[0][0], "names that differ")
    return found


def seen(history: History, index: Any = ()) -> Past:
    """The run `index` of a History, out of its tensors."""
    count, inside = int(history.count[index]), int(history.inside[index])
    tasks, first = history.tasks[index].tolist(), history.first[index].tolist()
    subgoals, observations = history.subgoals[index].tolist(), history.observations[index].tolist()
    if count < 1:
        raise refuse(
            "history", "no episode", "one that has begun: the task and the first report come before a question"
        )
    kept = min(count, len(tasks))

    def episode(r: int, decisions: int) -> Episode:
        steps = zip(subgoals[r][:decisions], observations[r][:decisions], strict=True)
        return tasks[r], first[r], tuple((tuple(g), o) for g, o in steps)

    ended = tuple(episode(r, len(observations[r])) for r in range(kept - 1))
    return Past(ended, episode(kept - 1, inside), count - 1)


def _pays(world: LatentWorld, h: int, task: int, observation: int, kept: dict[tuple[int, int, int], float]) -> float:
    if (h, task, observation) not in kept:
        device = world.like["device"]
        asked = torch.tensor(task, device=device), torch.tensor(observation, device=device)
        kept[h, task, observation] = float(world.rewards(h, *asked))
    return kept[h, task, observation]


def _steps(world: LatentWorld, known: dict[str, tuple[str, ...]], episode: Episode, kept: Any) -> list[str]:
    lines = []
    for h, (subgoals, observation) in enumerate(episode[2]):
        lines += _subgoals(known, subgoals)
        paid = _pays(world, h, episode[0], observation, kept)
        lines.append(f"Report: {known['observations'][observation]} (pays {paid:.6g})")
    return lines


def _subgoals(known: dict[str, tuple[str, ...]], subgoals: Sequence[int]) -> list[str]:
    names = known["subgoals"]
    if len(subgoals) == 1:
        return [f"Subgoal: {names[subgoals[0]]}"]
    return [f"Subgoal of actor {k + 1}: {names[g]}" for k, g in enumerate(subgoals)]


def _opening(known: dict[str, tuple[str, ...]], episode: Episode) -> list[str]:
    return [f"Task: {known['tasks'][episode[0]]}", f"First: {known['observations'][episode[1]]}"]


def _raw(world: LatentWorld, known: Any, shown: Sequence[Episode], count: int) -> list[str]:
    kept: dict[tuple[int, int, int], float] = {}
    lines = []
    for number, episode in enumerate(shown, count - len(shown) + 1):
        lines += [f"Episode {number}", *_opening(known, episode), *_steps(world, known, episode, kept)]
    return lines


def _summary(world: LatentWorld, known: Any, shown: Sequence[Episode], count: int) -> list[str]:
    """By task and first report, each kind of episode once."""
    kept: dict[tuple[int, int, int], float] = {}
    lines, before = [], None
    for episode, n in sorted(Counter(shown).items(), key=lambda pair: (pair[0][:2], -pair[1], pair[0][2])):
        if episode[:2] != before:
            lines += _opening(known, episode)
            before = episode[:2]
        lines += [f"{n} times:", *_steps(world, known, episode, kept)]
    return lines


def _counts(world: LatentWorld, known: Any, shown: Sequence[Episode], count: int) -> list[str]:
    """By task: how often each first report came, and what came after each report and subgoal."""
    kept: dict[tuple[int, int, int], float] = {}
    lines, observations = [], known["observations"]
    for task in sorted({episode[0] for episode in shown}):
        mine = [episode for episode in shown if episode[0] == task]
        lines.append(f"Task: {known['tasks'][task]}")
        firsts = sorted(Counter(episode[1] for episode in mine).items())
        lines += [f"First: {observations[o]} ({n} times)" for o, n in firsts]
        times: Counter[tuple[int, tuple[int, ...], int]] = Counter()
        paid: defaultdict[tuple[int, tuple[int, ...], int], float] = defaultdict(float)
        for _, last, steps in mine:
            for h, (subgoals, observation) in enumerate(steps):
                times[last, subgoals, observation] += 1
                paid[last, subgoals, observation] += _pays(world, h, task, observation, kept)
                last = observation
        before: tuple[Any, Any] = (None, None)
        for (last, subgoals, observation), n in sorted(times.items()):
            if last != before[0]:
                lines.append(f"After: {observations[last]}")
            if (last, subgoals) != before:
                lines += _subgoals(known, subgoals)
            before = (last, subgoals)
            mean = paid[last, subgoals, observation] / n
            lines.append(f"Report: {observations[observation]} (pays {mean:.6g}, {n} times)")
    return lines


def _now(world: LatentWorld, known: Any, past: Past, actor: int) -> list[str]:
    whom = "" if world.actors == 1 else f" for actor {actor + 1} of {world.actors}"
    question = f"Decision {len(past.current[2]) + 1} of {world.horizon}: which subgoal is next{whom}?"
    return ["Now", *_opening(known, past.current), *_steps(world, known, past.current, {}), question]


def _letters(subgoals: Sequence[str]) -> list[str]:
    if len(subgoals) > len(LABELS):
        wanted = f"at most {len(LABELS)}, a letter for each; or a mode that answers by name: sample, guided"
        raise refuse("subgoals", len(subgoals), wanted)
    lines = [f"{label}: {name}" for label, name in zip(LABELS, subgoals, strict=False)]
    return [*lines, "Answer with the letter alone."]
