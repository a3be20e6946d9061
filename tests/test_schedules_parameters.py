"""Schedules and parameters: text to values and back, and a line that names the field for everything else."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gamesim as gs
from gamesim import catalog
from gamesim.errors import InvalidInput
from gamesim.feedback import Exact, Noisy
from gamesim.graphons import BlockGraphon, PowerLaw, UniformAttachment
from gamesim.parameters import (
    LARGEST,
    Count,
    Natural,
    NonNegative,
    Positive,
    Probability,
    Real,
    build,
    check,
    describe,
    plain,
)
from gamesim.schedules import Constant, Geometric, Power, Schedule, StepSize
from small_games import NEEDED, SMALL

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@dataclass(frozen=True)
class Sample:
    """A bit of everything."""

    number: Real = 0.0
    """A number."""
    chance: Probability = 0.5
    """A probability."""
    size: Count = 1
    """A count."""
    place: Natural = 0
    """A place."""
    rate: Positive = 1.0
    """A rate."""
    weight: NonNegative = 0.0
    """A weight."""
    on: bool = False
    """A switch."""
    way: Literal["left", "right"] = "left"
    """A way."""
    label: str | None = None
    """A label."""
    law: tuple[Probability, ...] = (0.5, 0.5)
    """A law."""
    step: StepSize = Constant(0.1)
    """A schedule."""
    limit: Count | None = None
    """A limit."""

    def __post_init__(self) -> None:
        check(self)


def refused(name: str, value: Any, cls: type = Sample) -> str:
    with pytest.raises(InvalidInput) as caught:
        build(cls, {name: value})
    text = str(caught.value)
    assert "\n" not in text
    assert name.partition(".")[0] in text
    return text


# --- text to values ------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_its_text(x: float) -> None:
    assert build(Sample, {"number": repr(x)}).number == x


@QUICK
@given(st.integers(1, LARGEST), st.floats(0, 1), st.booleans(), st.sampled_from(["left", "right"]))
def test_values_survive_their_text(n: int, p: float, on: bool, way: str) -> None:
    found = build(Sample, {"size": str(n), "chance": repr(p), "on": str(on).lower(), "way": way, "law": f"[{p!r}, 0]"})
    assert (found.size, found.chance, found.on, found.way, found.law) == (n, p, on, way, (p, 0.0))
    assert build(Sample, {"size": n, "chance": p, "on": on, "way": way, "law": [p, 0]}) == found


@QUICK
@given(st.floats(1e-3, 1e3), st.floats(0, 3), st.floats(0.5, 1e3))
def test_schedules_survive_their_text(scale: float, exponent: float, offset: float) -> None:
    text = f"power({scale!r}, {exponent!r}, {offset!r})"
    assert build(Sample, {"step": text}).step == Power(scale, exponent, offset)
    named = f"power(offset={offset!r}, scale={scale!r}, exponent={exponent!r})"
    assert build(Sample, {"step": named}).step == Power(scale, exponent, offset)


@pytest.mark.parametrize("kind", [Constant(0.25), Power(1.0, 0.5), Power(2.0, 1.0, 4.0), Geometric(1.0, 0.5, 0.125)])
def test_the_print_of_a_schedule_is_its_text(kind: Schedule) -> None:
    assert build(Sample, {"step": str(kind)}).step == kind


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0.5", Constant(0.5)),
        ("1e-3", Constant(0.001)),
        (".5", Constant(0.5)),
        ("constant(2)", Constant(2.0)),
        (" power( 1 ,exponent=0.5 ) ", Power(1.0, 0.5)),
        ("geometric(1, 0.5, 0.1)", Geometric(1.0, 0.5, 0.1)),
        (3, Constant(3.0)),
        (0.5, Constant(0.5)),
    ],
)
def test_schedules_as_calls(text: Any, schedule: Schedule) -> None:
    assert build(Sample, {"step": text}).step == schedule


def test_schedules_as_functions() -> None:
    assert [Power(2.0, 1.0)(t) for t in (0, 1, 3)] == [2.0, 1.0, 0.5]
    assert Geometric(8.0, 0.5, 1.0)(10) == 1.0
    assert Geometric(8.0, 0.5)(2) == 2.0
    many = Constant(torch.tensor([0.1, 0.2]))
    assert build(Sample, {"step": many}).step(5).tolist() == pytest.approx([0.1, 0.2])


def test_words_for_none_true_and_false() -> None:
    assert build(Sample, {"limit": "none", "label": "None", "on": "YES"}) == Sample(on=True)
    assert build(Sample, {"on": "0"}).on is False
    assert build(Sample, {"limit": "7"}).limit == 7


def test_numbers_of_numpy_and_torch() -> None:
    found = build(Sample, {"size": np.int64(3), "number": np.float32(0.5), "place": np.int32(2)})
    assert (found.size, found.number, found.place) == (3, 0.5, 2)
    assert type(found.size) is int
    assert build(Sample, {"chance": torch.tensor([0.1, 0.9])}).chance.shape == (2,)


# --- nested names and kinds -----------------------------------------------------------------------------------------


def test_dotted_names_reach_inside_in_any_order() -> None:
    for given_ in ({"graphon": "power-law", "graphon.a": "0.3"}, {"graphon.a": "0.3", "graphon": "power-law"}):
        game = gs.make("graphon/sis", positions=3, horizon=3, normalize=True, **given_)
        assert game.graphon == PowerLaw(0.3)
    assert gs.make_solver("gmfg-ppo", **{"step_size": "power(1)", "step_size.exponent": "0.5"}).step_size == Power(
        1, 0.5
    )
    assert gs.make_solver("gmfg-ppo", **{"feedback": "noisy", "feedback.scale": "0.2"}).feedback == Noisy(0.2)
    assert gs.make_solver("gmfg-ppo", **{"step_size.value": "2"}).step_size == Constant(2.0)


def test_kinds_with_calls_and_nested_lists() -> None:
    game = gs.make("graphon/sis", positions=3, horizon=3, graphon="step([[0.6, 0.3], [0.3, 0.6]], cuts=[0.25])")
    assert game.graphon == BlockGraphon(((0.6, 0.3), (0.3, 0.6)), (0.25,))
    assert gs.make_solver("gmfg-ppo", feedback="noisy(0.5)").feedback == Noisy(0.5)
    assert gs.make_solver("gmfg-ppo", feedback="exact").feedback == Exact()
    assert gs.make("graphon/sis", positions=3, horizon=3, graphon="uniform-attachment()").graphon == UniformAttachment()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("step", "powr(1)", "did you mean power?"),
        ("step", "power", "scale: power needs a value for it"),
        ("step", "power(1, 2, 3, 4)", "at most 3 values: power(scale, exponent, offset)"),
        ("step", "power(1, scale=2)", "scale stands twice"),
        ("step", "power(1, exponnt=2)", "did you mean exponent?"),
        ("step", "power(1", "did you mean power?"),
        ("step", "power(one)", "a finite number"),
        ("step", "0", "above 0"),
        ("step", "-1", "above 0"),
        ("step", "nan", "finite"),
        ("step", "inf", "finite"),
        ("step", "power(1, 1e9)", "above 0"),
        ("step", "power(1, 1, 0)", "above 0"),
        ("step", "power(1, 0.5, -3)", "above 0"),
        ("step", "geometric(1, 1e300)", "above 0"),
        ("step", "geometric(1, 0.5)", "at every iteration up to a million"),
        ("step", None, "one of"),
        ("step", True, "one of"),
        ("step.value", "-1", "above 0"),
        ("step.valeu", "1", "did you mean value?"),
        ("number.real", "1", "no inner parameters"),
        ("number", "nan", "a finite number"),
        ("number", "-inf", "a finite number"),
        ("number", "", "a finite number"),
        ("number", [1, 2], "a finite number"),
        ("number", True, "a finite number"),
        ("chance", "1.0000001", "a probability, between 0 and 1"),
        ("chance", torch.tensor([0.5, -0.1]), "a probability"),
        ("chance", torch.tensor([0.5, math.nan]), "a probability"),
        ("chance", torch.tensor([0.5 + 0j]), "a probability"),
        ("rate", "0", "a number above 0"),
        ("weight", -1e-300, "a number of at least 0"),
        ("size", "0", "a whole number from 1"),
        ("size", "2.5", "a whole number"),
        ("size", "9" * 5000, "a whole number"),
        ("size", 10**30, "a whole number from 1"),
        ("size", True, "a whole number"),
        ("size", None, "a whole number"),
        ("place", "-1", "a whole number from 0"),
        ("on", "perhaps", "true or false"),
        ("way", "lft", "did you mean left?"),
        ("law", "0.5", "a list such as"),
        ("law", "[0.5, 2]", "law[1]"),
        ("law", "[" * 100_000, "a list such as"),
        ("law", "[" + "1" * 5000 + "]", "a list such as"),
        ("law", "{}", "a list such as"),
        ("limit", "0", "a whole number from 1"),
        ("nummber", "1", "did you mean number?"),
        ("", "1", "parameter of Sample"),
        (".a", "1", "parameter of Sample"),
    ],
)
def test_what_is_refused_names_the_field_and_the_remedy(name: str, value: Any, words: str) -> None:
    assert words in refused(name, value)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(InvalidInput, match="scale: Power needs a value for it"):
        build(Power, {})


def test_classes_that_cannot_be_built() -> None:
    class NeedsSize:
        def __init__(self, size: int) -> None: ...

    with pytest.raises(InvalidInput, match="needs arguments; make it a dataclass"):
        build(NeedsSize, {})
    with pytest.raises(InvalidInput, match="size: got '3', expected no parameters"):
        build(NeedsSize, {"size": "3"})
    with pytest.raises(InvalidInput, match="GraphonGame: it lacks initial, reward"):
        build(gs.GraphonGame, {})


# --- the whole catalogue --------------------------------------------------------------------------------------------

WITHOUT = ("thompson",)
"""Solvers without parameters."""
CLASSES = [(kind, name) for kind in ("games", "solvers") for name in sorted(catalog.table(kind))]


TYPED = {family: {n: str(v) for n, v in fields.items()} for family, fields in SMALL.items()}


def needs(kind: str, name: str) -> dict[str, str]:
    """What makes a game of the catalogue small, and what it cannot do without."""
    return TYPED.get(name.partition("/")[0], {}) | NEEDED.get(name, {}) if kind == "games" else {}


@pytest.mark.parametrize(("kind", "name"), CLASSES)
def test_every_parameter_is_described_and_its_default_is_its_text(kind: str, name: str) -> None:
    cls = catalog.find(kind, name)
    rows = describe(cls)
    assert rows or name in WITHOUT
    for row in rows:
        assert row.help, f"{name}: {row.name} has no line of help"
        assert "<" not in row.type, row
        if row.default is None or row.name in ("graph", "blocks"):
            continue
        build(cls, needs(kind, name) | {row.name: row.default}, what=name)  # what is shown can be typed


@pytest.mark.parametrize(("kind", "name"), CLASSES)
def test_plain_is_json_of_every_class(kind: str, name: str) -> None:
    cls = catalog.find(kind, name)
    built = build(cls, needs(kind, name))
    assert plain(built)["kind"] == f"{cls.__module__}:{cls.__qualname__}"


NAMES = {(kind, name): [row.name for row in describe(catalog.find(kind, name))] for kind, name in CLASSES}


def assert_built_or_refused(cls: type, values: dict[str, Any]) -> None:
    refusal = "field: words"
    try:
        build(cls, values)
    except InvalidInput as error:
        refusal = str(error)
    assert len(refusal.splitlines()) == 1
    assert refusal.partition(":")[0]


WORDS = "power constant geometric noisy exact power-law step graph none true a scale values karate-club"
SIGNS = "( ) , = [ ] . 0 1 -1 0.5 1e400 nan inf"
PIECES = st.sampled_from([" ", "\n", *WORDS.split(), *SIGNS.split()])
TEXTS = st.one_of(
    st.text(max_size=12),
    st.lists(PIECES, max_size=8).map("".join),
    st.integers(-3, 40).map(str),
    st.floats(width=16).map(repr),
    st.sampled_from(
        ["power(1, 0.5)", "[0.5, 0.5]", "uniform-attachment", "erdos-renyi(0.3)", "block", "float32", "dense"]
    ),
)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([which for which in CLASSES if NAMES[which]]), st.data())
def test_any_text_for_any_parameter_builds_or_is_refused_in_a_line(which: tuple[str, str], data: st.DataObject) -> None:
    kind, name = which
    parameter = data.draw(st.sampled_from(NAMES[which]))
    text = data.draw(TEXTS)
    assume(not (text.isdigit() and len(text) > 4))  # a big but lawful game would only take time
    assert_built_or_refused(catalog.find(kind, name), needs(kind, name) | {parameter: text})


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([which for which in CLASSES if NAMES[which]]), st.data())
def test_any_object_for_any_parameter_builds_or_is_refused(which: tuple[str, str], data: st.DataObject) -> None:
    kind, name = which
    parameter = data.draw(st.sampled_from([n for n in NAMES[which] if "." not in n]))
    odd = [
        None,
        True,
        b"x",
        object(),
        [],
        {},
        (),
        -1,
        10**30,
        math.nan,
        math.inf,
        0.5,
        [[1]],
        torch.tensor(1j),
        "",
        Constant,
    ]
    value = data.draw(
        st.sampled_from([*odd, torch.tensor([]), torch.tensor([0.1, 0.2]), torch.tensor(0.5), lambda x, y: x])
    )
    assert_built_or_refused(catalog.find(kind, name), needs(kind, name) | {parameter: value})


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([which for which in CLASSES if NAMES[which]]), st.text(max_size=8))
def test_unknown_names_are_refused(which: tuple[str, str], text: str) -> None:
    kind, name = which
    assume(text.partition(".")[0] not in NAMES[which])
    with pytest.raises(InvalidInput, match="expected one of"):
        build(catalog.find(kind, name), {text: "1"}, what=name)
