"""Games in files: orders against hand and brute force, exact numbers, every form there and back, every refusal."""

import itertools
import math
import random
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamesim.errors import Caution, InvalidInput
from gamesim.formats import efg, game_files, reading
from gamesim.formats.efg import parse_efg
from gamesim.formats.gam import format_gam, parse_gam
from gamesim.formats.game_files import GameFile, read_game_file, write_game_file
from gamesim.formats.nfg import format_nfg, parse_nfg

GAMES = Path(__file__).parent / "games"
PARSERS: dict[str, Callable[[str], GameFile]] = {".nfg": parse_nfg, ".gam": parse_gam, ".efg": parse_efg}
HEAD = 'NFG 1 R "t" { "a" "b" } '
TREE = 'EFG 2 R "t" { "a" "b" } '


def refusal(act: Callable[[], Any]) -> str:
    """The one line with which something is refused."""
    with pytest.raises(InvalidInput) as caught:
        act()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- what the files say ---------------------------------------------------------------------------------------------


def test_payoff_form_has_player_one_fastest() -> None:
    # the example in Gambit's documentation, whose text tells the first entries one by one
    text = 'NFG 1 R "Selten (IJGT, 75), Figure 2, normal form"\n{ "Player 1" "Player 2" } { 3 2 }\n\n'
    text += "1 1 0 2 0 2 1 1 0 3 2 0\n"
    game = parse_nfg(text)
    assert game.title == "Selten (IJGT, 75), Figure 2, normal form"
    assert game.players == ("Player 1", "Player 2")
    assert game.actions == (("1", "2", "3"), ("1", "2"))
    assert game.payoffs.dtype == np.float64
    np.testing.assert_array_equal(game.payoffs, [[[1, 1], [0, 0], [0, 2]], [[1, 1], [2, 3], [2, 0]]])


def test_outcome_form_is_the_same_game() -> None:
    payoff = parse_nfg('NFG 1 R "t" { "a" "b" } { 3 2 } 1 1 0 2 0 2 1 1 0 3 0 0')
    outcome = parse_nfg(
        'NFG 1 R "t" { "a" "b" } { { "1" "2" "3" } { "1" "2" } } { { "" 1, 1 } { 0 2 } { "x" 0 , 3 } } 1 2 2 1 3 0'
    )
    assert outcome == payoff


@pytest.mark.parametrize("kind", [".nfg", ".gam", "outcome"])
def test_each_place_of_a_three_player_game(kind: str) -> None:
    game = read_game_file(GAMES / "three_players.gam")
    if kind != ".gam":
        game = parse_nfg(format_nfg(game, "outcome" if kind == "outcome" else "payoff"))
    for a, b, c in itertools.product(range(2), range(3), range(2)):
        number = 100 * (a + 1) + 10 * (b + 1) + c + 1
        assert game.payoffs[:, a, b, c].tolist() == [number, -number, number / 100]
        assert [game.rational(i, (a, b, c)) for i in range(3)] == [number, -number, Fraction(number, 100)]


def test_sample_files() -> None:
    stag = read_game_file(GAMES / "stag_hunt.nfg")
    assert (stag.title, stag.players, stag.comment) == ("Stag hunt", ("Rousseau", "Hume"), "payoffs in meals")
    assert stag.actions == (("stag", "hare"),) * 2
    np.testing.assert_array_equal(stag.payoffs, [[[4, 0], [2.5, 2]], [[4, 2.5], [0, 2]]])
    chicken = read_game_file(str(GAMES / "chicken.nfg"))
    np.testing.assert_array_equal(chicken.payoffs, [[[0, -1], [1, -10]], [[0, 1], [-1, -10]]])


@pytest.mark.parametrize(
    ("word", "exact"),
    [
        ("3/2", Fraction(3, 2)),
        ("-6/4", Fraction(-3, 2)),
        ("+2", Fraction(2)),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("1e-3", Fraction(1, 1000)),
        ("-2.5E+2", Fraction(-250)),
        ("-0", Fraction(0)),
        ("1/3", Fraction(1, 3)),
        ("123456789012345678901/3", Fraction(123456789012345678901, 3)),
        ("9007199254740993/7", Fraction(9007199254740993, 7)),
        ("1e-330", Fraction(1, 10**330)),
    ],
)
@pytest.mark.parametrize("form", ["payoff", "outcome", "gam", "efg"])
def test_numbers_stay_as_they_are_written(word: str, exact: Fraction, form: str) -> None:
    text, parse = {
        "payoff": (f'NFG 1 R "" {{ "a" }} {{ 2 }} 7 {word}', parse_nfg),
        "outcome": (f'NFG 1 R "" {{ "a" }} {{ 2 }} {{ {{ 7 }} {{ "" {word} }} }} 1 2', parse_nfg),
        "gam": (f"1\n2\n7 {word}", parse_gam),
        "efg": (
            f'EFG 2 R "" {{ "a" }} p "" 1 1 "" {{ "x" "y" }} 0 t "" 1 "" {{ 7 }} t "" 2 "" {{ {word} }}',
            parse_efg,
        ),
    }[form]
    game = parse(text)
    assert game.rational(0, (1,)) == exact
    assert game.payoffs[0, 1] == float(exact)


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("R", "D") + "{ 2 2 } 1 2 3 4 5 6 7 8",
        HEAD + '{ { "1" "2" } { "1" "2" } } 1 2 3 4 5 6 7 8',
        HEAD + '{ { "" "" } { "" "" } } "" 1 2 3 4 5 6 7 8',
        HEAD + "{2 2}1, 2, 3, 4, 5, 6, 7, 8",
        (HEAD + "\n{ 2 2 }\n\n1 2 3 4\n5 6 7 8\n").replace("\n", "\r\n"),
        (HEAD + "\n{ 2 2 }\n1 2 3 4\n5 6 7 8\n").replace("\n", "\r"),
        "\ufeff" + HEAD + "{ 2 2 } 1 2 3 4 5 6 7 8",
        HEAD.replace(" ", "\t\n\v\f ") + "{ 2 2 } 1 2 3 4 5 6 7 8",
        HEAD + "{ 2 2 } { { 1 2 } { 3 4 } { 5 6 } { 7, 8 } } 1 2 3 4",
        HEAD + '{ 2 2 } "" { { "a" 1,2 } {"b"3 4}{ "c { } \\" " 5 6 } { 7 8 } } 1 2 3 4',
        HEAD + "{ 2 2 } 2/2 4/2 3 4 5 6 7 16/2",
        HEAD + "{ 2 2 } 1.0 +2 3e0 4 50e-1 6 7 0.8E1",
    ],
)
def test_one_game_written_in_many_ways(text: str) -> None:
    assert parse_nfg(text) == parse_nfg(HEAD + "{ 2 2 } 1 2 3 4 5 6 7 8")


def test_titles_of_old_files(tmp_path: Path) -> None:
    text = 'NFG 1 R "Théorie des \\"jeux\\"\nde {société}, \\\\ \\alpha" { "Borel" } { 1 } 0'
    for encoding in ("utf-8", "utf-8-sig", "latin-1"):
        file = tmp_path / "a.NFG"
        file.write_bytes(text.encode(encoding))
        assert read_game_file(file).title == 'Théorie des "jeux"\nde {société}, \\\\ \\alpha'


def test_comments_of_a_gam() -> None:
    lines = ["# of GAMUT", "2", "// counts", "2 1", "  # first player", "1 2", "3 4"]
    for end in ("\n", "\r\n", "\r"):
        game = parse_gam(end.join(lines) + end)
        assert game.comment == "of GAMUT\ncounts\nfirst player"
        np.testing.assert_array_equal(game.payoffs, [[[1], [2]], [[3], [4]]])


@given(
    st.lists(
        st.from_regex(r"[-+]?([0-9]{1,25}(/[0-9]{1,25})?|[0-9]{0,20}\.[0-9]{1,20}(e-?[0-9]{1,2})?)", fullmatch=True)
    )
)
def test_all_at_once_is_one_by_one(words: list[str]) -> None:
    values = reading.values_of(words, " ".join(words))
    if values is None:  # only where one of them is refused
        assert any(map(reading.problem_of, words))
    else:
        assert values.tolist() == [reading.value_of(word) for word in words]
        assert values.tolist() == [float(Fraction(word)) for word in words]


# --- there and back -------------------------------------------------------------------------------------------------


# a backslash at the end or before a quotation mark cannot be written, see below
NAMES = st.text(st.characters(codec="utf-8"), max_size=6).filter(lambda name: not re.search(r'\\("|\Z)', name))


@st.composite
def games(draw: Any, payoffs: Any) -> GameFile:
    counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    size = len(counts) * math.prod(counts)
    table = np.empty(size, dtype=object)
    table[:] = draw(st.lists(payoffs, min_size=size, max_size=size))
    players = tuple(draw(NAMES) for _ in counts)
    actions = tuple(tuple(draw(NAMES) for _ in range(count)) for count in counts)
    return GameFile(draw(NAMES), players, actions, table.reshape(len(counts), *counts), draw(NAMES))


RATIONALS = st.fractions() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(games(RATIONALS), st.sampled_from(["payoff", "outcome"]))
def test_nfg_there_and_back(game: GameFile, form: str) -> None:
    text = format_nfg(game, form)
    assert parse_nfg(text) == game
    assert format_nfg(parse_nfg(text), form) == text


@given(games(RATIONALS))
def test_gam_there_and_back(game: GameFile) -> None:
    text = format_gam(game)
    again = parse_gam(text)
    np.testing.assert_array_equal(again.payoffs, game.payoffs)
    for place in np.ndindex(*game.payoffs.shape):
        assert again.rational(place[0], place[1:]) == game.rational(place[0], place[1:])
    for word in text.split():
        denominator = Fraction(word).denominator
        while denominator % 2 == 0 or denominator % 5 == 0:
            denominator //= 2 if denominator % 2 == 0 else 5
        assert ("/" in word) == (denominator > 1)  # other readers know decimals alone


def test_files_there_and_back(tmp_path: Path) -> None:
    game = read_game_file(GAMES / "stag_hunt.nfg")
    for name, form in (("a.nfg", "payoff"), ("b.nfg", "outcome"), ("c.gam", "payoff")):
        write_game_file(tmp_path / name, game, form)
        again = read_game_file(tmp_path / name)
        np.testing.assert_array_equal(again.payoffs, game.payoffs)
        assert (again == game) == (name != "c.gam")
        assert again.rational(0, (1, 0)) == Fraction(5, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nfg", "b.nfg", "c.gam"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.nfg"
    file.write_text("old")
    bad = GameFile("ends in \\", ("a",), (("x",),), np.zeros((1, 1)))
    assert "title" in refusal(lambda: write_game_file(file, bad))
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nfg"]


@pytest.mark.parametrize("name", ["a\\", 'a\\"', "\ud800"])
@pytest.mark.parametrize("what", ["title", "players", "actions", "comment"])
def test_texts_that_the_format_cannot_hold(name: str, what: str) -> None:
    about = {"title": "", "comment": "", "players": ("p",), "actions": (("x",),), "payoffs": np.zeros((1, 1))}
    about[what] = {"players": (name,), "actions": ((name,),)}.get(what, name)
    for form in ("payoff", "outcome"):
        found = refusal(lambda form=form: format_nfg(GameFile(**about), form))  # type: ignore[misc,arg-type]
        assert found.startswith(f"{what}: got 'a" if name[0] == "a" else f"{what}: got '?")
        assert "no way to write" in found


def test_games_differ() -> None:
    def game(**other: Any) -> GameFile:
        about = {"title": "t", "players": ("a",), "actions": (("x", "y"),), "payoffs": np.array([[0.1, 1.0]])}
        return GameFile(**{**about, **other})

    assert game() == game(words=["1/10", "1"])
    close = np.array([[Fraction(0.1), Fraction(1)]], dtype=object)  # the same floats, other numbers
    for other in ({"title": ""}, {"players": ("b",)}, {"actions": (("x", "z"),)}, {"comment": "c"}, {"payoffs": close}):
        assert game() != game(**other)
    assert game() != "t"


# --- trees ----------------------------------------------------------------------------------------------------------


def test_poker() -> None:
    game = read_game_file(GAMES / "one_card_poker.efg")
    assert game.actions == (("11", "12", "21", "22"), ("1", "2"))
    # bet with both cards: called, the high card wins 2 and the low one loses 2; bet with the high card alone, and so on
    np.testing.assert_array_equal(game.payoffs[0], [[0, 1], [0.5, 0], [-1.5, 0], [-1, -1]])
    np.testing.assert_array_equal(game.payoffs[1], -game.payoffs[0])
    assert game.rational(0, (2, 0)) == Fraction(-3, 2)


def test_centipede() -> None:
    game = read_game_file(GAMES / "centipede.efg")
    assert game.actions == (("1*", "21", "22"), ("1*", "21", "22"))
    np.testing.assert_array_equal(game.payoffs[0], [[1, 1, 1], [0, 3, 3], [0, 2, 4]])
    np.testing.assert_array_equal(game.payoffs[1], [[0, 0, 0], [2, 1, 1], [2, 4, 3]])


def test_strategies_in_the_order_that_gambit_states() -> None:
    # the shape of Gambit's test game reduction_both_players_payoff_ties_GTE_survey; strategies as its tests list them
    def end(*_: int) -> str:
        return 't "" 0 '

    text = TREE + 'p "" 1 1 "" { "a" "b" "c" "d" } 0 '
    text += 'p "" 2 1 "" { "a" "b" "c" } 0 ' + end() + 'p "" 2 2 "" { "a" "b" } 0 ' + 2 * end() + end()
    text += 'p "" 2 3 "" { "a" "b" } 0 ' + 2 * end()
    text += 'p "" 2 4 "" { "a" "b" } 0 ' + ('p "" 1 2 "" { "a" "b" } 0 ' + 2 * end()) * 2
    text += end()
    game = parse_efg(text)
    assert game.actions[0] == ("1*", "2*", "31", "32", "4*")
    assert game.actions[1] == tuple(
        first + rest for first in ("1*", "21", "22", "3*") for rest in ("11", "12", "21", "22")
    )


def test_outcomes_add_up_along_a_path() -> None:
    text = TREE + (
        'p "" 1 1 "" { "l" "r" } 1 "entry" { -1, 1/3 } c "" 1 "" { "h" 1/4 "t" .75 } 2 "" { 1 0 }'
        ' t "" 3 "" { 8 8 } t "" 0 t "" 1'
    )
    game = parse_efg(text)
    assert game.actions == (("1", "2"), ("*",))
    assert [game.rational(i, (0, 0)) for i in range(2)] == [2, 2 + Fraction(1, 3)]
    assert [game.rational(i, (1, 0)) for i in range(2)] == [-2, Fraction(2, 3)]


def test_ten_actions_need_commas() -> None:
    actions = " ".join(f'"{i}"' for i in range(11))
    text = TREE + f'p "" 1 1 "" {{ {actions} }} 0 ' + f'p "" 1 2 "" {{ {actions} }} 0 ' + 't "" 0 ' * 21
    names = parse_efg(text).actions[0]
    assert names == tuple([f"1,{i}" for i in range(1, 12)] + [f"{i},*" for i in range(2, 12)])


class Tree:
    """A random tree and its payoffs by brute force: every strategy of every player, every path of chance."""

    def __init__(self, rng: random.Random, players: int, forget: bool) -> None:
        self.players, self.rng, self.forget = players, rng, forget
        self.sets: list[list[int]] = [[] for _ in range(players)]  # how many actions
        self.known: dict[Any, int] = {}
        self.words = ['EFG 2 R "random" {', *(f'"{i}"' for i in range(players)), "}"]
        self.outcomes = 0
        self.root = self.grow(rng.randint(2, 4), ((),) * players)

    def outcome(self, always: bool) -> tuple[Fraction, ...]:
        if not always and self.rng.random() < 0.8:
            self.words.append("0")
            return (Fraction(),) * self.players
        self.outcomes += 1
        paid = tuple(Fraction(self.rng.randint(-9, 9), self.rng.choice([1, 1, 2, 3, 10])) for _ in range(self.players))
        self.words += [str(self.outcomes), '""', "{", ", ".join(map(str, paid)), "}"]
        return paid

    def grow(self, depth: int, past: tuple[Any, ...]) -> Any:
        rng = self.rng
        kind = rng.choice("cppp") if depth else "t"
        if kind == "t" or (depth < 3 and rng.random() < 0.2):
            self.words += ["t", '""']
            return ("t", self.outcome(True))
        count = rng.randint(1, 3)
        names = [f'"{i}"' for i in range(count)]
        if kind == "c":
            weights = [rng.randint(0, 4) for _ in range(count - 1)]
            chances = [Fraction(w, 1 + sum(weights)) for w in [*weights, 1]]
            said = " ".join(f"{n} {p}" for n, p in zip(names, chances, strict=True))
            self.words += ["c", '""', str(len(self.words) + 1), '""', "{", said, "}"]
            return ("c", self.outcome(False), [(p, self.grow(depth - 1, past)) for p in chances])
        player = rng.randrange(self.players)
        # a player who remembers can only confuse nodes with the same past
        key = (player, count, rng.randrange(2), None if self.forget else past[player])
        if key not in self.known:
            self.known[key] = len(self.sets[player])
            self.sets[player].append(count)
        number = self.known[key]
        self.words += ["p", '""', str(player + 1), str(number + 1), '""', "{", *names, "}"]
        paid, children = self.outcome(False), []
        for action in range(count):
            own = (*past[player], (number, action))
            children.append(self.grow(depth - 1, (*past[:player], own, *past[player + 1 :])))
        return ("p", paid, player, number, children)

    def pays(self, node: Any, chosen: Any) -> list[Fraction]:
        kind, paid = node[:2]
        total = list(paid)
        follow: list[tuple[Any, Any]] = []
        if kind == "c":
            follow = node[2]
        elif kind == "p":
            follow = [(1, node[4][chosen[node[2]][node[3]]])]
        for p, child in follow:
            total = [a + p * b for a, b in zip(total, self.pays(child, chosen), strict=True)]
        return total

    def reach(self, node: Any, player: int, plan: tuple[int, ...]) -> set[int]:
        """The information sets of a player that a plan leaves within reach."""
        if node[0] == "t":
            return set()
        if node[0] == "c":
            return set().union(*(self.reach(child, player, plan) for _, child in node[2]))
        _, _, owner, number, children = node
        if owner != player:
            return set().union(*(self.reach(child, player, plan) for child in children))
        return {number} | self.reach(children[plan[number]], player, plan)

    def reduced(self, player: int) -> dict[str, tuple[int, ...]]:
        """The names of the reduced strategies, in lexicographic order, each with a plan that it stands for."""
        found: dict[str, tuple[int, ...]] = {}
        for plan in itertools.product(*map(range, self.sets[player])):
            reach = self.reach(self.root, player, plan)
            name = "".join(str(a + 1) if h in reach else "*" for h, a in enumerate(plan)) or "*"
            found.setdefault(name, plan)
        return found


@pytest.mark.parametrize("forget", [False, True], ids=["recall", "forgetful"])
def test_random_trees_by_brute_force(forget: bool) -> None:
    checked = 0
    for seed in range(150):
        tree = Tree(random.Random(seed), 1 + seed % 3, forget)
        if max(math.prod(sets) for sets in tree.sets) > 200:
            continue
        plans = [tree.reduced(i) for i in range(tree.players)]
        if math.prod(map(len, plans)) > 200:
            continue
        game = parse_efg(" ".join(tree.words))
        for names, plan in zip(game.actions, plans, strict=True):
            assert set(names) == set(plan)
            assert len(names) == len(plan)
            if not forget:
                assert list(names) == list(plan)
        for profile in itertools.product(*(range(len(names)) for names in game.actions)):
            chosen = [plan[names[a]] for a, names, plan in zip(profile, game.actions, plans, strict=True)]
            expected = tree.pays(tree.root, chosen)
            assert [game.rational(i, profile) for i in range(tree.players)] == expected
            assert game.payoffs[(slice(None), *profile)].tolist() == list(map(float, expected))
        checked += 1
    assert checked > 50


def test_imperfect_recall_follows_the_traversal() -> None:
    # the absent-minded driver (Piccione and Rubinstein 1997), and a player who forgets a first move
    driver = parse_efg(
        'EFG 2 R "" { "a" } p "" 1 1 "" { "exit" "on" } 0 t "" 1 "" { 0 } p "" 1 1 0 t "" 2 "" { 4 } t "" 3 "" { 1 }'
    )
    assert driver.actions == (("1", "2"),)
    assert driver.payoffs.tolist() == [[0, 1]]
    # chance shows a, then b after its second action meets c, which after a's first action comes before b
    text = 'EFG 2 R "" { "a" } c "" 1 "" { "x" 1/2 "y" 1/2 } 0 p "" 1 1 "" { "l" "r" } 0 p "" 1 2 "" { "l" "r" } 0 '
    text += 't "" 0 t "" 0 t "" 0 p "" 1 3 "" { "l" "r" } 0 p "" 1 2 0 t "" 0 t "" 0 t "" 0'
    assert parse_efg(text).actions[0] == ("111", "112", "121", "122", "211", "221", "2*2")


def test_information_sets_of_many_actions() -> None:
    text = 'EFG 2 R "" { "a" } p "" 1 1 "" { ' + '"x" ' * 3000 + '} 0 p "" 1 2 "" { ' + '"y" ' * 2000 + "} 0 "
    game = parse_efg(text + 't "" 1 "" { 1 } ' + 't "" 0 ' * (1999 + 2998) + 't "" 2 "" { 2 }')
    assert game.actions[0][1998:2001] == ("1,1999", "1,2000", "2,*")
    assert game.payoffs.shape == (1, 4999)
    assert np.flatnonzero(game.payoffs).tolist() == [0, 4998]


@pytest.mark.parametrize("integers", ["small", "long", "large"])
def test_payoffs_are_sums_of_integers(integers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bottom = {"small": 10, "long": 10**14 + 31, "large": 10**14 + 31}[integers]
    if integers == "large":
        monkeypatch.setattr(efg, "WHOLE_LIMIT", 1)
    ends = iter([f't "" {i} "" {{ {i}/{bottom} -{i} }} ' for i in range(1, 13)])
    text = TREE + 'c "" 1 "" { "x" 1/3 "y" 2/3 } 0 '
    for _ in range(2):
        text += 'p "" 1 1 "" { "l" "r" } 0 '
        for _ in range(2):
            text += 'p "" 2 1 "" { "x" "y" "z" } 0 ' + "".join(itertools.islice(ends, 3))
    game = parse_efg(text)
    for a, b in itertools.product(range(2), range(3)):
        first, second = 1 + 3 * a + b, 7 + 3 * a + b
        exact = Fraction(first + 2 * second, 3)
        assert game.rational(1, (a, b)) == -exact
        assert game.rational(0, (a, b)) == exact / bottom
        assert game.payoffs[0, a, b] == pytest.approx(float(exact / bottom), rel=0 if integers != "large" else 4e-16)


def test_a_deep_tree_needs_no_recursion() -> None:
    depth = 10_000
    text = TREE + "".join(f'p "" 1 {i} "" {{ "only" }} 0\n' for i in range(1, depth)) + 't "" 1 "" { 5 6 }'
    game = parse_efg(text)
    assert game.payoffs.ravel().tolist() == [5, 6]
    text = (
        TREE + "".join(f'p "" 1 {i} "" {{ "go" "stop" }} 0\n' for i in range(1, depth)) + 't "" 1 "" { 5 6 } ' * depth
    )
    assert "information sets" in refusal(lambda: parse_efg(text))


# --- what is refused ------------------------------------------------------------------------------------------------


REFUSED = {
    "nothing": (parse_nfg, "", "line 1 column 1: got 'the end of the file', expected NFG"),
    "another format": (parse_nfg, TREE, "line 1 column 1: got 'EFG', expected NFG"),
    "version": (parse_nfg, 'NFG 2 R "" { "a" } { 1 } 1', "line 1 column 5: got '2', expected the version 1"),
    "letter": (parse_nfg, 'NFG 1 Q "" { "a" } { 1 } 1', "line 1 column 7: got 'Q', expected R"),
    "no title": (parse_nfg, 'NFG 1 R { "a" } { 1 } 1', "line 1 column 9: got '{', expected the title"),
    "no players": (parse_nfg, 'NFG 1 R "" { } { } 1', "got 'no players', expected at least one player"),
    "an unquoted player": (parse_nfg, 'NFG 1 R "" { a } { 1 } 1', "line 1 column 14: got 'a', expected the name"),
    "an open text": (parse_nfg, 'NFG 1 R "t" {\n"a', "line 2 column 1: got 'a text without end', expected a closing"),
    "an open brace": (parse_nfg, 'NFG 1 R "t" { "a"', "got 'the end of the file', expected the name of a player"),
    "too few counts": (parse_nfg, HEAD + "{ 2 } 1 2", "got 'strategies of 1 players', expected one number of"),
    "too many counts": (parse_nfg, HEAD + "{ 2 2 2 } 1 2", "got 'strategies of player 3', expected one number of"),
    "a zero count": (parse_nfg, HEAD + "{ 2 0 }", "line 1 column 29: got 'no strategies of player 2', expected at le"),
    "an empty list": (parse_nfg, HEAD + '{ { "x" } { } }', "got 'no strategies of player 2', expected at least one"),
    "a negative count": (parse_nfg, HEAD + "{ 2 -2 }", "got '-2', expected the number of strategies"),
    "too few numbers": (
        parse_nfg,
        HEAD + "{ 2 2 }\n1 2 3\n",
        "line 2 column 6: got '3 numbers', expected 8: 2 for each",
    ),
    "too many numbers": (
        parse_nfg,
        HEAD + "{ 1 1 }\n1 2\n3",
        "line 3 column 1: got '3 numbers', expected 2: 2 for each",
    ),
    "not a number": (parse_nfg, HEAD + "{ 1 1 }\n1 x", "line 2 column 3: got 'x', expected a number such as"),
    "nan": (parse_nfg, HEAD + "{ 1 1 }\n1 nan", "line 2 column 3: got 'nan', expected a number such as"),
    "infinity": (parse_nfg, HEAD + "{ 1 1 }\n1 -inf", "got '-inf', expected a number such as"),
    "too large": (parse_nfg, HEAD + "{ 1 1 }\r\n1 1e999", "line 2 column 3: got '1e999', expected a finite number"),
    "too large a ratio": (parse_nfg, HEAD + "{ 1 1 } 1 1" + 310 * "0" + "/2", "expected a finite number"),
    "too small": (parse_nfg, HEAD + "{ 1 1 } 1 1e-9999", "got '1e-9999', expected an exponent of at most three"),
    "too long": (parse_nfg, HEAD + "{ 1 1 } 1 " + "1" * 5000, "expected a number of at most 4000 letters"),
    "a zero denominator": (parse_nfg, HEAD + "{ 1 1 } 1 1/0", "column 35: got '1/0', expected a denominator that is"),
    "a decimal ratio": (parse_nfg, HEAD + "{ 1 1 } 1 1.5/2", "got '1.5/2', expected a number such as"),
    "a signed denominator": (parse_nfg, HEAD + "{ 1 1 } 1 1/-2", "got '1/-2', expected a number such as"),
    "an underscore": (parse_nfg, HEAD + "{ 1 1 } 1 1_0", "got '1_0', expected a number such as"),
    "other digits": (parse_nfg, HEAD + "{ 1 1 } 1 \u0663", "expected a number such as"),
    "two commas": (parse_nfg, HEAD + "{ 1 1 } 1,,2", "line 1 column 34: got ',', expected a single comma"),
    "a first comma": (parse_nfg, HEAD + "{ 1 1 } , 1 2", "got ',', expected a single comma"),
    "a last comma": (parse_nfg, HEAD + "{ 1 1 } 1 2 ,", "got ',', expected a single comma"),
    "an unknown outcome": (
        parse_nfg,
        HEAD + "{ 1 2 } { { 1 2 } }\n1 2",
        "line 2 column 3: got '2', expected the number",
    ),
    "a negative outcome": (parse_nfg, HEAD + "{ 1 1 } { { 1 2 } } -1", "got '-1', expected the number of an outcome"),
    "a broken outcome": (parse_nfg, HEAD + "{ 1 1 } { { 1 2 } } 0.5", "got '0.5', expected the number of an outcome"),
    "a short outcome": (parse_nfg, HEAD + "{ 1 1 } { { 1 } } 1", "got '} after 1 payoffs', expected a payoff for each"),
    "a long outcome": (parse_nfg, HEAD + "{ 1 1 } { { 1 2 3 } } 1", "got 'payoff 3, 3', expected a payoff for each"),
    "an outcome of nan": (
        parse_nfg,
        HEAD + '{ 1 1 }\n{ { "" 1 nan } } 1',
        "line 2 column 10: got 'nan', expected a nu",
    ),
    "a comma in an outcome": (parse_nfg, HEAD + "{ 1 1 } { { 1,,2 } } 1", "got ',', expected a payoff for each"),
    "an open outcome": (parse_nfg, HEAD + '{ 1 1 } { { "a" 1', "got 'the end of the file', expected a payoff"),
    "open outcomes": (parse_nfg, HEAD + "{ 1 1 } { { 1 2 }", "got 'the end of the file', expected an outcome such as"),
    "too many outcomes": (parse_nfg, HEAD + "{ 1 1 } { { 1 2 } } 1 1", "got '2 numbers', expected 1: an outcome for"),
    "a huge game": (
        parse_nfg,
        HEAD + "{ 99999 99999 } 1",
        "got '99999 x 99999 profiles of 2 players', expected at most",
    ),
    "a large game": (parse_nfg, HEAD + "{ 3000 3000 } 1", "got '1 numbers', expected 18,000,000"),
    "many players": (parse_nfg, f'NFG 1 R "" {{ {40 * chr(34)} }} {{ {20 * "1 "} }}', "got '0 numbers', expected 20"),
    "too many players": (parse_nfg, f'NFG 1 R "" {{ {80 * chr(34)} }} {{ {40 * "1 "} }}', "got '40 players', expected"),
    "an empty gam": (parse_gam, "\n# none\n", "line 3 column 1: got 'the end of the file', expected the number of pl"),
    "no players of a gam": (parse_gam, "0\n", "line 1 column 1: got '0', expected the number of players, from 1"),
    "no actions of a gam": (
        parse_gam,
        "2\n2 0\n",
        "line 2 column 3: got '0', expected the number of actions of player 2",
    ),
    "too many of a gam": (
        parse_gam,
        "1\n2\n1 2\n3",
        "line 4 column 1: got '3 numbers', expected 2: for each of 1 players",
    ),
    "too few of a gam": (
        parse_gam,
        "2\n2 1\n# x\n1 2 3",
        "line 4 column 6: got '3 numbers', expected 4: for each of 2",
    ),
    "a gam of nan": (parse_gam, "1\n2\n1 nan", "line 3 column 3: got 'nan', expected a number such as"),
    "a word in a gam": (parse_gam, "1\n2\n1 [2]", "line 3 column 3: got '[2]', expected a number such as"),
    "no nodes": (parse_efg, TREE, "got 'the end of the file', expected a node: c, p or t"),
    "an unknown node": (parse_efg, TREE + 'x "" 0', "got 'x', expected a node: c, p or t"),
    "too few nodes": (
        parse_efg,
        TREE + 'p "" 1 1 "" { "l" "r" } 0\nt "" 0',
        "line 2 column 7: got 'the end of the file'",
    ),
    "too many nodes": (parse_efg, TREE + 't "" 0\nt "" 0', "line 2 column 1: got 't', expected the end of the file"),
    "an unknown player": (
        parse_efg,
        TREE + 'p "" 3 1 "" { "l" } 0',
        "got 3, expected the number of a player, from 1 to 2",
    ),
    "player 0": (parse_efg, TREE + 'p "" 0 1 "" { "l" } 0', "got '0', expected the number of a player, from 1 to 2"),
    "no actions": (parse_efg, TREE + 'p "" 1 1 "" { } 0', "got 'no actions', expected at least one action"),
    "an unknown set": (parse_efg, TREE + 'p "" 1 7 0 t "" 0', "got 7, expected an information set that was described"),
    "another set": (
        parse_efg,
        TREE + 'p "" 1 1 "s" { "l" } 0 p "" 1 1 "s" { "r" } 0 t "" 0',
        "got 'information set 1 anew', expected the same description as before",
    ),
    "an unknown outcome at a node": (
        parse_efg,
        TREE + 't "" 4',
        "got 4, expected an outcome that was described before",
    ),
    "a described outcome 0": (parse_efg, TREE + 't "" 0 "" { 1 2 }', "got 'a description of outcome 0', expected none"),
    "another outcome": (
        parse_efg,
        TREE + 'p "" 1 1 "" { "l" } 1 "" { 1 2 } t "" 1 "" { 1 3 }',
        "got 'outcome 1 anew', expected the same payoffs as before",
    ),
    "payoffs of a node": (
        parse_efg,
        TREE + 't "" 1 "" { 1 }',
        "got '} after 1 payoffs', expected a payoff for each of 2",
    ),
    "chances": (
        parse_efg,
        TREE + 'c "" 1 "" { "l" 1/2 "r" 1/3 } 0 t "" 0 t "" 0',
        "got 'probabilities that add up to 5/6', expected a sum of exactly 1",
    ),
    "a negative chance": (
        parse_efg,
        TREE + 'c "" 1 "" { "l" -1 "r" 2 } 0',
        "got '-1', expected a probability from 0 to 1",
    ),
    "outcomes that add up to too much": (
        parse_efg,
        TREE + 'p "" 1 1 "" { "l" } 1 "" { 1e308 0 } t "" 1',
        "got 'a sum of outcomes above 1.8e308', expected finite payoffs",
    ),
    "no chance": (parse_efg, TREE + 'c "" 1 "" { "l" "r" } 0', "expected the probability of an action of chance"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    parse, text, words = REFUSED[what]
    found = refusal(lambda: parse(text))
    assert words in found
    assert found.startswith("game text line ")


def test_too_large_reduced_forms_are_never_built() -> None:
    def parallel(count: int, actions: int, last: str = "") -> str:
        names = " ".join(f'"{a}"' for a in range(actions))
        chances = " ".join(f'"{i}" 1/{count}' for i in range(count))
        nodes = "".join(
            f'p "" {1 + i % 2} {i + 1} "" {{ {names} }} 0 ' + (last or 't "" 0 ') * actions for i in range(count)
        )
        return TREE + f'c "" 1 "" {{ {chances} }} 0 ' + nodes

    assert "20,000,001 or more strategies of player 1" in refusal(lambda: parse_efg(parallel(200, 2)))
    assert "4096 x 4096 profiles of 2 players" in refusal(lambda: parse_efg(parallel(24, 2)))
    assert "imperfect recall" in refusal(lambda: parse_efg(parallel(60, 2, 'p "" 1 99 "" { "x" } 0 t "" 0 ')))
    chain = "".join(f'c "" {i} "" {{ "l" 1/3 "r" 2/3 }} 0 t "" 1 "" {{ 1 1 }} ' for i in range(1, 4000)) + 't "" 0'
    assert "at most 4,096 bits" in refusal(lambda: parse_efg(TREE + chain))


def test_what_a_game_file_refuses() -> None:
    def made(payoffs: Any, **other: Any) -> str:
        about = {"title": "", "players": ("a", "b"), "actions": (("x",), ("y", "z")), "payoffs": payoffs}
        return refusal(lambda: GameFile(**{**about, **other}))

    assert "payoffs: got 'shape (2, 2)', expected shape (2, 1, 2)" in made(np.zeros((2, 2)))
    assert "payoffs[1, [0, 1]]: got nan" in made(np.array([[[0, 0]], [[0, np.nan]]]))
    assert "actions of player 2: got 'none'" in made(np.zeros((2, 1, 0)), actions=(("x",), ()))
    assert "players: got '1 players, actions of 2'" in made(np.zeros((2, 1, 2)), players=("a",))
    assert "words: got '1 numbers', expected 4" in made(np.zeros((2, 1, 2)), words=["0"])
    assert "real numbers" in made(np.zeros((2, 1, 2), dtype=complex))
    assert "fractions, integers or floats" in made(np.full((2, 1, 2), "1", dtype=object))
    assert "shorter fractions" in made(np.full((2, 1, 2), Fraction(1, 3**9000), dtype=object))
    assert "a number above 1.8e308" in made(np.full((2, 1, 2), 10**400, dtype=object))
    game = read_game_file(GAMES / "stag_hunt.nfg")
    for player, profile in ((2, (0, 0)), (0, (0, 2)), (0, (0,)), (-1, (0, 0)), (0, (0, 0, 0))):
        assert "player and profile" in refusal(lambda p=player, a=profile: game.rational(p, a))  # type: ignore[misc]
    assert "form: got 'table', expected one of payoff, outcome" in refusal(lambda: format_nfg(game, "table"))


def test_files_that_cannot_be_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = read_game_file(GAMES / "stag_hunt.nfg")
    for name in ("a.csv", "nfg", ".nfg"):
        (tmp_path / name).write_text("1")
        assert "a file whose name ends in one of .nfg, .gam, .efg" in refusal(
            lambda n=name: read_game_file(tmp_path / n)
        )  # type: ignore[misc]
    assert "an existing file" in refusal(lambda: read_game_file("no/such.nfg"))
    assert "this is a folder" in refusal(lambda: read_game_file(tmp_path))
    assert "the name of a file" in refusal(lambda: read_game_file(3))  # type: ignore[arg-type]
    bad = tmp_path / "a\nb.nfg"
    bad.write_text("NFG 1\n R 5")
    assert "a b.nfg line 2 column 4: got '5', expected the title" in refusal(lambda: read_game_file(bad))
    monkeypatch.setattr(game_files, "BYTES_LIMIT", 3)
    assert "at most 0 MB" in refusal(lambda: read_game_file(bad))
    assert "ends in .nfg or .gam" in refusal(lambda: write_game_file(tmp_path / "a.efg", game))
    assert "a .gam has no other" in refusal(lambda: write_game_file(tmp_path / "a.gam", game, "outcome"))
    assert "can be written to" in refusal(lambda: write_game_file(tmp_path / "none" / "a.nfg", game))


BITS = [
    '"',
    "{",
    "}",
    ",",
    "0",
    "-1",
    "1/0",
    "1e999",
    "nan",
    "/",
    "#",
    "\\",
    '\\"',
    "\n",
    "\r",
    "\ufeff",
    "\xa0",
    "1_0",
]
BITS += [
    "99999999999999999999",
    "1/3",
    "c",
    "p",
    "t",
    "0x1",
    "+",
    ".",
    "\x00",
    "\ud800",
    "9" * 5000,
    "999999999",
    "1 1",
]


@settings(max_examples=400)
@given(st.data())
def test_garbage_ends_in_one_line(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(GAMES.iterdir())))
    text = file.read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(text)))
        j = min(len(text), i + data.draw(st.sampled_from([0, 0, 1, 2, 5, 40])))
        put = data.draw(st.sampled_from(["", text[i:j] * 2, *BITS]))
        text = text[:i] + put + text[j:]
    try:
        game = PARSERS[file.suffix](text)
    except InvalidInput as error:
        line = str(error)
        assert line.isprintable() or "\ud800" in text
        assert len(line.splitlines()) == 1
        assert " line " in line
        assert " column " in line
    else:
        assert np.isfinite(game.payoffs).all()
        for place in itertools.islice(np.ndindex(*game.payoffs.shape), 50):
            assert float(game.rational(place[0], place[1:])) == game.payoffs[place]


def test_chances_written_as_floats_are_divided_by_their_sum_with_a_caution():
    chances = " ".join(f'"{i}" 0.16666666666666666' for i in range(6))
    leaves = " ".join(f't "" {i} "" {{ {i} 0 }}' for i in range(1, 7))
    with pytest.warns(Caution, match="divided by their sum, 1 times"):
        game = parse_efg(f'EFG 2 R "a die" {{ "a" "b" }} c "" 1 "" {{ {chances} }} 0 {leaves}')
    assert game.rational(0, (0, 0)) == Fraction(7, 2)
    rough = chances.replace("666666666666666", "6")
    with pytest.raises(InvalidInput, match="a sum of exactly 1"):
        parse_efg(f'EFG 2 R "a die" {{ "a" "b" }} c "" 1 "" {{ {rough} }} 0 {leaves}')
