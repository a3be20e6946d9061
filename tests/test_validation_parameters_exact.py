"""Parameters and the form of a refusal, to the boundary and to the letter: values just inside pass, values just outside
are refused, and the line names the value and what would be right."""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Any, ClassVar, Literal, Optional

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.errors import Caution, cautions_in_a_line, refuse, unknown
from gamesim.parameters import (
    LOOKED_AT,
    Bounds,
    Count,
    Device,
    Fraction,
    Natural,
    NonNegative,
    OnThisMachine,
    Positive,
    Probability,
    Real,
    Temperature,
    Temperatures,
    build,
    check,
    convert,
    kind_of,
    plain,
    spelled,
)
from gamesim.schedules import Constant, Power, Schedule, StepSize
from refusals import f64, said

# --- the form of a refusal ------------------------------------------------------------------------------------------


def test_a_refusal_is_one_line_and_no_longer_than_it_must_be() -> None:
    assert str(refuse("x", "a\n b", "c")) == r"x: got 'a\n b', expected c"
    assert str(refuse("x", [1, 2], "c")) == "x: got [1, 2], expected c"
    assert str(refuse("x", torch.zeros(2, 2), "c")) == "x: got tensor([[0., 0.], [0., 0.]]), expected c"
    assert str(refuse("x", 10**158, "c")) == f"x: got 1{'0' * 158}, expected c"  # 159 signs
    assert str(refuse("x", 10**159, "c")) == f"x: got 1{'0' * 77}...{'0' * 78}, expected c"


def test_an_unknown_name_comes_with_what_is_known_and_what_is_near() -> None:
    assert str(unknown("x", "a", [])) == "x: got 'a', expected nothing: no name is known here"
    assert str(unknown("x", "zzz", ["b", "a"])) == "x: got 'zzz', expected one of a, b"
    four = ["abcd1", "abcd2", "abcd3", "abcd4"]
    assert str(unknown("x", "abcd", four)).endswith("; did you mean abcd4 or abcd3 or abcd2?")
    assert "did you mean" in str(unknown("x", "ab12", ["ab34"]))  # half of it is alike
    assert "did you mean" not in str(unknown("x", "ab123", ["ab456"]))
    many = [f"name{i}" for i in range(40)]
    assert str(unknown("x", "name", many)).startswith(f"x: got 'name', expected one of {', '.join(sorted(many))}; did")
    many.append("name40")
    assert "expected one of 41 names that `gamesim list` shows; did you mean" in str(unknown("x", "name", many))
    assert str(unknown("x", "zz", many)) == "x: got 'zz', expected one of 41 names that `gamesim list` shows"


# --- parameters -----------------------------------------------------------------------------------------------------

BELOW, ABOVE = float(np.nextafter(1, 0)), float(np.nextafter(1, 2))


def test_bounds_hold_at_their_ends() -> None:
    closed, opened = Bounds("", 0, 1), Bounds("", 0, 1, True, True)
    for x, inside, within in ((0, True, False), (1, True, False), (BELOW, True, True), (ABOVE, False, False)):
        assert (x in closed, x in opened) == (inside, within)
        assert (float(x) in closed, f64(x, 0.5) in closed, f64(0.5, x) in opened) == (inside, inside, within)
    assert (-1e-300 in closed, 1e-300 in opened, f64(0.5, -0.1) in closed) == (False, True, False)
    everything = Bounds("")
    assert 1e308 in everything
    assert -1e308 in everything
    for bad in (inf, -inf, nan, f64(0.0, inf), f64(-inf), f64(nan, 0.0)):
        assert bad not in everything
        assert bad not in closed
    odd = torch.zeros(1, dtype=torch.complex64), torch.zeros(2, 2).to_sparse(), torch.zeros(1, device="meta")
    assert not any(x in everything for x in odd)
    assert np.array([0.0, 1.0]) in closed


def test_a_schedule_is_within_bounds_at_its_start_and_far_on() -> None:
    closed = Bounds("", 0, 1)
    for late in LOOKED_AT:
        assert (lambda t, late=late: 2.0 if t == late else 0.5) not in closed
    assert LOOKED_AT == (0, 1, 10, 1000, 10**6)
    assert (lambda t: 1 / (t + 1)) in closed
    assert (lambda t: 1 / t) not in closed
    assert (lambda t: math.exp(t)) not in Bounds("")


def test_a_batch_of_temperatures_is_above_zero_and_one_alone_may_be_zero() -> None:
    rule = Temperatures("", 0)
    for x, fine in ((0, True), (0.5, True), (-0.1, False), (nan, False), (f64(0.5), True), (f64(0.0, 0.5), False)):
        assert (x in rule) == fine
    assert f64(0.5, 1.5) in rule
    assert f64(-0.5, 0.5) not in rule
    assert f64(inf) not in rule


def test_a_device_is_one_that_tensors_can_be_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = OnThisMachine("")
    assert ("cpu" in rule, "meta" in rule, "mars" in rule, "hpu" in rule) == (True, False, False, False)
    real = torch.empty

    def loud(*shape: Any, **keywords: Any) -> Tensor:
        warnings.warn("no driver", UserWarning, stacklevel=1)
        assert shape == (1,), "no more than it takes"
        return real(*shape, **keywords)

    monkeypatch.setattr(torch, "empty", loud)
    assert "cpu" in rule
    for error in (RuntimeError, AssertionError, NotImplementedError, ModuleNotFoundError):

        def broken(*shape: Any, error: type[Exception] = error, **keywords: Any) -> Tensor:
            raise error

        monkeypatch.setattr(torch, "empty", broken)
        assert "cpu" not in rule


ENDS = [
    (Probability, (0, 1, 0.5), (-1e-9, ABOVE, 1.5), "a probability, between 0 and 1"),
    (Positive, (1e-300, 1e300), (0, -1.0), "a number above 0"),
    (NonNegative, (0, 1e300), (-1e-300,), "a number of at least 0"),
    (Temperature, (0, 2.0), (-1e-300,), "a number of at least 0, in a batch above 0"),
    (Fraction, (1e-300, BELOW), (0, 1), "a number between 0 and 1, ends excluded"),
    (Count, (1, 10**9), (0, 10**9 + 1), "a whole number from 1 to 1,000,000,000"),
    (Natural, (0, 10**9), (-1, 10**9 + 1), "a whole number from 0 to 1,000,000,000"),
    (Device, ("cpu",), ("mars",), "cpu, or a device that `gamesim doctor` lists"),
]


@pytest.mark.parametrize(("hint", "good", "bad", "words"), ENDS, ids=[words for *_, words in ENDS])
def test_declared_types_hold_at_their_ends(hint: Any, good: Any, bad: Any, words: str) -> None:
    for x in good:
        assert convert(x, hint, "x") == x
    for x in bad:
        shown = x if isinstance(x, str) or hint in (Count, Natural) else float(x)
        assert said(lambda x=x: convert(x, hint, "x")) == f"x: got {shown}, expected {words}"


def test_a_schedule_out_of_bounds_says_for_how_long_it_is_looked_at() -> None:
    tail = "expected a number or schedule above 0, at every iteration up to a million"
    assert said(lambda: convert("power(-1, 1)", StepSize, "step_size")).endswith(tail)
    assert said(lambda: convert("0", StepSize, "step_size")).endswith(tail)


def test_whole_numbers_are_whole() -> None:
    for given, found in (("7", 7), (7.0, 7), ("7.0", 7), ("1e3", 1000), (np.int64(7), 7), (2.0**53 - 1, 2**53 - 1)):
        value = convert(given, int, "x")
        assert (value, type(value)) == (found, int)
    for bad in (True, 7.5, "7.5", 2.0**53, -(2.0**53), "a", None, inf, nan, [7], f64(7.0)):
        shown = " ".join(str(bad).split())
        assert said(lambda bad=bad: convert(bad, int, "x")) == f"x: got {shown}, expected a whole number"
    assert convert(-(2.0**53) + 1, int, "x") == -(2**53) + 1


def test_numbers_are_finite() -> None:
    for given, found in (("0.5", 0.5), (1, 1.0), (np.float32(0.5), 0.5), (f64(2.0), 2.0), ("-1e3", -1000.0)):
        value = convert(given, float, "x")
        assert (value, type(value)) == (found, float)
    for bad in (True, inf, -inf, nan, "nan", "a", None, [1.0], 10**400, torch.tensor(1j), f64(1.0, 2.0)):
        assert said(lambda bad=bad: convert(bad, float, "x")).endswith("expected a finite number")


def test_truths_texts_and_choices() -> None:
    for word, truth in (("true", True), ("Yes", True), ("1", True), ("FALSE", False), ("no", False), ("0", False)):
        assert convert(word, bool, "x") is truth
    assert convert(True, bool, "x") is True
    for bad in ("maybe", 1, 0, None, ""):
        assert said(lambda bad=bad: convert(bad, bool, "x")) == f"x: got {bad}, expected true or false"
    assert convert("a", str, "x") == "a"
    assert said(lambda: convert(3, str, "x")) == "x: got 3, expected text"
    assert convert("a", Literal["a", "b"], "x") == "a"
    assert said(lambda: convert("c", Literal["a", "b"], "x")) == "x: got c, expected one of a, b"
    assert said(lambda: convert(["a"], Literal["a", "b"], "x")).startswith("x: got ")
    assert convert(Path("a"), Path, "x") == Path("a")
    assert said(lambda: convert("a", Path, "x")) == "x: got a, expected a Path"
    assert convert("anything", Any, "x") == "anything"


def test_one_of_several_types() -> None:
    assert convert("none", int | None, "x") is None
    assert convert(None, int | None, "x") is None
    assert convert("None", Optional[int], "x") is None  # noqa: UP045
    assert convert("3", int | None, "x") == 3
    assert said(lambda: convert("none", int, "x")) == "x: got none, expected a whole number"
    assert said(lambda: convert(None, float | str, "x")) == "x: got None, expected a finite number"
    assert convert("3", None | int, "x") == 3
    assert convert("3", Tensor | float, "x") == 3.0
    kept = f64(1.0, 2.0)
    assert convert(kept, float | Tensor, "x") is kept
    assert said(lambda: convert(kept, float | str, "x")).endswith("expected a finite number")
    assert convert("0.5", float | Tensor, "x") == 0.5
    assert convert("a", float | Path | str, "x") == "a"  # it is one of them already
    assert convert(Path("a"), float | Path, "x") == Path("a")
    assert convert(2, float | int, "x") == 2.0
    assert type(convert(2, float | int, "x")) is float
    many = float | tuple[float, ...]
    for given in ("[1, 2]", " [1, 2]", [1, 2], (1, "2"), ["1", 2]):
        assert convert(given, many, "x") == (1.0, 2.0)
    assert convert("1", many, "x") == 1.0
    assert said(lambda: convert("[1, a]", many, "x")) == "x: got [1, a], expected a list such as [0.5, 0.5]"
    assert said(lambda: convert([1, "a"], many, "x")) == "x[1]: got a, expected a finite number"
    assert convert(f64(1.0, 2.0), tuple[float, ...], "x") == (1.0, 2.0)
    for bad in ("3", 3, "[" * 100_000, torch.zeros(2, device="meta"), torch.tensor(3.0)):
        assert said(lambda bad=bad: convert(bad, tuple[float, ...], "x")).endswith("expected a list such as [0.5, 0.5]")


@dataclass(frozen=True)
class Inner:
    """Something inside."""

    low: Real = 0.0
    """A number."""
    high: Real = 1.0
    """A number."""
    made: int = field(default=7, init=False)


@dataclass(frozen=True)
class Outer:
    """Something that holds something."""

    needed: Count
    inner: Inner = Inner()
    step: StepSize = Constant(0.1)
    chance: Probability | None = None
    usual: Count | None = 3
    inside: Inner | None = None

    def __post_init__(self) -> None:
        check(self)


class Bare:
    """No dataclass."""


class Demanding:
    def __init__(self, x: int) -> None: ...


def test_building_from_names() -> None:
    built = build(Outer, {"needed": "2", "inner.low": "-1", "step": "power(1, 0.5)", "chance": "none", "usual": "none"})
    assert (built.needed, built.inner, built.chance, built.usual) == (2, Inner(low=-1.0), None, None)
    assert built.step == Power(1.0, 0.5)
    assert build(Outer, {"needed": 1, "inner": Inner(3.0, 4.0), "inner.high": 5}).inner == Inner(3.0, 5.0)
    assert build(Outer, {"needed": 1, "step.value": 0.5}).step == Constant(0.5)
    assert isinstance(build(Bare, {}), Bare)
    assert build(dict, {}) == {}  # a class of C, which does not say what it needs
    for values, line in (
        ({}, "needed: Outer needs a value for it"),
        (
            {"neded": 1},
            "parameter of Outer: got neded, expected one of chance, inner, inside, needed, step, usual; did",
        ),
        ({"needed": 0}, "needed: got 0, expected a whole number from 1 to 1,000,000,000"),
        ({"needed": 1, "inner.made": 1}, "parameter of inner: got made, expected one of high, low"),
        ({"needed": 1, "inside.low": 1}, "inside.low: got 1, expected no inner parameters: inside is None"),
        ({"needed.x": 1}, "needed.x: got 1, expected no inner parameters: needed is required and not given"),
        ({"needed": 1, "chance": 2}, "chance: got 2.0, expected a probability, between 0 and 1"),
        (
            {"needed": 1, "step": "power(1, 2, 3, 4)"},
            "step: got power(1, 2, 3, 4), expected at most 3 values: power(scale, exponent, offset)",
        ),
        (
            {"needed": 1, "step": "power(1, scale=2)"},
            "step: got power(1, scale=2), expected each parameter once; scale stands twice",
        ),
        ({"needed": 1, "step": "power(scale=a)"}, "step.scale: got a, expected a finite number"),
        ({"needed": 1, "step": "powr(1)"}, "did you mean power"),
        ({"needed": 1, "step": "?"}, "step: got ?, expected one of"),
        ({"needed": 1, "step": [1]}, "step: got [1], expected one of"),
    ):
        assert line in said(lambda v=values: build(Outer, v))
    assert build(Outer, {"needed": 1}, what="it") == Outer(1)
    assert said(lambda: build(Outer, {"x": 1}, what="it")).startswith("parameter of it: got x")
    assert said(lambda: build(Outer, {}, what="it")) == "needed: it needs a value for it"
    assert said(lambda: build(Bare, {"x": 3})) == "x: got 3, expected no parameters: Bare is not a dataclass"
    assert said(lambda: build(Demanding, {})) == (
        "Demanding: Demanding() needs arguments; make it a dataclass: its fields are its parameters"
    )


class Unfinished(ABC):
    @abstractmethod
    def b(self) -> None: ...

    @abstractmethod
    def a(self) -> None: ...


class Child(Unfinished):
    """It still lacks both."""


def test_an_abstract_class_says_what_it_lacks() -> None:
    assert said(lambda: build(Child, {})) == "Child: it lacks a, b; define that to make it a Unfinished"


class Family:
    """A choice."""

    kinds: ClassVar[dict[str, type]] = {}


@dataclass(frozen=True)
class Texts(Family):
    """Three texts."""

    made: int = field(default=0, init=False)
    first: str = ""
    inner: str = ""
    last: str = ""


Family.kinds["outer"] = Texts


def test_choices_are_split_at_commas_outside_of_brackets() -> None:
    assert convert("outer(1, inner=x(2, [3, 4]), 5)", Family, "x") == Family.kinds["outer"]("1", "x(2, [3, 4])", "5")
    assert convert("outer", Family, "x") == Family.kinds["outer"]()
    assert convert("outer(,2)", Family, "x") == Family.kinds["outer"]("", "2")
    assert convert(" power ( 1 , exponent = 0.5 ) ", Schedule, "x") == Power(1.0, 0.5)
    assert convert("power(2, 0.5\n)", Schedule, "x") == Power(2.0, 0.5)


def test_a_choice_is_spelled_as_it_is_typed() -> None:
    assert kind_of(OnThisMachine) == "on-this-machine"
    assert spelled(Power(1.0, 0.5)) in ("power(scale=1.0, exponent=0.5)", "power(exponent=0.5)")
    assert spelled(Inner()) == "inner"
    assert spelled(Inner(2.0), "x") == "x(low=2.0)"
    assert spelled(Inner(f64(0.0)), "x") == "x(low=[0.0])"
    assert "step=power(" in spelled(Outer(1, step=Power(1.0, 0.5)))


def test_parameters_as_plain_data() -> None:
    @dataclass
    class Large:
        x: int = 3

        def plain(self) -> dict[str, Any]:
            return {"size": (1, nan)}

    assert plain(Inner()) == {"kind": f"{Inner.__module__}:Inner", "low": 0.0, "high": 1.0}
    assert plain({"a": [1, inf, True, None, "s"], 3: (f64(1.0, nan),)}) == {
        "a": [1, None, True, None, "s"],
        "3": [[1.0, None]],
    }
    assert plain(Large()) == {"size": [1, None]}
    assert (plain(Large), plain(len), plain(object())) == (Large.__qualname__, "len", "object")


def test_a_caution_is_a_line_and_other_warnings_are_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    """Every caution, also the same one again, words in a line; what was in force before the block is in force after."""
    seen = list[tuple[str, type[Warning]]]()

    def old(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        seen.append((str(message), category))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        warnings.simplefilter("always", DeprecationWarning)
        warnings.showwarning = old
        with cautions_in_a_line():
            for _ in range(2):
                warnings.warn("step\n  too  large", Caution, stacklevel=1)
            warnings.warn("gone soon", DeprecationWarning, stacklevel=1)
        warnings.warn("nobody hears", Caution, stacklevel=1)
        assert warnings.showwarning is old
    assert capsys.readouterr().err == "note: step too large\n" * 2
    assert seen == [("gone soon", DeprecationWarning)]
