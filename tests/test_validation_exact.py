"""What is checked, to the boundary and to the letter: values just inside pass, values just outside are refused, and
the line names the first bad place, the value and what would be right."""

import errno
import fcntl
import math
import os
import re
import stat
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Optional

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse, unknown
from gamesim.files import (
    MOST,
    Lock,
    fingerprint,
    naming,
    own_folder,
    read_json,
    require_name,
    to_json,
    write_json,
    write_text,
    write_with,
)
from gamesim.games import GraphonGame, MatrixGame, StochasticGame
from gamesim.games.game import (
    exploitability,
    measure,
    probe,
    require_batch,
    require_game,
    require_iterate,
    require_policy,
    require_rows,
    values_of,
)
from gamesim.games.matrix import action_counts, as_payoffs, as_tensor
from gamesim.games.tables import action_counts as counts_of_rewards
from gamesim.games.tables import require_kinds
from gamesim.games.transitions import Sparse
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

nan, inf = float("nan"), float("inf")


def said(call: Callable[[], Any]) -> str:
    """The line that a call is refused with, without the quotes around what it got."""
    with pytest.raises(InvalidInput) as error:
        call()
    return re.sub(r": got '(.*)', expected ", r": got \1, expected ", str(error.value))


def f64(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


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


# --- policies and games ---------------------------------------------------------------------------------------------


def test_rows_are_checked_to_the_boundary() -> None:
    inside, outside = 1 + 2.0**-20, 1 + 2.0**-19  # 9.5e-7 and 1.9e-6
    require_rows(f64([inside, 0.0], [0.0, 2 - inside]), "p")
    require_rows(f64(0.5, 0.5), "p", 0.0)
    require_rows(f64(1.0, 0.25), "p", 0.25)  # the tolerance itself is within it
    require_rows(torch.tensor([0.5, 0.5], dtype=torch.float32), "p")
    wanted = "expected rows that sum to one"
    assert said(lambda: require_rows(f64([1.0, 0.0], [outside, 0.0], [3.0, 0.0]), "p")) == (
        f"p[1]: got a row that sums to 1, {wanted}"
    )
    assert said(lambda: require_rows(f64(0.5, 0.4), "p")) == f"p: got a row that sums to 0.9, {wanted}"
    assert said(lambda: require_rows(f64([[0.5, 0.5], [0.7, 0.7]], [[0.5, 0.5], [2.0, 0.0]]), "p")) == (
        f"p[0, 1]: got a row that sums to 1.4, {wanted}"
    )
    assert said(lambda: require_rows(f64([0.5, 0.5], [nan, inf]), "p")) == (
        "p[1, 0]: got nan, expected finite probabilities"
    )
    assert said(lambda: require_rows(f64([0.5, 0.5], [inf, 0.0]), "p")) == (
        "p[1, 0]: got inf, expected finite probabilities"
    )
    assert said(lambda: require_rows(f64([1.5, -0.5], [2.0, -1.0]), "p")) == (
        "p[0, 1]: got -0.5, expected probabilities of at least 0"
    )
    assert said(lambda: require_rows(torch.tensor([1, 0]), "p")) == (
        "p: got dtype torch.int64, expected a floating-point tensor"
    )


def test_a_policy_is_a_tuple_of_rows_of_the_right_shapes() -> None:
    like = (f64([0.5, 0.5], [0.5, 0.5]), f64([1.0], [1.0]))
    require_policy(like)
    require_policy(like, like)
    require_policy((torch.full((7, 2, 2), 0.5), torch.ones(7, 2, 1)), like)  # a batch
    wanted = "a tuple of tensors, one per player or population"
    for bad in (list(like), (), (like[0], [1.0]), like[0], None):
        assert said(lambda bad=bad: require_policy(bad)) == f"policy: got {type(bad).__name__}, expected {wanted}"
    assert said(lambda: require_policy(like[:1], like, "target")) == (
        "target: got 1 tensors, expected 2, one per player or population"
    )
    assert said(lambda: require_policy((like[0], torch.ones(1, 1)), like)) == (
        "policy[1]: got shape (1, 1), expected [..., 2, 1]"
    )
    assert said(lambda: require_policy((like[0], 2 * like[1]))) == (
        "policy[1][0]: got a row that sums to 2, expected rows that sum to one"
    )


class Points:
    """A game that says itself what it takes."""

    def require(self, point: Any, field: str) -> None:
        raise refuse(field, point, "something else")


def test_an_iterate_is_a_policy_unless_the_game_says_what_it_is() -> None:
    assert said(lambda: require_iterate(Points(), 3, field="x")) == "x: got 3, expected something else"
    require_iterate(object(), (f64(1.0),), (f64(1.0),))
    assert said(lambda: require_iterate(object(), (f64(2.0),))).startswith("policy[0]: got a row that sums to 2")
    assert said(lambda: require_iterate(object(), (f64(1.0),), (f64(0.5, 0.5),))).startswith("policy[0]: got shape")


class Plain:
    """A game of three methods; what it answers can be bent."""

    def __init__(self, answer: Any = None, gain: Any = None) -> None:
        self.answer, self.gain = answer, gain

    def start(self) -> tuple[Tensor, ...]:
        return (f64(0.5, 0.5),)

    def feedback(self, policy: Any) -> Any:
        return (policy[0] * 3,) if self.answer is None else self.answer(policy)

    def exploitability(self, policy: Any) -> Any:
        return policy[0].amax(-1) if self.gain is None else self.gain(policy)


class Rich(Plain):
    """It knows its metrics, and takes temperatures."""

    def feedback(self, policy: Any, temperature: Any = 0.0) -> Any:
        return (policy[0] + temperature,)

    def exploitability(self, policy: Any, temperature: Any = 0.0) -> Any:
        return policy[0].amax(-1) + temperature

    def metrics(self, policy: Any, temperature: Any = 0.0) -> dict[str, Any]:
        return {"exploitability": self.exploitability(policy, temperature), "other": 3}


class Residual:
    """Another family: no exploitability, and metrics that take what they say they take."""

    takes = ("scale",)

    def start(self) -> tuple[Tensor, ...]:
        return (f64(1.0, 2.0),)

    def require(self, point: Any, field: str) -> None: ...

    def metrics(self, point: Any, scale: float = 1.0) -> dict[str, Any]:
        return {"residual": scale * point[0].abs().sum(-1)}


def test_a_game_has_three_methods() -> None:
    require_game(Plain())
    for name in ("start", "feedback", "exploitability"):
        broken = Plain()
        setattr(broken, name, None)
        assert said(lambda game=broken, name=name: require_game(game)) == (
            "game: got Plain, expected an object with start(), feedback(policy) and exploitability(policy); "
            f"{name} is missing"
        )
    assert said(lambda: require_game(3)).endswith("; start is missing")


def test_exploitability_is_the_games_own_after_the_checks() -> None:
    assert float(exploitability(Plain(), (f64(0.25, 0.75),))) == 0.75
    assert float(exploitability(Rich(), (f64(0.25, 0.75),), temperature=2.0)) == 2.75
    assert said(lambda: exploitability(Residual(), (f64(0.5, 0.5),))).endswith("feedback is missing")  # type: ignore[arg-type]
    assert said(lambda: exploitability(Plain(), (f64(0.5, 0.6),))).startswith("policy[0]: got a row that sums to 1.1")
    assert said(lambda: exploitability(Plain(), (f64(1.0),))) == "policy[0]: got shape (1,), expected [..., 2]"


def test_measures_are_the_familys_or_exploitability_alone() -> None:
    policy = (f64(0.25, 0.75),)
    assert measure(Plain(), policy) == {"exploitability": 0.75}
    assert measure(Plain(), policy, temperature=2.0) == {"exploitability": 0.75}
    found = measure(Rich(), policy, temperature=2.0)
    assert {name: (float(x), x.dtype) for name, x in found.items()} == {
        "exploitability": (2.75, torch.float64),
        "other": (3.0, torch.float64),
    }
    assert float(measure(Residual(), policy, scale=4.0, temperature=2.0)["residual"]) == 4.0
    kept = torch.tensor(1.5, dtype=torch.float32)
    assert measure(Plain(gain=lambda x: kept), policy)["exploitability"] is kept


def test_feedback_is_asked_for_with_a_temperature_where_it_is_taken_and_must_look_like_the_policy() -> None:
    policy = (f64(0.5, 0.5),)
    assert values_of(Plain(), policy, 9.0)[0].tolist() == [1.5, 1.5]
    assert values_of(Rich(), policy, 9.0)[0].tolist() == [9.5, 9.5]
    assert values_of(Rich(), policy)[0].tolist() == [0.5, 0.5]
    for answer, name in ((lambda x: [x[0]], "list"), (lambda x: (x[0], x[0]), "tuple"), (lambda x: None, "NoneType")):
        wanted = f"feedback: Plain returned {name}, expected a tuple like the policy"
        assert said(lambda answer=answer: values_of(Plain(answer), policy)) == wanted
    assert said(lambda: values_of(Plain(lambda x: (x[0][:1],)), policy)) == (
        "feedback[0]: got shape (1,), expected the shape of the policy, (2,)"
    )


def test_a_probe_has_no_symmetry_and_is_the_same_every_time() -> None:
    first, second = probe((torch.zeros(2, 3, dtype=torch.float32), f64(0.0, 0.0)))
    angles = torch.sin(torch.arange(1, 7, dtype=torch.float32)).reshape(2, 3).exp()
    assert torch.allclose(first, angles / angles.sum(-1, keepdim=True), atol=1e-6)
    assert first.dtype == torch.float32
    assert torch.allclose(second, torch.softmax(torch.sin(f64(1.0, 2.0)), -1), atol=1e-12)


def test_a_game_that_cannot_be_played_by_a_batch_is_refused() -> None:
    tail = (
        ", but seeds and tensors of hyper-parameters stack policies in front: "
        "write Plain with '...' in front of every shape, or run it without them"
    )
    for game in (Plain(), Rich(), Residual(), MatrixGame.zero_sum([[1, -1], [-1, 1]])):
        require_batch(game)
    tiny = Plain(gain=lambda x: x[0].amax(-1) * (1 + (1e-4 if x[0].dim() > 1 else 0.0)))
    require_batch(tiny)  # rounding is not another answer
    never = Plain(gain=lambda x: x[0].amax(-1) * nan)
    require_batch(never)  # nor is NaN for NaN

    def fails(policy: Any) -> Any:
        if policy[0].dim() > 1:
            raise RuntimeError("one line\nanother")
        return policy[0].sum()

    assert said(lambda: require_batch(Plain(gain=fails))) == (
        f"game: Plain fails on a batch of policies (RuntimeError: one line){tail}"
    )
    assert said(lambda: require_batch(Plain(gain=lambda x: x[0].sum()))) == (
        f"game: Plain answers a batch with exploitability of shape [] instead of [2]{tail}"
    )
    mixed = Plain(answer=lambda x: (x[0] - x[0].mean(),), gain=lambda x: x[0].sum(-1))
    wrong = Plain(answer=lambda x: (x[0].flip(0) if x[0].dim() > 1 else x[0],))
    require_batch(mixed)  # the mean of both rows is that of each
    assert (
        said(lambda: require_batch(wrong))
        == f"game: Plain answers a batch with another feedback[0] than one by one{tail}"
    )
    late = Plain(gain=lambda x: x[0].amax(-1) * (1 + (0.01 if x[0].dim() > 1 else 0.0)))
    assert "another exploitability than one by one" in said(lambda: require_batch(late))
    small = Plain(gain=lambda x: x[0].amax(-1) * 0 + (1e-3 if x[0].dim() > 1 else 0.0))
    assert "another exploitability than one by one" in said(lambda: require_batch(small))

    class Shifted(Residual):
        def metrics(self, point: Any, scale: float = 1.0) -> dict[str, Any]:
            off = point[0] - f64(1.0, 2.0)
            assert bool(((off >= 0) & (off <= 0.1)).all()), "the second point is near the first, above it"
            one = point[0].sum(-1)
            return {"first": one.flip(0) if one.dim() else one, "second": one * 0}

    assert "Shifted answers a batch with another first than one by one" in said(lambda: require_batch(Shifted()))


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


# --- payoffs --------------------------------------------------------------------------------------------------------


def test_payoffs_are_checked_to_the_first_bad_place() -> None:
    assert as_payoffs([[[1, 2]]], player_count=1).dtype == torch.float64
    assert as_payoffs(torch.zeros(2, 1, 1)).shape == (2, 1, 1)
    u = torch.zeros(2, 2, 2)
    u[1, 0, 1], u[1, 1, 0] = nan, inf
    assert said(lambda: as_payoffs(u)) == "payoffs[1, 0, 1]: got nan, expected a finite payoff"
    u[0, 1, 1] = -inf
    assert said(lambda: as_payoffs(u, "u")) == "u[0, 1, 1]: got -inf, expected a finite payoff"
    assert said(lambda: as_payoffs(torch.zeros(2, 0, 3))) == (
        "payoffs: got a player without actions: shape [2, 0, 3], expected at least one action for each player"
    )
    assert said(lambda: as_payoffs(torch.zeros(0, 2, 3, 3), player_count=2)) == (
        "payoffs: got an empty batch: shape [0, 2, 3, 3], expected at least one game"
    )
    large = torch.zeros(1, dtype=torch.float64).expand(2, 10**8 // 2 + 1, 1)
    assert said(lambda: as_payoffs(large)) == (
        "payoffs: got 100,000,002 numbers, expected at most 100,000,000; a larger game needs a structured class"
    )


def test_payoffs_are_at_most_as_many_as_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.games.matrix.LARGEST", 8)
    assert as_payoffs(torch.zeros(2, 2, 2)).shape == (2, 2, 2)
    assert said(lambda: as_payoffs(torch.zeros(1, 9))).startswith("payoffs: got 9 numbers, expected at most 8;")


def test_the_number_of_players_is_the_largest_that_fits() -> None:
    assert action_counts(torch.zeros(1, 4)) == (4,)
    assert action_counts(torch.zeros(2, 3, 4)) == (3, 4)
    assert action_counts(torch.zeros(3, 2, 3, 3)) == (2, 3, 3)  # three players, not three games of two
    assert action_counts(torch.zeros(3, 2, 3, 3), 2) == (3, 3)
    assert action_counts(torch.zeros(5, 1, 4)) == (4,)
    for shape, n, players in (
        ((4, 4), None, "as many players as"),
        ((4,), None, "as many players as"),
        ((2, 3, 4), 3, "3 players and"),
        ((2, 3, 4), 1, "1 players and"),
        ((2, 3, 4), 0, "0 players and"),
        ((2, 0), 0, "0 players and"),
        ((2, 3, 4), 4, "4 players and"),
    ):
        assert said(lambda s=shape, n=n: action_counts(torch.zeros(s), n)) == (
            f"payoffs: got shape {list(shape)}, expected [..., player, a1, ..., an]: {players} dimensions of actions"
        )


def test_numbers_become_tensors_and_nothing_else_does() -> None:
    whole = torch.tensor([1, 2])
    assert as_tensor(whole, "x").dtype == torch.float64
    single = torch.tensor([1.0])
    assert as_tensor(single, "x") is single
    assert as_tensor(np.array([1, 2], dtype=np.int8), "x").tolist() == [1.0, 2.0]
    assert as_tensor([True, False], "x").tolist() == [1.0, 0.0]
    assert as_tensor(np.array([1, 2.5], dtype=object).reshape(2, 1), "x").tolist() == [[1.0], [2.5]]
    assert as_tensor(["1", "2.5"], "x").tolist() == [1.0, 2.5]
    for odd in (torch.zeros(1, dtype=torch.complex64), torch.eye(2).to_sparse(), torch.zeros(2, device="meta")):
        assert said(lambda x=odd: as_tensor(x, "x")).startswith(
            f"x: got dtype {odd.dtype}, {odd.layout} on {odd.device}"
        )
    for bad in ([[1, 2], [3]], [None], [1j], ["a"], object()):
        assert said(lambda bad=bad: as_tensor(bad, "x")) == (
            f"x: got {type(bad).__name__}, expected a tensor, an array or nested lists of numbers"
        )


def test_names_of_a_matrix_game_are_one_for_each() -> None:
    game = MatrixGame(torch.zeros(2, 2, 3), players=("a", "b"), actions=(("x", "y"), ("p", "q", "r")))
    assert (game.players, game.actions) == (("a", "b"), (("x", "y"), ("p", "q", "r")))
    plain = MatrixGame(torch.zeros(2, 2, 3))
    assert (plain.players, plain.actions) == (("1", "2"), (("1", "2"), ("1", "2", "3")))
    assert said(lambda: MatrixGame(torch.zeros(2, 2, 3), players=("a",))) == (
        "players: got 1 names, expected 2, one per player"
    )
    assert said(lambda: MatrixGame(torch.zeros(2, 2, 3), actions=(("x", "y"), ("p", "q")))) == (
        "actions: got [2, 2] names, expected [2, 3], one per action of each player"
    )
    assert MatrixGame(torch.zeros(3, 2, 3, 3), player_count=2).batch == (3,)
    assert "3 players" not in said(lambda: MatrixGame(torch.zeros(3, 2, 3, 3), player_count=4))


def test_two_matrices_must_fit() -> None:
    game = MatrixGame.bimatrix([[1, 2, 3]], torch.zeros(5, 1, 3))
    assert (game.batch, game.action_counts) == ((5,), (1, 3))
    assert MatrixGame.bimatrix(torch.zeros(5, 1, 3), [[1, 2, 3]]).batch == (5,)
    assert said(lambda: MatrixGame.bimatrix([1, 2], [[1, 2]])) == "first: got shape [2], expected a matrix [a1, a2]"
    assert said(lambda: MatrixGame.bimatrix([[1, 2]], [1, 2])) == "second: got shape [2], expected a matrix [a1, a2]"
    assert said(lambda: MatrixGame.bimatrix(torch.zeros(3, 1, 2), torch.zeros(2, 1, 2))) == (
        "second: got shape [2, 1, 2], expected as many games as in [3, 1, 2]"
    )
    for other in ([[1, 2, 3]], [[1, 2], [3, 4]]):
        assert said(lambda b=other: MatrixGame.bimatrix([[1, 2]], b)) == (
            f"second: got shape {[len(other), len(other[0])]}, expected the shape of the first, [1, 2]"
        )


def test_exact_payoffs_are_of_one_game() -> None:
    game = MatrixGame.bimatrix([[0.5, 2]], [[3, 0.1]])
    assert game.rational(0, (0, 0)) * 2 == 1
    assert game.rational(1, (0, 1)) == 0.1
    exact = MatrixGame(torch.zeros(1, 2), exact=lambda player, profile: (player + 1, profile)[0])
    assert exact.rational(0, [1]) == 1
    assert said(lambda: MatrixGame(torch.zeros(4, 2, 1, 1), player_count=2).rational(0, (0, 0))) == (
        "game: got a batch of games of shape [4], expected one game"
    )


@dataclass(frozen=True, eq=False)
class Own(MatrixGame):
    """A user's class that checks nothing."""

    def __post_init__(self) -> None: ...


def test_payoffs_of_a_users_class_are_checked_before_a_run() -> None:
    Own(torch.zeros(2, 2, 2)).validate()
    assert said(Own(torch.full((2, 1, 1), nan)).validate) == "payoffs[0, 0, 0]: got nan, expected a finite payoff"
    assert "3 players and" in said(Own(torch.zeros(2, 2, 2), player_count=3).validate)


# --- stochastic games -----------------------------------------------------------------------------------------------


def tables(**changes: Any) -> StochasticGame:
    """One player, two states, two actions; half of the play stops in each step."""
    given = {"reward": torch.ones(1, 2, 2), "transition": torch.full((2, 2, 2), 0.25)} | changes
    return StochasticGame(**given)


def test_tables_are_checked_to_the_first_bad_place() -> None:
    assert tables().initial.tolist() == [0.5, 0.5]
    reward = torch.ones(1, 2, 2)
    reward[0, 1, 0], reward[0, 1, 1] = inf, nan
    assert said(lambda: tables(reward=reward)) == "reward[0, 1, 0]: got inf, expected a finite reward"
    assert said(lambda: tables(transition=torch.full((2, 2, 2), 0.5))) == (
        "stopping[0, 0]: got 0, expected a positive probability that play stops: "
        "rows of transition below 1, or a discount below 1"
    )
    row = torch.full((2, 2, 2), 0.25)
    row[1, 0] = 0.5
    assert said(lambda: tables(transition=row)).startswith("stopping[1, 0]: got 0, expected a positive")
    tables(transition=torch.full((2, 2, 2), 0.5), discount=0.999)
    for discount in (0.0, -0.5, 1.0001, nan, "0.5", None):
        assert said(lambda d=discount: tables(discount=d)) == (
            f"discount: got {discount}, expected a number above 0 and at most 1"
        )
    assert said(lambda: tables(initial=[1.0])) == (
        "initial: got shape [1], expected [..., 2], one number for each state"
    )
    assert said(lambda: tables(initial=[0.5, 0.6])) == (
        "initial: got a row that sums to 1.1, expected rows that sum to one"
    )
    largest = torch.finfo(torch.float64).max / 8  # over two steps on average
    tables(reward=torch.full((1, 2, 2), largest, dtype=torch.float64))
    uneven = torch.tensor([[[1.0, -1.5 * largest], [2.0, 3.0]]], dtype=torch.float64)
    wanted = "expected rewards whose sums over an episode are finite: count them in a larger unit"
    assert said(lambda: tables(reward=uneven)) == f"reward: got 3.37e+307, {wanted}"
    once = torch.full((2, 2, 2), 0.25)
    once[0] = 0.0  # where a step is the last, and where it is not: the longest episodes count
    assert said(lambda: tables(reward=uneven, transition=once)) == f"reward: got 3.37e+307, {wanted}"
    tables(reward=uneven / 1.5, transition=once)
    assert said(lambda: tables(reward=torch.full((1, 2, 2), -largest * 1.001, dtype=torch.float64))) == (
        "reward: got 2.25e+307, expected rewards whose sums over an episode are finite: count them in a larger unit"
    )
    assert said(lambda: tables(initial=torch.full((3, 2), 0.5), reward=torch.ones(4, 1, 2, 2), player_count=1)) == (
        "batch: got reward [4, 1, 2, 2], transition [2, 2] over joint actions, "
        "expected leading dimensions that broadcast"
    )
    assert said(lambda: tables(reward=torch.ones(1, 2, 0), transition=torch.ones(2, 0, 2))) == (
        "reward: got shape [1, 2, 0], expected at least one state, and one action for each player"
    )


def test_play_stops_with_more_than_rounding() -> None:
    least = 2.0**-19  # 16 units in the last place of float32
    StochasticGame(torch.ones(1, 1, 1), torch.full((1, 1, 1), 1 - least))
    law = torch.tensor([[[1 - least], [1 - least / 2]]])
    assert said(lambda: StochasticGame(torch.ones(1, 1, 2), law)).startswith("stopping[0, 1]: got 0, expected")


def test_states_are_no_more_than_their_systems_can_be() -> None:
    S = 10_000  # S x S is the limit
    following = torch.zeros(S + 1, 1, 1, dtype=torch.long)
    weights = torch.full((S + 1, 1, 1), 0.5, dtype=torch.float64)
    assert said(lambda: StochasticGame(torch.ones(1, S + 1, 1), Sparse(following, weights))) == (
        "reward: got 10,001 states, expected at most 10,000: values take a system of S x S"
    )
    StochasticGame(torch.ones(1, S, 1), Sparse(following[:S], weights[:S]))


class Bent:
    """Tables of a user's class."""

    def __init__(self, **changes: Any) -> None:
        self.reward, self.transition = torch.ones(1, 2, 2), torch.full((2, 2, 2), 0.25)
        self.initial, self.discount, self.action_counts, self.state_count = torch.full((2,), 0.5), 1, (2,), 2
        vars(self).update(changes)


def test_tables_are_tensors_of_numbers() -> None:
    require_kinds(Bent())
    require_kinds(Bent(discount=0.5, initial=torch.ones(2, dtype=torch.float64)))
    for name, bad, shown, shape in (
        ("reward", [1.0], "a list", "player, s, a1, ..., an"),
        ("reward", torch.ones(1, 2, 2, dtype=torch.long), "torch.int64 [1, 2, 2]", "player, s, a1, ..., an"),
        ("reward", torch.ones(2, 2), "torch.float32 [2, 2]", "player, s, a1, ..., an"),
        ("transition", None, "a NoneType", "s, a1, ..., an, t"),
        ("transition", torch.ones(2, 2), "torch.float32 [2, 2]", "s, a1, ..., an, t"),
        ("initial", torch.ones(2, dtype=torch.float16), "torch.float16 [2]", "s"),
        ("initial", torch.tensor(1.0), "torch.float32 []", "s"),
    ):
        wanted = f"{name}: got {shown}, expected a tensor [..., {shape}] of float32 or float64"
        assert said(lambda n=name, b=bad: require_kinds(Bent(**{n: b}))) == wanted
    assert said(lambda: require_kinds(Bent(initial=Sparse(torch.zeros(2, 2, 1).long(), torch.ones(2, 2, 1))))) == (
        "initial: got a Sparse, expected a tensor [..., s] of float32 or float64"
    )
    assert "transition" in said(lambda: require_kinds(Bent(transition=torch.full((2, 2, 3), 0.25))))
    listed = Sparse(torch.zeros(2, 2, 1).long(), torch.full((2, 2, 1), 0.5))
    require_kinds(Bent(transition=listed))
    assert said(lambda: require_kinds(Bent(transition=listed, initial=None))).startswith("initial: got a NoneType")


def test_the_players_of_rewards_are_as_many_as_fit() -> None:
    assert counts_of_rewards(torch.ones(1, 5, 3), None) == (3,)
    assert counts_of_rewards(torch.ones(2, 5, 3, 4), None) == (3, 4)
    assert counts_of_rewards(torch.ones(7, 1, 5, 3), 1) == (3,)
    assert counts_of_rewards(torch.ones(7, 1, 5, 3), None) == (3,)
    for shape, n, players in (
        ((3, 5, 3), None, "as many players as"),
        ((2, 5, 3, 4), 1, "1 players and"),
        ((2, 5, 3, 4), 3, "3 players and"),
        ((2, 5, 3, 4), 0, "0 players and"),
        ((1, 0, 3), 0, "0 players and"),
    ):
        assert said(lambda s=shape, n=n: counts_of_rewards(torch.ones(s), n)) == (
            f"reward: got shape {list(shape)}, expected [..., player, s, a1, ..., an]: {players} dimensions of actions"
        )


def test_names_of_a_stochastic_game_are_texts_and_one_for_each() -> None:
    assert tables(states=["a", "b"]).states == ("a", "b")
    for name, value, line in (
        ("states", ("a",), "states: got [1] names, expected [2]"),
        ("players", ("a", "b"), "players: got [2] names, expected [1]"),
        ("actions", (("a",),), "actions: got [1] names, expected [2]"),
        ("states", "ab", "states: got ab, expected names, as a tuple of text"),
        ("states", ("a", 2), "states: got ('a', 2), expected names, as a tuple of text"),
        ("actions", (("a", 2),), "actions[0]: got ('a', 2), expected names, as a tuple of text"),
    ):
        assert said(lambda n=name, v=value: tables(**{n: v})) == line


# --- graphon games --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Crowd(GraphonGame):
    """Two states, three actions; `bad` says what is wrong, at which step and how."""

    horizon: Count = 3
    positions: Count | None = 2
    bad: Any = None

    def bent(self, name: str, h: int, x: Tensor) -> Tensor:
        return self.bad[2](x.clone()) if self.bad is not None and self.bad[:2] == (name, h) else x

    @property
    def initial(self) -> Tensor:
        return self.bent("initial", 0, f64(0.5, 0.5))

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.bent("reward", h, z.new_zeros(*z.shape, 3))

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.bent("transition", h, z.new_full((2, 3, 2), 0.5))


@dataclass(frozen=True, kw_only=True)
class Pushed(Crowd):
    """The same without tables of transitions."""

    transition = GraphonGame.transition

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return self.bent("expect", h, value.mean(-1)[..., None, None].expand(*value.shape, 3))

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return self.bent("push", h, mass.mean(-1, keepdim=True).expand(mass.shape))


def put(place: tuple[int, ...], value: float) -> Callable[[Tensor], Tensor]:
    def bend(x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        x[place] = value
        return x

    return bend


def test_a_crowd_is_checked_step_by_step() -> None:
    Crowd().validate()
    Pushed().validate()
    for cls, bad, line in (
        (
            Crowd,
            ("initial", 0, lambda x: x * 1.5),
            "initial: got a row that sums to 1.5, expected rows that sum to one",
        ),
        (Crowd, ("reward", 2, put((1, 0, 2), inf)), "reward(h=2)[1, 0, 2]: got inf, expected finite rewards"),
        (Crowd, ("reward", 0, put((0, 1, 0), nan)), "reward(h=0)[0, 1, 0]: got nan, expected finite rewards"),
        (
            Crowd,
            ("transition", 1, lambda x: x[:, :2]),
            "transition(h=1): got shape (2, 2, 2), expected [..., s, a, t] = [..., 2, 3, 2]",
        ),
        (
            Crowd,
            ("transition", 1, lambda x: x[0]),
            "transition(h=1): got shape (3, 2), expected [..., s, a, t] = [..., 2, 3, 2]",
        ),
        (
            Crowd,
            ("transition", 2, put((1, 2, 0), 0.6)),
            "transition(h=2)[1, 2]: got a row that sums to 1.1, expected rows that sum to one",
        ),
        (
            Pushed,
            ("expect", 1, put((1, 1, 2), 1.001)),
            "expect(h=1): got rows of P that do not sum to one, expected expect(h, 1, z) = 1",
        ),
        (Pushed, ("push", 1, lambda x: 2 * x), "push(h=1)[0]: got a row that sums to 2, expected rows that sum to one"),
    ):
        assert said(cls(bad=bad).validate) == line  # type: ignore[operator]
    Pushed(bad=("expect", 1, lambda x: x + 0.9e-6)).validate()
    assert "rows of P" in said(Pushed(bad=("expect", 1, lambda x: x + 1.1e-6)).validate)


def test_large_crowds_are_checked_at_the_first_step() -> None:
    def late(positions: int, h: int) -> Crowd:
        return Crowd(positions=positions, bad=("reward", h, put((0, 0, 0), nan)))

    assert said(late(1000, 2).validate).startswith("reward(h=2)")
    late(1001, 1).validate()
    assert said(late(1001, 0).validate).startswith("reward(h=0)")


def test_a_crowd_is_no_larger_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.games.graphon.LARGEST", 12)
    Crowd(positions=4, horizon=3)
    Crowd(positions=None, horizon=12)
    assert said(lambda: Crowd(positions=5, horizon=3)) == (
        "positions: got 5, expected at most 4 with horizon 3: no memory holds more"
    )


# --- files ----------------------------------------------------------------------------------------------------------


def test_names_are_letters_and_at_most_a_hundred() -> None:
    for good in ("a" * 100, "0", "a.b-c_d", "conx", "com10", "lpt", "x.con"):
        assert require_name(good) == good
    for bad in ("a" * 101, "", ".a", "-a", "a/b", "a b", "con", "NUL", "com1", "Lpt9.txt", "aux.log", "ä", "a\n"):
        shown = repr(bad)[1:-1]
        assert said(lambda bad=bad: require_name(bad, "run")) == (
            f"run: got {shown}, expected a name of at most 100 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )


def test_json_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, inf], "b": "ü"})
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert '\n  "a"' in to_json({"a": 1})
    assert read_json(path) == {"a": [1, None], "b": "ü"}
    tail = "not a JSON file that gamesim wrote"
    for text, reason in (('{"a": 1, "a": 2}', "a key stands twice"), ("[NaN]", "NaN is not a number")):
        path.write_text(text)
        assert said(lambda: read_json(path)) == f"{path}: {tail} ({reason})"
    path.write_text("{")
    assert said(lambda: read_json(path)).startswith(f"{path}: {tail} (Expecting")
    path.write_text("[" * 100_000)
    assert said(lambda: read_json(path)).startswith(f"{path}: {tail} (")
    path.write_bytes(b"\xff")
    assert said(lambda: read_json(path)).startswith(f"{path}: {tail} (")
    assert (
        said(lambda: read_json(tmp_path / "b.json"))
        == f"{tmp_path / 'b.json'}: no such file; is this the folder of a run?"
    )
    assert said(lambda: read_json(tmp_path)).startswith(f"{tmp_path}: {tail} (")


def test_a_write_is_whole_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a.txt", list[bool]()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: synced.append(stat.S_ISDIR(os.fstat(f).st_mode)) or fsync(f))
    write_text(path, "one")
    assert (path.read_text(), path.stat().st_mode & 0o777, synced) == ("one", 0o644, [False, True])

    def broken(spare: Path) -> None:
        spare.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_with(path, broken)
    assert path.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert len(os.listdir("/dev/fd")) < 1000


def test_a_folder_that_is_replaced_during_a_write_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    def replaced(spare: Path) -> None:
        spare.write_text("for the first folder")
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        spare.write_text("of the second folder")

    with pytest.raises(OSError, match="replaced") as error:
        write_with(folder / "a.txt", replaced)
    assert (error.value.errno, error.value.filename) == (errno.ESTALE, str(folder / "a.txt"))
    assert not (folder / "a.txt").exists()
    assert not (tmp_path / "moved" / "a.txt").exists()


def test_open_files_are_closed(tmp_path: Path) -> None:
    def held() -> int:
        return len(os.listdir("/dev/fd"))

    before = held()
    for k in range(5):
        write_text(tmp_path / "a.txt", str(k))
    assert held() == before
    lock = Lock(tmp_path)
    assert held() == before + 1
    for _ in range(3):
        with pytest.raises(InvalidInput):
            Lock(tmp_path)
    assert held() == before + 1
    lock.release()
    assert held() == before


def test_a_folder_that_can_be_written_to_is_made_and_others_are_refused(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    assert own_folder(deep) == deep
    assert deep.is_dir()
    assert own_folder(deep) == deep
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("")
    link.symlink_to(deep)
    assert said(lambda: own_folder(file)) == f"out: got {file}, expected a folder; a file of that name is in the way"
    assert said(lambda: own_folder(link, "to")) == f"to: got {link}, expected a folder, not a link"
    assert said(lambda: own_folder(tmp_path / "..." / "a b", "to")).startswith("to (its last part): got a b, expected")
    assert said(lambda: own_folder(file / "x")) == (
        f"out: got {file / 'x'}, expected a folder that can be written to (Not a directory)"
    )
    zero = tmp_path / "a\0b" / "c"
    assert said(lambda: own_folder(zero)).endswith("expected a folder that can be written to (embedded null byte)")


def test_a_lock_is_of_one_holder_and_cleans_up_only_after_itself(tmp_path: Path) -> None:
    first = Lock(tmp_path)
    wanted = "a folder that no other gamesim process is writing to now"
    assert said(lambda: Lock(tmp_path)) == f"out: got {tmp_path}, expected {wanted}"
    first.release(remove=True)
    assert not (tmp_path / ".lock").exists()
    first.release(remove=True)  # twice is once
    second = Lock(tmp_path)
    second.release()
    assert (tmp_path / ".lock").exists()
    third = Lock(tmp_path)  # it found the file
    second.release(remove=True)
    third.release(remove=True)
    assert (tmp_path / ".lock").exists()
    third = Lock(tmp_path)
    third.require()
    assert third.held
    (tmp_path / ".lock").unlink()  # the file of a holder goes away: a second one has a file of its own
    assert not third.held
    fourth = Lock(tmp_path)
    assert (third.held, fourth.held) == (False, True)
    with pytest.raises(OSError, match="the folder was removed or replaced") as error:
        third.require()
    assert (error.value.errno, error.value.filename) == (errno.ESTALE, str(tmp_path))
    fourth.release(remove=True)
    third.release()
    assert not third.held


def test_a_lock_that_is_lost_while_it_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = f"out: got {tmp_path / 'a'}, expected a folder that no other gamesim process is writing to now"
    assert said(lambda: Lock(tmp_path / "a")) == wanted  # the folder is gone
    (tmp_path / "a").mkdir()
    flock, before = fcntl.flock, len(os.listdir("/dev/fd"))

    def lost(file: Any, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB
        flock(file, how)
        (tmp_path / "a" / ".lock").unlink()

    monkeypatch.setattr(fcntl, "flock", lost)
    assert said(lambda: Lock(tmp_path / "a")) == wanted

    def broken(file: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="no locks") as error:
        Lock(tmp_path / "a")
    assert error.tb is not None, "which holds the lock that was not to be"
    assert len(os.listdir("/dev/fd")) == before
    monkeypatch.undo()
    (tmp_path / "a" / ".lock").unlink(missing_ok=True)
    lock, unlink = Lock(tmp_path / "a"), Path.unlink

    def late(path: Path, missing_ok: bool = False) -> None:  # another process removes it just before
        os.unlink(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    lock.release(remove=True)
    assert not (tmp_path / "a" / ".lock").exists()


def test_an_error_of_the_system_is_said_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for error, filename in (
        (OSError(errno.ENOSPC, "full"), str(path)),
        (OSError(errno.ENOSPC, "full", "x.tmp"), str(path)),
        (OSError(errno.ENOSPC, "full", "other"), "other"),
        (OSError("no number"), None),
    ):
        with pytest.raises(OSError, match=r"full|no number") as seen, naming(path):
            raise error
        assert seen.value.filename == filename
        assert (seen.value is error) == (filename != str(path))


def test_what_is_no_small_regular_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST == 200_000_000
    assert said(lambda: read_json(tmp_path)) == f"{tmp_path}: not a JSON file that gamesim wrote (no regular file)"
    path = tmp_path / "a.json"
    path.write_text("[10, 20]")
    monkeypatch.setattr("gamesim.files.MOST", 8)
    assert read_json(path) == [10, 20]
    path.write_text("[10, 200]")
    assert said(lambda: read_json(path)).endswith("(larger than 8 bytes)")


def test_a_disk_that_fails_is_no_bad_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**keywords: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left") as error:
        own_folder(tmp_path / "a")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "a"))


def test_a_fingerprint_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
