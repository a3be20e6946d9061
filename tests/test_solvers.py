"""Each solver held to what its paper proves or its public code prints (sources beside the numbers)."""

import pytest
import torch

from gamesim.algorithms import GMFGPPO, FictitiousPlay, FixedPoint, OnlineMirrorDescent, PolicyMirrorDescent
from gamesim.envs import SIS, Beach, Investment
from gamesim.games import GraphonGame
from gamesim.graphons import Exponential, Graphon, StochasticBlock, UniformAttachment
from gamesim.loop import Status, solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Power
from gamesim.simplex import divergence
from gamesim.states import Scored

GRAPHONS = [Exponential(3.0), StochasticBlock(0.9, 0.3, 0.7), UniformAttachment()]


def tilted(game: GraphonGame) -> tuple[torch.Tensor]:
    """A policy without symmetry."""
    (pi,) = game.start()
    return (torch.softmax(torch.sin(1 + torch.arange(pi.numel(), dtype=pi.dtype)).reshape(pi.shape), -1),)


@pytest.mark.parametrize("graphon", GRAPHONS, ids=str)
def test_mirror_descent_reaches_machine_precision_on_beach_in_100_iterations(graphon: Graphon) -> None:
    """arXiv 2310.08089's test bed: T = 15, crowd 8, lam = 1, eta = 0.2; geometric convergence, no mixing."""
    game = Beach(graphon=graphon, horizon=15, crowd=8.0, positions=30)
    result = solve(game, PolicyMirrorDescent(Constant(0.2), 1.0), iterations=100)
    gap = result.regularized_exploitability[0]
    assert gap[-1] < 1e-12
    # at iterations 10, 25 and 50 an independent implementation found (exp / blocks / uniform attachment):
    reference = {
        "exp": (3.8e-3, 5e-6, 1e-10),
        "stochastic-block": (9e-4, 1e-6, 1e-11),
        "uniform-attachment": (2.5e-3, 2e-6, 3e-11),
    }
    for t, expected in zip((10, 25, 50), reference[graphon.kind], strict=True):
        assert float(gap[t]) == pytest.approx(expected, rel=0.5)


def test_gmfg_ppo_reaches_machine_precision_on_sis_and_mixing_is_its_floor() -> None:
    """SIS with reward scale 5, lam = 1, exp graphon theta = 3, 50 positions; from 19.5 at the uniform policy."""
    game = SIS(positions=50, graphon=Exponential(3.0), reward_scale=5.0)
    plain = solve(game, GMFGPPO(Constant(0.3), 1.0, Constant(0.1)), iterations=200).regularized_exploitability[0]
    assert float(plain[0]) == pytest.approx(19.486, abs=1e-3)
    assert float(plain[100]) == pytest.approx(7.5e-8, rel=0.05)
    assert plain[200] < 2e-14
    mixed = solve(game, GMFGPPO(Constant(1.0), 1.0, Constant(0.1), mixing=Constant(1e-3)), iterations=200)
    floor = mixed.regularized_exploitability[0]
    assert float(floor[10]) == pytest.approx(0.49, rel=0.05)
    assert float(floor[25]) == pytest.approx(7.3e-3, rel=0.05)
    assert float(floor[100]) == pytest.approx(1.2e-4, rel=0.05)
    assert float(floor[200]) == pytest.approx(1.2e-4, rel=0.05)


def test_fixed_point_repeats_the_published_sis_sequence() -> None:
    """Cui and Koeppl's public code: uniform attachment, 11 end points, temperature 0.101, iterations 1 to 4."""
    game = SIS(positions=11, quadrature="endpoint")
    found = solve(game, FixedPoint(0.101), iterations=4).exploitability[0, 1:]
    assert found.tolist() == pytest.approx([1.37589, 2.31354, 5.06445, 2.25700], abs=1e-5)


def test_optimal_value_mirror_descent_repeats_the_published_beach_sequence() -> None:
    """Fabian, Cui and Koeppl's public code: uniform attachment, 10 midpoints, y += 0.1 Q*, iterations 1 to 3."""
    found = solve(Beach(positions=10), OnlineMirrorDescent(Constant(0.1), optimal_values=True), iterations=3)
    # their initial law is float32, which moves the fourth decimal by 3e-6
    assert found.exploitability[0, 1:].tolist() == pytest.approx([24.9444, 22.1299, 19.7145], abs=1e-4)


@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_regularised_loss_is_temperature_times_divergence_along_the_flow(lam: float) -> None:
    """J(pi*) - J(pi) = lam E_{flow of pi} sum_h KL(pi || pi*), both in one fixed flow, by two ways of computing it."""
    game = SIS(positions=7, horizon=20, graphon=Exponential(3.0), reward_scale=5.0)
    fixed = game.flow(tilted(game))
    best, other = game.best_response(fixed, lam), game.start()
    lost = game.returns(best, fixed, lam) - game.returns(other, fixed, lam)
    moved = game.flow(other, frozen=fixed)
    along = lam * (moved * divergence(other[0], best[0])).sum((-3, -1))
    torch.testing.assert_close(lost, along, rtol=0, atol=1e-9)
    torch.testing.assert_close(game.gains(other, lam, flow=fixed), along, rtol=0, atol=1e-9)


def test_exploitability_is_the_difference_of_two_values() -> None:
    """The performance-difference form against max J - J, at both temperatures."""
    game, policy = Investment(positions=5, horizon=12), None
    policy = tilted(game)
    flow = game.flow(policy)
    for lam in (0.0, 0.7):
        top = (game.initial * game.optimal_values(flow, lam).v[0]).sum(-1)
        direct = game.mean(top - game.returns(policy, flow, lam))
        assert float(game.exploitability(policy, lam)) == pytest.approx(float(direct), abs=1e-10)
        bound = game.exploitability(policy, lam) + lam * game.horizon * torch.log(torch.tensor(2.0))
        assert game.exploitability(policy) <= bound + 1e-12


def test_a_ppo_step_is_a_mirror_descent_step_with_the_transformed_step_size() -> None:
    """eta = eta' / (1 + lam eta'): when the flow believed in is the policy's own, the two algorithms move alike."""
    game, lam, eta = Beach(positions=6, horizon=10), 0.5, 0.8
    ppo = GMFGPPO(Constant(eta), lam, Constant(1.0))
    pmd = PolicyMirrorDescent(Constant(eta / (1 + lam * eta)), lam)
    one, other = ppo.init(game), pmd.init(game)
    for t in range(5):
        one, other = ppo.step(t, game, one, Stream(0, t)), pmd.step(t, game, other, Stream(0, t))
        torch.testing.assert_close(one.policy[0], other.policy[0], rtol=0, atol=1e-12)


def test_mirror_descent_without_temperature_is_online_mirror_descent() -> None:
    game = SIS(positions=5, horizon=10)
    one = solve(game, PolicyMirrorDescent(Constant(0.3), 0.0), iterations=20)
    other = solve(game, OnlineMirrorDescent(Constant(0.3)), iterations=20)
    torch.testing.assert_close(one.policy[0], other.policy[0], rtol=0, atol=1e-12)


def test_one_large_step_on_optimal_values_from_nothing_is_the_boltzmann_fixed_point() -> None:
    """lam = 0, y = 0, step 1/temperature on Q* (the identity of the docs)."""
    game, temperature = SIS(positions=5, horizon=10), 0.2
    boltzmann = solve(game, FixedPoint(temperature), iterations=1)
    step = solve(game, OnlineMirrorDescent(Constant(1 / temperature), optimal_values=True), iterations=1)
    torch.testing.assert_close(boltzmann.policy[0], step.policy[0], rtol=0, atol=1e-12)


def test_the_averaging_variants_agree_exactly_when_transitions_ignore_the_aggregate() -> None:
    def last(game: GraphonGame, variant: str) -> torch.Tensor:
        return solve(game, GMFGPPO(averaging_variant=variant), iterations=10).policy[0]  # type: ignore[arg-type]

    beach, sis = Beach(positions=4, horizon=8), SIS(positions=4, horizon=8)
    torch.testing.assert_close(last(beach, "frozen"), last(beach, "self-consistent"), rtol=0, atol=1e-12)
    assert (last(sis, "frozen") - last(sis, "self-consistent")).abs().max() > 1e-4


def test_fictitious_play_averages_occupancies_and_its_exploitability_falls_like_one_over_t() -> None:
    """Perrin et al. (NeurIPS 2020): O(1/t) in monotone games; Beach with uniform attachment is one."""
    game = Beach(positions=8, horizon=10)
    gap = solve(game, FictitiousPlay(), iterations=160).exploitability[0]
    slope = torch.log(gap[160] / gap[20]) / torch.log(torch.tensor(8.0))
    assert -1.3 < float(slope) < -0.7
    state = FictitiousPlay().init(game)
    for t in range(3):
        state = FictitiousPlay().step(t, game, state, Stream(0, t))
    mass = game.flow(state.policy)  # P ignores z: the average policy's flow is the average flow
    torch.testing.assert_close(mass, state.occupancy[0].sum(-1), rtol=0, atol=1e-12)


def test_greedy_fixed_point_solves_investment_and_cycles_on_beach() -> None:
    """As in the public figures: greedy converges on Investment, and cannot on a crowd that everybody flees at once."""
    solved = solve(Investment(positions=31), FixedPoint(), iterations=50, tolerance=0.0)
    assert solved.status is Status.CONVERGED
    cycling = solve(Beach(positions=8, horizon=10), FixedPoint(), iterations=50).exploitability[0]
    assert cycling[20:].min() > 1.0


def test_decreasing_steps_give_the_last_iterate_rate_of_the_proof() -> None:
    """eta_t = 2 / (lam (t + t0)), t0 = 20 (docs: O(1/t) in D): exploitability at 10, 25, 50, 100 on exp."""
    game = Beach(graphon=Exponential(3.0), horizon=15, crowd=8.0, positions=30)
    solver = PolicyMirrorDescent(Power(2.0, 1.0, 20.0), 1.0)
    gap = solve(game, solver, iterations=100).regularized_exploitability[0]
    for t, expected in zip((10, 25, 50, 100), (9e-2, 1.3e-2, 2.1e-3, 2.4e-4), strict=True):
        assert float(gap[t]) == pytest.approx(expected, rel=0.25)


def test_scores_bring_back_what_probabilities_would_have_lost() -> None:
    """A policy pushed to underflow recovers when the values turn."""
    state = Scored((torch.tensor([0.0, -2000.0], dtype=torch.float64),))
    assert float(state.policy[0][1]) == 0.0

    class Turned:
        def start(self) -> tuple[torch.Tensor]:
            return (torch.tensor([0.5, 0.5], dtype=torch.float64),)

        def feedback(self, policy: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (torch.tensor([0.0, 100.0], dtype=torch.float64),)

        def exploitability(self, policy: tuple[torch.Tensor]) -> torch.Tensor:
            return 100 * policy[0][..., 0]

    solver = OnlineMirrorDescent(Constant(1.0))
    for t in range(30):
        state = solver.step(t, Turned(), state, Stream(0, t))
    assert float(state.policy[0][1]) == pytest.approx(1.0)


def test_noisy_feedback_is_unbiased_and_named_by_the_seed() -> None:
    """Over 400 seeds the mean of the first noisy step's scores is the exact one, within four standard errors."""
    from gamesim.feedback import Noisy

    game, scale, seeds = SIS(positions=2, horizon=3), 0.5, 400
    noisy = solve(game, OnlineMirrorDescent(Constant(1.0), feedback=Noisy(scale)), iterations=1, seeds=seeds)
    exact = solve(game, OnlineMirrorDescent(Constant(1.0)), iterations=1)

    def difference(y: torch.Tensor) -> torch.Tensor:
        return y[..., 1] - y[..., 0]

    mean = difference(noisy.state.scores[0]).mean(0)
    error = scale * 2**0.5 / seeds**0.5
    assert (mean - difference(exact.state.scores[0])).abs().max() < 4 * error
    again = solve(game, OnlineMirrorDescent(Constant(1.0), feedback=Noisy(scale)), iterations=1, seeds=3, seed=5)
    assert torch.equal(again.policy[0], noisy.policy[0][5:8])
