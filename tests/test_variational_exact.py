"""Variational problems by hand: residuals, distances, points to the letter, problems from functions."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.games.domains import FREE, Ball, Box, Domain, Simplex
from gamesim.games.variational import Given, Point, VariationalProblem, distance
from refusals import f64, said


@dataclass
class Affine(VariationalProblem):
    """F(x) = (2 x_1 - 1, x_2 + 3) of two players in three dimensions and one."""

    domain: Domain | tuple[Domain, ...] = FREE
    known: Point | None = None

    def start(self) -> Point:
        return (f64(0.0, 0.0, 0.0), f64(0.0))

    def operator(self, point: Point) -> Point:
        return (2 * point[0] - 1, point[1] + 3)

    def solution(self) -> Point | None:
        return super().solution() if self.known is None else self.known


POINT = (f64([[1.0, 2.0, 0.0], [0.5, 0.5, 0.5]], [[0.0, 0.0, 1.0], [3.0, 0.0, 0.0]])[:, :, None], f64([5.0], [-3.0]))
"""[2, 2, 1, 3] and [2, 1]: together a batch of [2, 2, 2]."""


def test_residuals_and_distances_by_hand_in_a_batch() -> None:
    boxed = Affine((Box(1.0), Box(4.0)), (f64(0.5, 0.5, 0.5), f64(-3.0)))
    free = Affine()
    found, plain = boxed.metrics(POINT), free.metrics(POINT)
    assert (list(found), list(plain)) == (["residual", "distance"], ["residual"])
    assert boxed.residual(POINT).shape == found["distance"].shape == plain["residual"].shape == (2, 2, 2)
    for i in range(2):
        for j in range(2):
            for k in range(2):
                x, y = POINT[0][i, j, 0].tolist(), POINT[1][k].tolist()
                f = [2 * a - 1 for a in x] + [b + 3 for b in y]
                assert float(plain["residual"][i, j, k]) == pytest.approx(math.hypot(*f))
                moved = [min(1.0, max(-1.0, a - g)) for a, g in zip(x, f, strict=False)]
                moved.append(min(4.0, max(-4.0, y[0] - f[3])))
                gone = [a - b for a, b in zip(x + y, moved, strict=True)]
                assert float(found["residual"][i, j, k]) == pytest.approx(math.hypot(*gone))
                away = [a - 0.5 for a in x] + [y[0] + 3]
                assert float(found["distance"][i, j, k]) == pytest.approx(math.hypot(*away))
    at = (f64(0.5, 0.5, 0.5), f64(-3.0))
    assert float(free.residual(at)) == float(boxed.metrics(at)["distance"]) == 0


def test_everyone_follows_minus_the_operator_whatever_the_temperature() -> None:
    for found in (Affine().feedback(POINT), Affine().feedback(POINT, 3.0)):
        assert found[0][..., 0].tolist() == (1 - 2 * POINT[0][..., 0]).tolist()
        assert found[1].tolist() == [[-8.0], [0.0]]


def test_a_set_for_all_or_one_for_each() -> None:
    point = (f64(3.0, 0.0, 4.0), f64(-7.0))
    assert [x.tolist() for x in Affine().project(point)] == [[3.0, 0.0, 4.0], [-7.0]]
    assert [x.tolist() for x in Affine(Ball(1.0)).project(point)] == [pytest.approx([0.6, 0.0, 0.8]), [-1.0]]
    assert [x.tolist() for x in Affine((Box(2.0), FREE)).project(point)] == [[2.0, 0.0, 2.0], [-7.0]]
    assert Affine(Ball(1.0)).domains(3) == (Ball(1.0),) * 3
    assert Affine((Box(2.0), FREE)).domains(2) == (Box(2.0), FREE)
    for sets, count in (((Box(2.0),), 1), ((FREE, FREE, FREE), 3), ((), 0)):
        assert said(lambda sets=sets: Affine(sets).project(point)) == (
            f"domain: got {count} sets, expected one, or 2: one per player"
        )


def test_distances_are_over_all_players() -> None:
    x, y = POINT
    found = distance((x, y), (f64(0.0, 0.0, 0.0), f64(0.0)))
    wanted = [
        [[math.sqrt(5 + 25), math.sqrt(5 + 9)], [math.sqrt(0.75 + 25), math.sqrt(0.75 + 9)]],
        [[math.sqrt(1 + 25), math.sqrt(1 + 9)], [math.sqrt(9 + 25), math.sqrt(9 + 9)]],
    ]
    torch.testing.assert_close(found, f64(*wanted), rtol=1e-14, atol=0)
    assert float(distance((f64(1.0, 2.0),), (f64(4.0, -2.0),))) == 5.0
    assert distance((x.float(),), (x.float(),)).dtype == torch.float32


# --- points ---------------------------------------------------------------------------------------------------------


def test_points_are_checked_to_the_letter() -> None:
    problem = Affine()
    problem.require((f64(1.0, 2.0, 3.0), f64(1.0)))
    problem.require(POINT)
    problem.require((torch.zeros(3), torch.zeros(4, 1)))  # of any precision
    of_tensors = "expected a tuple of tensors, one per player"
    x, y = f64(1.0, 2.0, 3.0), f64(1.0)
    for bad in ([x, y], x, None, (x, 1.0), (1.0, y), (1.0, 2.0)):
        assert said(lambda bad=bad: problem.require(bad)) == f"point: got {type(bad).__name__}, {of_tensors}"
    for some in ((x,), (x, y, y), ()):
        assert (
            said(lambda some=some: problem.require(some))
            == f"point: got {len(some)} tensors, expected 2, one per player"
        )
    assert said(lambda: problem.require((x, y.long()), "start")) == (
        "start[1]: got dtype torch.int64, expected a floating-point tensor"
    )
    for bad in (f64(1.0, 2.0), f64(1.0), torch.zeros(3, 2), torch.zeros(()), torch.zeros(0)):
        assert (
            said(lambda bad=bad: problem.require((bad, y)))
            == f"point[0]: got shape {tuple(bad.shape)}, expected [..., 3]"
        )
    assert said(lambda: problem.require((x, f64(1.0, 2.0)))) == "point[1]: got shape (2,), expected [..., 1]"
    assert said(lambda: problem.require((x, f64([math.inf, 1.0, math.nan])[0][:, None]))) == (
        "point[1][0, 0]: got inf, expected a finite number"
    )
    assert said(lambda: problem.require((f64([1.0, 1.0, 1.0], [1.0, math.nan, -math.inf]), y))) == (
        "point[0][1, 1]: got nan, expected a finite number"
    )
    assert said(lambda: problem.require((f64(1.0, 1.0, -math.inf), y))) == (
        "point[0][2]: got -inf, expected a finite number"
    )


def test_matrices_are_points_too() -> None:
    problem = VariationalProblem.of(lambda x: x, torch.zeros(2, 3))
    problem.require((torch.ones(5, 2, 3),))
    for shape in ((3,), (3, 2), (2, 3, 3), (2, 1, 3), ()):
        assert said(lambda shape=shape: problem.require((torch.zeros(shape),))) == (
            f"point[0]: got shape {shape}, expected [..., 2, 3]"
        )


@pytest.mark.parametrize("domain", [FREE, Box(1.0), Ball(1.0), Simplex()], ids=str)
def test_what_is_no_point_is_refused_before_any_set_looks_at_it(domain: Domain) -> None:
    problem = Affine((domain, FREE))
    y = f64(1.0)
    for bad, words in (
        (torch.zeros(3).long(), "dtype torch.int64, expected a floating-point tensor"),
        (torch.zeros(()), "shape (), expected [..., 3]"),
        (torch.zeros(3, 0), "shape (3, 0), expected [..., 3]"),
    ):
        assert said(lambda bad=bad: problem.require((bad, y))) == f"point[0]: got {words}"
    problem.require((torch.zeros(0, 3), torch.zeros(0, 1)))  # no point at all is no bad one


def shifted(by: Any) -> VariationalProblem:
    """A problem whose projection moves every point by so much."""
    return VariationalProblem.of(lambda p: p, (torch.zeros_like(by),), projection=lambda p: (p[0] - by,))


def test_a_point_may_be_a_millionth_away_and_no_more() -> None:
    shifted(f64(0.0, 1e-6)).require((f64(0.0, 0.0),))  # the tolerance itself is within it
    words = "away from the feasible set, expected a feasible point; project(point)"
    assert said(lambda: shifted(f64(0.0, 1.5e-6))) == f"start[0]: got a point 1.5e-06 {words}"
    boxed = Affine((Box(100.0), FREE))
    y = f64(0.0)
    near, far = 100 + 0.9e-4, 100 + 1.2e-4  # of a hundred, a millionth is 1e-4
    boxed.require((f64(near, 0.0, 0.0), y))
    boxed.require((f64([near, 0.0, 0.0], [0.0, 0.0, 0.0]), y))
    for bad in (f64(far, 0.0, 0.0), f64([0.0, 0.0, 0.0], [0.0, -far, 0.0])):
        assert said(lambda bad=bad: boxed.require((bad, y))) == f"point[0]: got a point 0.00012 {words}"
    small = Affine((FREE, Box(0.001)))
    small.require((f64(9.0, 9.0, 9.0), f64(0.0010009)))
    assert said(lambda: small.require((f64(9.0, 9.0, 9.0), f64(0.0010011)))) == f"point[1]: got a point 1.1e-06 {words}"


# --- problems from functions ----------------------------------------------------------------------------------------


def test_a_function_of_a_tensor_or_of_a_tuple() -> None:
    one = VariationalProblem.of(lambda x: 3 * x - 1, f64(1.0, 2.0), mu=3.0)
    assert (one.mu, one.monotone, one.solution()) == (3.0, None, None)
    assert [x.tolist() for x in one.start()] == [[1.0, 2.0]]
    assert [x.tolist() for x in one.operator((f64([0.0, 1.0], [2.0, 3.0]),))] == [[[-1.0, 2.0], [5.0, 8.0]]]
    assert [x.tolist() for x in one.project((f64(7.0, 8.0),))] == [[7.0, 8.0]]
    two = VariationalProblem.of(
        lambda p: (p[1] + 1, -p[0]), [[1, 2], f64(3.0, 4.0).float()], solves=(f64(0.0, 0.0), f64(-1.0, -1.0))
    )
    assert [x.dtype for x in two.start()] == [torch.float64, torch.float32]
    assert [x.tolist() for x in two.start()] == [[1.0, 2.0], [3.0, 4.0]]
    assert [x.tolist() for x in two.operator((f64(1.0, 2.0), f64(5.0, 7.0)))] == [[6.0, 8.0], [-1.0, -2.0]]
    found = two.metrics((f64(3.0, 0.0), f64(-1.0, 3.0)))
    assert {name: float(x) for name, x in found.items()} == {"residual": 5.0, "distance": 5.0}
    assert "solves" not in repr(two)
    assert VariationalProblem.of(lambda x: x, torch.zeros(2)).start()[0].dtype == torch.float32
    assert VariationalProblem.of(abs, torch.zeros(2)).plain() == {
        "kind": "Given",
        "operator": "VariationalProblem.of.<locals>.<lambda>",
    }


def test_a_projection_of_ones_own_goes_before_the_domain() -> None:
    problem = VariationalProblem.of(
        lambda x: x, f64(0.0, 0.0), domain=Box(1.0), projection=lambda p: (p[0].clamp(max=0.5),)
    )
    assert problem.project((f64(-3.0, 3.0),))[0].tolist() == [-3.0, 0.5]
    assert VariationalProblem.of(lambda x: x, f64(0.0, 0.0), domain=Box(1.0)).project((f64(-3.0, 3.0),))[
        0
    ].tolist() == [-1, 1]


def test_a_saddle_is_the_gradients_of_who_minimises_and_who_maximises() -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        return (x**2).sum(-1) + 3 * x[..., 0] * y[..., 0] - 2 * (y**2).sum(-1)

    problem = VariationalProblem.min_max(f, [[1, 2], f64(3.0)])
    assert [x.dtype for x in problem.start()] == [torch.float64] * 2
    x, y = f64([1.0, 2.0], [-1.0, 0.5]), f64([3.0], [4.0])
    gx, gy = problem.operator((x, y))
    assert gx.tolist() == [[2 + 9.0, 4.0], [-2 + 12.0, 1.0]]
    assert gy.tolist() == [[-(3 - 12.0)], [-(-3 - 16.0)]]


def test_what_functions_return_is_looked_at() -> None:
    x = f64(1.0, 2.0)
    of = VariationalProblem.of
    assert said(lambda: of(3, x)) == "operator: got int, expected a function F(point)"  # type: ignore[arg-type]
    assert said(lambda: of(lambda p: p[:1], x)) == (
        "operator: got shapes [(1,)] at the start, expected those of the start, [(2,)]"
    )
    pair = (x, f64(0.0))
    assert said(lambda: of(lambda p: (p[1], p[0]), pair)) == (
        "operator: got shapes [(1,), (2,)] at the start, expected those of the start, [(2,), (1,)]"
    )

    like = "expected a tuple of tensors like the point"
    for returned, shown in (
        (list(pair), "list"),
        ((x, 0.0), "tuple"),
        ((1.0, 0.0), "tuple"),
        (x, "Tensor"),
        (None, "NoneType"),
    ):
        assert said(lambda r=returned: of(lambda p: r, pair)) == f"operator: returned {shown}, {like}"
        assert said(lambda r=returned: of(lambda p: p, pair, projection=lambda p: r)) == (
            f"projection: returned {shown}, {like}"
        )
    for some in ((x,), (x, x, x)):
        words = f"returned {len(some)} tensors, expected 2, one per player"
        assert said(lambda r=some: of(lambda p: r, pair)) == f"operator: {words}"
        assert said(lambda r=some: of(lambda p: p, pair, projection=lambda p: r)) == f"projection: {words}"
    for other in ((x, x), (pair[1], x), (x[None], pair[1])):
        assert said(lambda r=other: of(lambda p: p, pair, projection=lambda p: r)) == (
            f"projection: returned shapes {[tuple(r.shape) for r in other]}, "
            f"expected those of the point, {[tuple(x.shape) for x in pair]}"
        )
    assert said(lambda: of(lambda p: p, ())) == "start: got 0 tensors, expected at least one, one per player"
    assert said(lambda: of(lambda x: x, f64(1.0, math.nan))) == "start[0][1]: got nan, expected a finite number"
    assert said(lambda: of(lambda x: x, torch.zeros(()))) == "start[0]: got shape (), expected [..., d]"
    assert (
        said(lambda: of(lambda x: x, x, solves=x)) == "solves: got Tensor, expected a tuple of tensors, one per player"
    )
    assert said(lambda: of(lambda x: x, f64(1.0), solves=(x,))) == "solves[0]: got shape (2,), expected [..., 1]"
    for count in (1, 3):
        assert said(lambda n=count: VariationalProblem.min_max(lambda x, y: x, [x] * n)) == (
            f"start: got {count} tensors, expected two: who minimises and who maximises"
        )


def test_a_problem_says_which_function_it_is_of() -> None:
    def law(point: Point) -> Point:
        return point

    class Callable:
        def __call__(self, point: Point) -> Point:
            return point

    assert Given(law, (f64(0.0),)).plain()["operator"].endswith("<locals>.law")
    assert Given(Callable(), (f64(0.0),)).plain() == {"kind": "Given", "operator": "function"}
