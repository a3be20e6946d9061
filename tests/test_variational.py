"""Variational inequalities: projections by their definition, methods by rates and identities in closed form."""

import warnings

import pytest
import torch

from gamesim.algorithms.extragradient import Extragradient
from gamesim.algorithms.gradient_descent_ascent import GradientDescentAscent
from gamesim.envs.variational.bilinear import Bilinear
from gamesim.envs.variational.quadratic import Quadratic
from gamesim.envs.variational.rippled import Rippled
from gamesim.envs.variational.softplus import Softplus
from gamesim.ergodic import stationary_covariance
from gamesim.errors import Caution, InvalidInput
from gamesim.feedback import Noisy, Realised
from gamesim.games.domains import Ball, Box, Free, Simplex
from gamesim.games.matrix import MatrixGame
from gamesim.games.operators import curvature, violation
from gamesim.games.variational import VariationalInequality, VariationalProblem, distance
from gamesim.loop import Status, solve
from gamesim.parameters import build
from gamesim.randomness import Stream
from gamesim.schedules import Power
from gamesim.testing import check_batch, check_solver

VARIANTS = ["extragradient", "past", "reflected", "optimistic"]
PROBLEMS = [Bilinear(dimension=3, condition=4.0), Quadratic(dimension=3), Softplus(), Rippled(dimension=2)]
DOMAINS = [Free(), Box(0.7), Ball(0.7), Simplex()]


def run(problem, solver, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        return solve(problem, solver, **settings)


def normals(*shape, seed=0):
    return Stream(seed).normal(shape)


@pytest.mark.parametrize("domain", [*DOMAINS, Box(0.5, 0.5)], ids=str)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_projections_are_nearest_points(domain, d):
    y = 2 * normals(40, d)
    p = domain.project(y)
    assert float(domain.distance(p).max()) < 1e-12
    z = domain.project(3 * normals(500, 1, d, seed=1))  # feasible points, many of them corners
    assert float(((y - p) * (z - p)).sum(-1).max()) < 1e-12  # <y - p, z - p> <= 0 is what nearest means
    if not isinstance(domain, Free):
        assert float(domain.distance(y).max()) > 0.1


def test_projections_of_one_dimension_and_batched_radii():
    assert Simplex().project(torch.tensor([[7.0], [-3.0]])).tolist() == [[1.0], [1.0]]
    radius = torch.tensor([1.0, 2.0])
    y = torch.tensor([3.0, 4.0])
    assert torch.allclose(Ball(radius).project(y), y / 5 * radius[:, None])
    assert Box(radius).project(y).tolist() == [[1.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_no_projection_hides_what_is_not_a_number(domain):
    assert bool(domain.project(torch.tensor([0.1, float("nan")])).isnan().any())


@pytest.mark.parametrize("step", [0.1, 0.5])
@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_bilinear_rates(step, strength):
    problem = Bilinear(dimension=3, strength=strength)  # all singular values alike
    gda = run(problem, GradientDescentAscent(step), iterations=5).metric("distance")[0]
    eg = run(problem, Extragradient(step), iterations=5).metric("distance")[0]
    a = step * strength
    assert torch.allclose(gda[1:] / gda[:-1], torch.tensor((1 + a**2) ** 0.5).double())
    assert torch.allclose(eg[1:] / eg[:-1], torch.tensor((1 - a**2 + a**4) ** 0.5).double())


def test_a_step_that_blows_up_ends_with_advice_and_keeps_what_was_run():
    result = run(Bilinear(), GradientDescentAscent(3.0), iterations=2000)
    assert result.status is Status.DIVERGED
    assert result.iterations < 2000
    assert float(result.metric("residual")[0, 100]) == pytest.approx(2**0.5 * 10**50, rel=1e-9)


def test_alternating_steps_keep_their_invariant():
    """x' = x - g y, y' = y + g x' keeps x^2 + y^2 - g x y."""
    g, solver = 0.3, GradientDescentAscent(0.3, order="alternating")
    x, y = run(Bilinear(), solver, iterations=777).policy
    assert float(x**2 + y**2 - g * x * y) == pytest.approx(2 - g, rel=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_methods_of_one_query_make_the_same_queries(problem):
    g, states = 0.05, {v: run(problem, Extragradient(0.05, v), iterations=20).state for v in VARIANTS[1:]}
    past = tuple(x + g * v for x, v in zip(states["past"].policy, states["past"].last, strict=True))
    reflected = tuple(2 * x - old for x, old in zip(states["reflected"].policy, states["reflected"].last, strict=True))
    for other in (past, reflected):
        for a, b in zip(states["optimistic"].policy, other, strict=True):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_extragradient_solves_monotone_problems_on_every_domain(variant, domain):
    problem = Quadratic(dimension=3, domain=domain, coupling=2.0)
    result = run(problem, Extragradient(0.07, variant), iterations=1000, every=50, tolerance=1e-10)
    assert result.status is Status.CONVERGED
    x = result.policy
    z = problem.project(tuple(3 * normals(2000, 3, seed=s) for s in (1, 2)))
    gain = sum((f * (b - a)).sum(-1) for a, b, f in zip(x, z, problem.operator(x), strict=True))
    assert float(gain.min()) > -1e-8  # <F(x*), z - x*> >= 0: the definition itself
    if isinstance(domain, Free | Box):
        assert float(distance(x, problem.solution())) < 1e-9


@pytest.mark.parametrize("variant", VARIANTS)
def test_matrix_games_are_variational_inequalities(variant):
    game = MatrixGame.zero_sum([[3.0, -1.0], [-1.0, 1.0]])
    assert isinstance(game, VariationalInequality)
    result = run(game, Extragradient(0.15, variant), iterations=800, every=800)
    assert torch.allclose(result.policy[0], torch.tensor([1 / 3, 2 / 3]).double(), atol=1e-6)
    assert torch.allclose(result.policy[1], torch.tensor([1 / 3, 2 / 3]).double(), atol=1e-6)
    plain = run(game, GradientDescentAscent(0.1), iterations=500, every=500)
    assert float(plain.exploitability[0, -1]) > 0.05 > 1e-5 > float(result.exploitability[0, -1])


def test_a_matrix_game_and_the_same_saddle_take_the_same_steps():
    A = torch.tensor([[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-3.0, 1.0, 0.0]]).double()
    game = MatrixGame.zero_sum(-A)  # who chooses rows minimises x' A y
    start = [torch.full((3,), 1 / 3).double()] * 2
    saddle = VariationalProblem.min_max(lambda x, y: (x @ A * y).sum(-1), start, domain=Simplex())
    for solver in (GradientDescentAscent(0.2), Extragradient(0.2, "past", feedback=Noisy(0.3))):
        one, other = (run(problem, solver, iterations=30, seeds=3) for problem in (game, saddle))
        for a, b in zip(one.policy, other.policy, strict=True):
            assert torch.allclose(a, b, atol=1e-12)


def test_realised_feedback_of_a_game_reaches_gradient_methods():
    game = MatrixGame.bimatrix([[3.0, 0.0], [0.0, 2.0]], [[2.0, 0.0], [0.0, 3.0]])
    solver = GradientDescentAscent(Power(0.2, 0.8), feedback=Realised())
    result = run(game, solver, iterations=500, seeds=20, every=500)
    assert float((result.exploitability[:, -1] < 1e-9).double().mean()) > 0.9  # at a strict equilibrium, exactly


def test_decreasing_steps_have_the_error_of_the_theorem():
    """E |x_t - x*|^2 ~ 1 / t with steps 2 / (mu (t + m))."""
    solver = GradientDescentAscent(Power(2.0, 1.0, 40.0), feedback=Noisy(1.0))
    result = run(Quadratic(condition=3.0), solver, iterations=1600, every=400, seeds=200)
    square = result.metric("distance").square().mean(0)
    assert 0.8 < float(torch.log2(square[1] / square[4]) / 2) < 1.2  # from t = 400 to 1600


def test_stationary_covariance_is_that_of_the_lyapunov_equation():
    problem, step, scale = Quadratic(condition=3.0, seed=4), 0.1, 0.5
    M, C = problem.matrix, scale**2 * torch.eye(4).double()
    S = stationary_covariance(M, C, step)
    assert torch.allclose(M @ S + S @ M.mT - step * M @ S @ M.mT, C, atol=1e-12)
    result = run(problem, GradientDescentAscent(step, feedback=Noisy(scale)), iterations=150, every=150, seeds=8000)
    found = torch.cov(torch.cat(result.policy, -1).mT)
    wanted = step * S
    error = ((wanted.diagonal()[:, None] * wanted.diagonal() + wanted**2) / 8000).sqrt()
    assert float(((found - wanted) / error).abs().max()) < 4


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
def test_declared_constants_hold_and_are_tight(problem):
    d = len(problem.start()[0])
    solution = problem.solution()
    assert float(problem.residual(solution)) < 1e-12
    assert problem.metrics(solution)["distance"].item() == 0
    z, w = (tuple(3 * normals(20000, d, seed=10 * k + i) for i in (1, 2)) for k in (1, 2))
    near = tuple(a + 1e-3 * b for a, b in zip(z, w, strict=True))
    for other in (w, near):
        rise = distance(problem.operator(z), problem.operator(other)) / distance(z, other)
        assert float(rise.max()) < problem.lipschitz * (1 + 1e-9)
    assert float(rise.max()) > 0.9 * problem.lipschitz
    inner = sum((f * (a - s)).sum(-1) for a, s, f in zip(z, solution, problem.operator(z), strict=True))
    room = inner - problem.mu * distance(z, solution).square() + problem.slack
    assert float(room.min()) > -1e-9
    assert (float(curvature(problem, z, near).min()) > problem.mu - 1e-6) == problem.monotone
    assert (violation(problem) is None) == problem.monotone


def test_the_slack_of_ripples_is_needed():
    problem = Rippled(ripple=3.0)
    z = tuple(torch.linspace(-4, 4, 4001)[:, None].double() for _ in range(2))
    inner = sum((f * a).sum(-1) for a, f in zip(z, problem.operator(z), strict=True))
    assert float((inner - problem.mu * distance(z, (0 * z[0], 0 * z[1])).square()).min()) < -0.5 * problem.slack


def test_violating_pairs_are_violations():
    game = MatrixGame.bimatrix([[3.0, 0.0], [0.0, 2.0]], [[2.0, 0.0], [0.0, 3.0]])
    for problem in (game, Rippled()):
        one, other = violation(problem)
        assert float(curvature(problem, one, other)) < -0.1


@pytest.mark.parametrize(
    ("problem", "solver", "said"),
    [
        (Rippled(), Extragradient(0.1), ["not monotone, only weakly"]),
        (MatrixGame.bimatrix(torch.eye(2), torch.eye(2)), Extragradient(0.1), ["not monotone"]),
        (MatrixGame.zero_sum(torch.eye(2)), Extragradient(0.1), []),
        (Bilinear(strength=2.0), Extragradient(0.6), ["0.6 at the start is above 0.5"]),
        (Bilinear(strength=2.0), Extragradient(0.4, "optimistic"), ["above 0.25"]),
        (Bilinear(), GradientDescentAscent(0.1), ["not known to be strongly"]),
        (Softplus(), GradientDescentAscent(0.4), ["above 0.2729"]),
        (Softplus(), GradientDescentAscent(0.1), []),
        (Softplus(), GradientDescentAscent(0.1, feedback=Noisy(1.0)), ["does not fall"]),
        (Softplus(), GradientDescentAscent(Power(0.1, 0.8), feedback=Noisy(1.0)), []),
        (Softplus(), Extragradient(torch.tensor([0.1, 9.0])), ["9 at the start"]),
    ],
    ids=range(11),
)
def test_cautions(problem, solver, said):
    found = solver.cautions(problem)
    assert len(found) == len(said)
    for text, part in zip(found, said, strict=True):
        assert part in text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solve(problem, solver, iterations=1)
    assert [str(w.message) for w in caught if w.category is Caution] == found


def test_step_sizes_and_seeds_are_one_batch():
    steps = torch.tensor([0.05, 0.2]).double()
    for solver in (GradientDescentAscent, Extragradient):
        together = run(Quadratic(), solver(steps), iterations=30, seeds=2)
        for k, g in enumerate(steps.tolist()):
            alone = run(Quadratic(), solver(g), iterations=30)
            assert torch.allclose(together.policy[1][1, k], alone.policy[1], atol=1e-12)


def test_problems_from_functions():
    known = Softplus()
    softplus = torch.nn.functional.softplus

    def f(x, y):
        return (x**2 / 4 + softplus(2 * x) + x * y - y**2 / 4 - softplus(2 * y)).sum(-1)

    problem = VariationalProblem.min_max(f, known.start(), solves=known.solution())
    z = tuple(normals(7, 5, 1, seed=s) for s in (0, 1))
    for a, b in zip(problem.operator(z), known.operator(z), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    result = run(problem, Extragradient(0.3), iterations=300, every=300, seeds=2)
    assert float(result.metric("distance")[:, -1].max()) < 1e-9

    one = VariationalProblem.of(lambda x: x - 2, torch.zeros(3).double(), domain=Box(1.0), monotone=True)
    assert torch.equal(run(one, GradientDescentAscent(0.5), iterations=50).policy[0], torch.ones(3).double())
    halved = VariationalProblem.of(
        lambda x: x - 2, torch.zeros(3).double(), projection=lambda p: (p[0].clamp(max=0.5),), monotone=True
    )
    assert run(halved, GradientDescentAscent(0.5), iterations=50).policy[0].tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VariationalProblem.of(lambda x: x[:1], torch.zeros(3)), "operator: got .shapes"),
        (lambda: VariationalProblem.of(lambda p: p[0], (torch.zeros(3),)), "operator: returned Tensor"),
        (lambda: VariationalProblem.of(3, (torch.zeros(3),)), "operator: got .int"),
        (lambda: VariationalProblem.of(lambda x: x, torch.tensor([0.0, float("nan")])), r"start\[0\]\[1\]: got nan"),
        (lambda: VariationalProblem.of(lambda x: x, torch.ones(3), domain=Ball(1.0)), "away from the feasible set"),
        (lambda: VariationalProblem.of(lambda x: x, ()), "start: got .0 tensors"),
        (lambda: VariationalProblem.min_max(lambda x: x, [torch.ones(1)]), "start: got .1 tensors"),
        (lambda: Bilinear(domain=(Box(1.0),)), "domain: got .1 sets"),
        (lambda: build(Bilinear, {"domain": "box(-1)"}), "radius: got -1"),
        (lambda: build(Bilinear, {"domain": "cube"}), "domain: got 'cube'"),
        (lambda: Bilinear(dimension=10**8), "dimension"),
        (lambda: Quadratic(condition=0.5), "condition"),
        (lambda: Rippled(curvature=float("nan")), "curvature"),
        (lambda: Extragradient(0.0), "step_size"),
        (lambda: solve(object(), Extragradient()), "VariationalInequality"),
    ],
    ids=range(15),
)
def test_bad_input(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_points_are_checked_like_policies():
    problem = Quadratic(dimension=2, domain=Box(1.0))
    problem.require((torch.zeros(5, 2), torch.ones(5, 2)))
    for bad in [
        torch.zeros(2),
        (torch.zeros(2),),
        (torch.zeros(3), torch.zeros(2)),
        (torch.zeros(2), torch.tensor(0.0)),
        (torch.zeros(2).long(), torch.zeros(2)),
        (torch.zeros(2), torch.tensor([0.0, float("inf")])),
        (torch.zeros(2), torch.tensor([0.0, 1.1])),
    ]:
        with pytest.raises(InvalidInput, match="point"):
            problem.require(bad)


@pytest.mark.parametrize("problem", [Quadratic(domain=Box(0.6), mu=2.0), Softplus()], ids=["quadratic", "softplus"])
@pytest.mark.parametrize("variant", ["gda", *VARIANTS])
def test_conformance(problem, variant):
    check_batch(problem)
    solver = GradientDescentAscent(0.01) if variant == "gda" else Extragradient(0.02, variant)
    check_solver(solver, problem)
