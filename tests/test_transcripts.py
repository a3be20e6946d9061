"""Transcripts and what is read in answers: what is kept comes back, a torn line is dropped, what is no name is none."""

import json
import random
import threading
import unicodedata
from pathlib import Path

import pytest

from gamesim.errors import InvalidInput
from gamesim.planning.language.budget import Account, Budget, Prices, tokens_of
from gamesim.planning.language.endpoint import Answer
from gamesim.planning.language.parsing import LONGEST, Names, labelled, words
from gamesim.planning.language.transcripts import Line, Place, Transcript, difference, hash_of, kept_in, read_transcript

HEADER = {"gamesim": "0", "world": {"boxes": 2, "prize": 0.5}, "planner": {"mode": "sample"}, "system": "one\ntwo"}
BOXES = Names((*(f"open box {i}" for i in range(1, 101)), "open box", "read the sign"))


def place(run: int = 0, **more: int) -> Place:
    return Place(run, 0, 0, 0)._replace(**more)


def begun(path: Path) -> None:
    made = Transcript(path, HEADER)
    made.require_seeds([0])
    made.close()


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    made = Transcript(path, HEADER)
    made.require_seeds([3, 4])
    odd = Answer("ok", 'a\n"\u2028\ud800é', (("A", -0.5),), 3, 1, "stop", 200, 0.25, 0.0, None)
    made.keep(place(), "p\nq", Line(hash_of("p\nq"), odd, seed=7))
    made.keep(place(1), "p\nq", Line(hash_of("p\nq"), None, "the budget is spent"))
    made.close()
    found = read_transcript(path)
    assert found.header | {"type": "header", "version": 1} == HEADER | {"type": "header", "version": 1}
    assert found.lines[place()].answer == odd
    assert found.lines[place(1)] == Line(hash_of("p\nq"), None, "the budget is spent")
    assert found.prompts == {hash_of("p\nq"): "p\nq"}
    assert found.seeds == [3, 4]
    assert path.read_text().count("p\\nq") == 1  # a prompt is written once


def test_a_torn_last_line_is_dropped_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    made = Transcript(path, HEADER)
    for run in range(3):
        made.keep(place(run), f"p{run}", Line(hash_of(f"p{run}"), Answer("ok", "x")))
    made.close()
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in [*range(ends[-2] + 1, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        assert sorted(read_transcript(path).lines) == [place(0), place(1)]
        again = Transcript(path, HEADER)
        again.keep(place(2), "p2", Line(hash_of("p2"), Answer("ok", "y")))
        again.close()
        assert read_transcript(path).lines[place(2)].answer == Answer("ok", "y")
    path.write_bytes(whole[: ends[0] - 1])  # torn within its first line: as if it were not there
    begun(path)
    assert read_transcript(path).header


@pytest.mark.parametrize(
    "line",
    [
        "{}", "[]", "1", "nonsense", '{"type": "x"}', '{"type": "call"}', '{"type": "header", "version": 2}', "é",
        "[" * 9999, '{"type": "prompt", "hash": "a", "text": "b"}', '{"type": "runs", "seeds": [-1]}',
        '{"type": "runs", "seeds": 3}',
        '{"type": "unasked", "run": true, "episode": 0, "decision": 0, "actor": 0, "attempt": 0, "try": 0}',
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_transcript_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.jsonl"
    begun(path)
    with path.open("ab") as file:
        file.write(line.encode() + b"\n")
    with pytest.raises(InvalidInput, match=r"t\.jsonl:3: no line of a transcript"):
        read_transcript(path)


def test_another_world_planner_prompt_or_seed_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    made = Transcript(path, HEADER)
    made.require_seeds([0])
    made.keep(place(), "same\nold", Line(hash_of("same\nold"), Answer("ok", "x")))
    made.close()
    with pytest.raises(InvalidInput, match=r"world\.boxes 2 there and 3 here"):
        Transcript(path, HEADER | {"world": {"boxes": 3, "prize": 0.5}})
    with pytest.raises(InvalidInput, match=r"system: line 2: 'two' there and 'three' here"):
        Transcript(path, HEADER | {"system": "one\nthree"})
    again = Transcript(path, HEADER | {"gamesim": "1"})  # another version may go on, if it asks the same
    with pytest.raises(InvalidInput, match=r"run 0, episode 0, decision 0 .*line 2: 'old' there and 'new' here"):
        again.known(place(), "same\nnew")
    with pytest.raises(InvalidInput, match="seeds: "):
        again.require_seeds([1])
    assert again.known(place(1), "same\nnew") is None
    again.close()
    assert difference("a", "a") == "the same lines"


def test_places_that_no_transcript_may_have(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"ends in \.jsonl"):
        Transcript(tmp_path / "t.txt", HEADER)
    with pytest.raises(InvalidInput, match="in a folder that exists"):
        Transcript(tmp_path / "absent" / "t.jsonl", HEADER)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "t.jsonl")
    with pytest.raises(InvalidInput, match="no link"):
        Transcript(tmp_path / "link.jsonl", HEADER)
    with pytest.raises(InvalidInput, match="can be read"):
        read_transcript(tmp_path / "absent.jsonl")
    for mine in ('{"mine": 1}\n', "mine", '{"mine": 1'):  # nobody else's file is written to
        (tmp_path / "mine.jsonl").write_text(mine)
        with pytest.raises(InvalidInput, match="no line of a transcript"):
            Transcript(tmp_path / "mine.jsonl", HEADER)
        assert (tmp_path / "mine.jsonl").read_text() == mine
    Transcript(tmp_path / "new.jsonl", HEADER).close()  # nothing was said: nothing is there
    assert not (tmp_path / "new.jsonl").exists()


def test_a_second_run_takes_the_file_over(tmp_path: Path) -> None:
    first = Transcript(tmp_path / "t.jsonl", HEADER)
    first.require_seeds([0])
    second = Transcript(tmp_path / "t.jsonl", HEADER)
    with pytest.raises(InvalidInput, match="taken it over"):
        first.keep(place(), "p", Line(hash_of("p"), Answer("ok", "x")))
    second.keep(place(), "p", Line(hash_of("p"), Answer("ok", "x")))
    second.close()


def test_lines_of_many_threads_are_whole(tmp_path: Path) -> None:
    made = Transcript(tmp_path / "t.jsonl", HEADER)

    def write(run: int) -> None:
        for i in range(5):
            made.keep(place(run, episode=i), f"p{i}", Line(hash_of(f"p{i}"), Answer("ok", "x" * 5000)))

    threads = [threading.Thread(target=write, args=(run,)) for run in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close()
    found = read_transcript(tmp_path / "t.jsonl")
    assert len(found.lines) == 40
    assert len(found.prompts) == 5


def test_accounts_of_a_folder(tmp_path: Path) -> None:
    with kept_in(tmp_path) as kept:
        assert kept.usage is None
        kept.accounts.append(Account(calls=2))
    assert kept.usage is not None
    assert kept.usage["calls"] == 2


# --- parsing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ("open box 1", "open box 1"),
        ("open box 10", "open box 10"),
        ("OPEN BOX 100.", "open box 100"),
        ("I think\n\n**Open  box 7**", "open box 7"),
        ('{"subgoal": "open box 7"}', "open box 7"),
        ("open-box-7!", "open box 7"),
        ("open box7", "open box 7"),
        ("\uff4f\uff50en box \uff17", "open box 7"),
        ("open\u00a0box\u200b 7", "open box 7"),
        ("open box", "open box"),
        ("open box 101", "open box"),  # the longest name that is there
        ("<think>open box 3 or open box 4?</think>read the sign", "read the sign"),
        ("open box 3 is empty, so is open box 4.\nAnswer: open box 5", "open box 5"),
        ("open box 3 was empty and open box 4 too\nopen box 5", "open box 5"),
        ("open box 5\nopen box 3 was empty and open box 4 too", "open box 5"),
        ("open box 3 and open box 3", "open box 3"),
        ("open box 3 or open box 4", None),
        ("box 3", None),
        ("reopen box 3", None),
        ("open boxes 3", None),
        ("", None),
        ("\ud800", None),
        (None, None),
        (b"open box 3", None),
        (["open box 3"], None),
        ("open box 3" + " " * LONGEST, None),
    ],
    ids=range(26),
)
def test_what_replies_say(reply: object, name: str | None) -> None:
    found = BOXES.find(reply)
    assert (None if found is None else BOXES.names[found]) == name


def test_names_that_differ_by_punctuation_alone() -> None:
    names = Names(("move +1", "move -1", "c", "c++"))
    assert [names.find(reply) for reply in ("Move -1", "move  +1", "c", "c++", "move 1")] == [1, 0, 2, 3, None]
    for clash in (("Go", "go"), ("...", "a", "a "), ("", "b")):
        with pytest.raises(InvalidInput, match="subgoals"):
            Names(clash).find("x")


def test_any_text_gives_a_name_or_none_and_names_in_noise_are_found() -> None:
    dice = random.Random(0)
    letters = [
        chr(i) for i in (*range(32, 127), 0, 10, 13, 0x2028, 0x200D, 0xFEFF, 0x130, 0xDF, 0x1F600, 0xD800, 0x661)
    ]
    for _ in range(400):
        noise = "".join(dice.choices(letters, k=dice.randrange(60)))
        found = BOXES.find(noise)
        assert found is None or 0 <= found < len(BOXES.names)
        wanted = dice.randrange(100)
        said = BOXES.names[wanted].upper() if dice.random() < 0.5 else BOXES.names[wanted]
        assert (
            BOXES.find(f"{dice.choice(['', 'Hm. ', '- ', '> '])}{said}{dice.choice(['', '.', '!', ' ', '**'])}")
            == wanted
        )
    assert words(unicodedata.normalize("NFD", "Crème BRÛLÉE 2")) == words("crème brûlée 2")


def test_weights_of_letters_leave_out_what_is_none() -> None:
    nan, inf = float("nan"), float("inf")
    assert labelled([("A", nan), ("B", inf), ("AB", -1.0), ("a", 0.0), ("", 0.0)], "AB") == [0.0, 0.0]
    assert labelled([("A", -9999.0), ("▁B", 0.0)], "AB") == [0.0, 1.0]


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_budgets_allow_calls_in_order() -> None:
    assert Account(Budget(calls=3), calls=1).affordable([5] * 9, 1) == 2
    assert Account(Budget(tokens=30), prompt_tokens=6).affordable([10, 10, 10], 2) == 2
    assert Account(Budget(cost=0.001), Prices(10.0, 100.0)).affordable([10] * 9, 4) == 2
    assert Account().affordable([10**9] * 3, 1) == 3
    assert tokens_of("é" * 4) == 2
    spent = Account(prices=Prices(1.0, 2.0))
    spent.count("ok", 10, 5, 0.5, True)
    assert json.loads(json.dumps(spent.plain()))["cost"] == pytest.approx(20e-6)
