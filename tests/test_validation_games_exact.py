"""Policies, and the games they are played in, to the boundary and to the letter: what is handed over, what is answered,
and that a batch is answered as one by one."""

from math import inf, nan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games import MatrixGame, NormalFormGame
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
from refusals import f64, said


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


class Counted(NormalFormGame):
    """As many actions as one says."""

    def __init__(self, counts: Any) -> None:
        self._counts = counts

    @property
    def action_counts(self) -> Any:
        return self._counts

    def values(self, policy: Any) -> Any:
        return policy


def test_numbers_of_actions_are_whole_and_above_0() -> None:
    for counts in (
        3,
        0,
        None,
        np.array([2, 2]),
        torch.tensor([2, 2]),
        (),
        [],
        (2, 0),
        (-1, 2),
        (2, 2.0),
        (2, "a"),
        (2, None),
    ):
        assert said(Counted(counts).start) == (
            f"action_counts: got {counts}, expected a tuple of whole numbers above 0, one for each player"
        )
    for counts in ((1,), [2, 1], (2, 3, 4)):
        assert [len(x) for x in Counted(counts).start()] == list(counts)


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
