"""Prompts: what is told of a history is read back exactly, whatever the names, and nothing else is read."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from gamesim.errors import InvalidInput
from gamesim.planning import History
from gamesim.planning.language import reading
from gamesim.planning.language.reading import read_back
from gamesim.planning.language.text import STYLES, prompt, system, told


@dataclass(frozen=True)
class Place:
    """What a prompt needs of a world."""

    subgoals: tuple[str, ...]
    observations: tuple[str, ...]
    tasks: tuple[str, ...] = ("find it",)
    horizon: int = 1
    actors: int = 1
    about: str = "A place."
    like: ClassVar[dict[str, Any]] = {"dtype": torch.float64, "device": torch.device("cpu")}

    def rewards(self, h: int, task: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        return ((observation + task + h) % 4).double() / 3


PREFIXES = ("open", "open box", "open box 1", "open box 1 (2 times)", "open box 11", "Task: open", "A: open", "Now")
ODD = ("seen", "seen (3 times)", "seen (pays 1)", "seen (pays 1, 2 times)", "Report: seen", "After: x", "é 箱 \u2028 x")
PLACES = {
    "boxes": Place(tuple(f"box {i}" for i in range(12)), tuple(f"box {i} is empty" for i in range(12))),
    "prefixes": Place(PREFIXES, ODD, ("get", "get it", "get it (5 times)"), horizon=3),
    "actors": Place(("left", "left left", "right"), ("met", "met not"), horizon=2, actors=3),
    "one": Place(("go",), ("there",)),
}


def heard(place: Place, seed: int, room: int = 9, count: int | None = None, inside: int | None = None) -> History:
    """A random history of one run, few things often, so that episodes are alike."""
    generator = torch.Generator().manual_seed(seed)

    def any_of(many: int, *shape: int) -> torch.Tensor:
        return (torch.rand(shape, generator=generator, dtype=torch.float64) ** 2 * many).long()

    count = int(any_of(2 * room, 1)) + 1 if count is None else count
    inside = int(any_of(place.horizon, 1)) if inside is None else inside
    g, o = len(place.subgoals), len(place.observations)
    return History(
        any_of(len(place.tasks), room),
        any_of(o, room),
        any_of(g, room, place.horizon, place.actors),
        any_of(o, room, place.horizon),
        torch.tensor(count),
        torch.tensor(inside),
    )


def episodes(history: History, kept: int) -> list[tuple[Any, ...]]:
    rows = (history.tasks, history.first, history.subgoals, history.observations)
    return [tuple(str(row[i].tolist()) for row in rows) for i in range(kept - 1)]


@pytest.mark.parametrize("name", sorted(PLACES))
def test_what_is_told_is_read_back(name: str) -> None:
    place = PLACES[name]
    for seed in range(30):
        history = heard(place, seed)
        kept, inside, actor = min(int(history.count), 9), int(history.inside), seed % place.actors
        for style in STYLES:
            found = read_back(place, prompt(place, history, (), actor, style, labelled=seed % 2 == 0))
            assert int(found.history.count) == int(history.count)
            assert (found.style, found.count, found.inside) == (style, int(history.count) - 1, inside)
            assert (found.actor, found.labelled) == (actor, seed % 2 == 0)
            current = (int(history.tasks[kept - 1]), int(history.first[kept - 1]))
            assert (int(found.history.tasks[-1]), int(found.history.first[-1])) == current
            assert torch.equal(found.history.subgoals[-1, :inside], history.subgoals[kept - 1, :inside])
            assert torch.equal(found.history.observations[-1, :inside], history.observations[kept - 1, :inside])
            if style == "counts" and not found.whole:
                assert sum(n for *_, n in found.firsts) == kept - 1
                continue
            back = episodes(found.history, kept)
            wanted = episodes(history, kept)
            assert back == wanted if style == "raw" else Counter(back) == Counter(wanted)


def test_counts_are_those_of_a_loop() -> None:
    place = PLACES["prefixes"]
    for seed in range(20):
        history = heard(place, seed, count=9)
        found = read_back(place, prompt(place, history, style="counts"))
        wanted: Counter[Any] = Counter()
        for i in range(8):
            last = int(history.first[i])
            for h in range(3):
                chosen, report = tuple(history.subgoals[i, h].tolist()), int(history.observations[i, h])
                wanted[int(history.tasks[i]), last, chosen, report] += 1
                last = report
        assert Counter({step[:4]: step[4] for step in found.steps}) == wanted
        firsts = Counter(zip(history.tasks[:8].tolist(), history.first[:8].tolist(), strict=True))
        assert Counter({(w, o): n for w, o, n in found.firsts}) == firsts


def test_a_run_of_a_batch_and_a_window() -> None:
    place = PLACES["boxes"]
    many = [heard(place, seed, count=8) for seed in range(3)]
    batch = History(*(torch.stack([getattr(one, name) for one in many]) for name in History.__dataclass_fields__))
    for i, one in enumerate(many):
        assert prompt(place, batch, i) == prompt(place, batch, (i,)) == prompt(place, one)
        found = read_back(place, prompt(place, batch, i, style="raw", window=3))
        assert torch.equal(found.history.tasks, one.tasks[4:8])
        assert torch.equal(found.history.observations[:-1], one.observations[4:7])
        assert found.count == 7
    assert "Episode 7" in prompt(place, many[0], style="raw", window=1)
    assert "Episode" not in prompt(place, many[0], style="raw", window=0)


def test_an_example_word_for_word() -> None:
    place = Place(("box 1", "box 11"), ("shut", "box 1 is empty", "box 11 has it"))
    history = History(
        torch.zeros(4, dtype=torch.long),
        torch.zeros(4, dtype=torch.long),
        torch.tensor([[[0]], [[1]], [[0]], [[0]]]),
        torch.tensor([[1], [2], [1], [0]]),
        torch.tensor(4),
        torch.tensor(0),
    )
    assert prompt(place, history, labelled=True).splitlines() == [
        "History: 3 episodes ended; the last 3 follow, alike ones together.",
        "Task: find it",
        "First: shut",
        "2 times:",
        "Subgoal: box 1",
        "Report: box 1 is empty (pays 0.333333)",
        "1 times:",
        "Subgoal: box 11",
        "Report: box 11 has it (pays 0.666667)",
        "Now",
        "Task: find it",
        "First: shut",
        "Decision 1 of 1: which subgoal is next?",
        "A: box 1",
        "B: box 11",
        "Answer with the letter alone.",
    ]
    assert "- box 1\n- box 11\n" in system(place)
    assert system(place).endswith(
        "Answer with one line, the subgoal, written exactly as in the list, and nothing else."
    )


def test_a_prompt_that_is_too_long_is_summed_up_or_refused() -> None:
    place = PLACES["prefixes"]
    history = heard(place, 3, room=400, count=400, inside=1)
    lengths = {style: len(prompt(place, history, style=style)) for style in STYLES}
    assert lengths["counts"] < lengths["summary"] < lengths["raw"]
    for style, shorter in (("raw", "summary"), ("summary", "counts")):
        cut = told(place, history, style=style, limit=lengths[style] - 1)  # type: ignore[arg-type]
        assert (cut.style, cut.shortened) == (shorter, True)
        assert not told(place, history, style=style, limit=lengths[style]).shortened  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=rf"limit: got '100 characters', expected room for {lengths['counts']}"):
        prompt(place, history, limit=100)
    assert len(prompt(place, history, style="raw", window=2, limit=2000)) <= 2000


def test_what_cannot_be_told_is_refused() -> None:
    place = PLACES["boxes"]
    history = heard(place, 0, count=4)
    with pytest.raises(InvalidInput, match="history: got 'no episode'"):
        prompt(place, replace(history, count=torch.tensor(0)))
    with pytest.raises(InvalidInput, match="actor: got 1"):
        prompt(place, history, actor=1)
    with pytest.raises(InvalidInput, match="window: got -1"):
        prompt(place, history, window=-1)
    with pytest.raises(InvalidInput, match="style: got 'short', expected one of raw, summary, counts"):
        prompt(place, history, style="short")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="at most 52, a letter for each"):
        prompt(replace(place, subgoals=tuple(f"box {i}" for i in range(53))), history, labelled=True)
    for bad in ("two\nlines", " blank", "", "return\r"):
        with pytest.raises(InvalidInput, match="names of one line"):
            prompt(replace(place, subgoals=("box 0", bad)), history)
    with pytest.raises(InvalidInput, match="names that differ"):
        system(replace(place, subgoals=("box 0", "box 0")))


@pytest.mark.parametrize("style", STYLES)
def test_a_line_more_or_less_or_other_is_refused(style: Any) -> None:
    place = PLACES["actors"]
    lines = prompt(place, heard(place, 1, count=6, inside=1), style=style, labelled=True).split("\n")
    read_back(place, "\n".join(lines))
    for i in range(len(lines)):
        for wrong in ([], [lines[i] + "x"], [""], ["x" + lines[i]], [lines[i].replace("(pays", "(pay")]):
            could_be = style == "counts" and not wrong and lines[i].startswith(("After", "Subgoal"))  # told of another
            if wrong != [lines[i]] and not could_be:
                with pytest.raises(InvalidInput, match="prompt, line"):
                    read_back(place, "\n".join([*lines[:i], *wrong, *lines[i + 1 :]]))
    with pytest.raises(InvalidInput, match="prompt, line"):
        read_back(place, "\n".join([*lines, lines[-1]]))


def test_what_is_read_is_bounded() -> None:
    place = PLACES["one"]
    head = "History: 999999999 episodes ended; the last 999999999 follow, alike ones together."
    body = "Task: find it\nFirst: there\n999999999 times:\nSubgoal: go\nReport: there (pays 0)\nNow\nTask: find it\n"
    end = "First: there\nDecision 1 of 1: which subgoal is next?"
    with pytest.raises(InvalidInput, match="at most 65536 episodes to follow"):
        read_back(place, f"{head}\n{body}{end}")
    few = f"{head}\n{body}{end}".replace("last 999999999", "last 65536")
    with pytest.raises(InvalidInput, match="a number from 1 to 65536"):
        read_back(place, few)
    assert len(read_back(place, few.replace("999999999 times", "65536 times")).history.tasks) == 65537
    with pytest.raises(InvalidInput, match=f"at most {reading.MOST_CHARACTERS}"):
        read_back(place, "x" * (reading.MOST_CHARACTERS + 1))
    for text in ("", "hello", "History: ", "\0", "9" * 10000):
        with pytest.raises(InvalidInput, match="prompt, line 1"):
            read_back(place, text)
