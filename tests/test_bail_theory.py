"""Regret of planners against what can be known of it: recursions, closed forms, bounds, and a plain simulation."""

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.envs.latent.trap import Trap
from gamesim.errors import Caution, InvalidInput
from gamesim.experiments.bail_decoding import DECODINGS, expected_regret
from gamesim.experiments.bail_pretraining_error import slopes_of
from gamesim.experiments.planning_regret import regret_of
from gamesim.games.latent import LatentWorld
from gamesim.planning import Anytime, Bail, Constant, Gated, PosteriorSampling, Theory
from gamesim.planning.exploration import theory_epsilon
from gamesim.planning.regret import exploring_bound, exponent, naive_bound


def metrics(world: LatentWorld, solver: BAIL, episodes: int, seeds: int) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        result = gs.solve(world, solver, iterations=episodes, every=episodes, seeds=seeds)
    return {name: result.metric(name)[..., -1] for name in result.trace.metrics}


def apart(y: Tensor, mean: float) -> float:
    """Standard errors between the mean of y[seed] and a number."""
    return abs(float(y.mean()) - mean) / float(y.std() / math.sqrt(len(y)))


# --- the needle ------------------------------------------------------------------------------------------------------


def expected_on_needle(boxes: int, episodes: int, prize: float) -> float:
    """E Reg of the naive planner, by recursion over how often each box was empty before a prize; box 0 is right."""
    weights, regret = {(0,) * boxes: 1.0}, 0.0
    for _ in range(episodes):
        after: dict[tuple[int, ...], float] = {}
        for empty, mass in weights.items():
            law = (1 - prize) ** np.array(empty, float)
            law /= law.sum()
            regret += mass * prize * (1 - law[0])
            for g, chance in enumerate(law):
                key = (*empty[:g], empty[g] + 1, *empty[g + 1 :])
                after[key] = after.get(key, 0.0) + mass * chance * (1 - prize * (g == 0))
        weights = after
    return regret


@pytest.mark.parametrize(("boxes", "prize"), [(2, 0.5), (3, 0.5), (3, 0.2)])
def test_naive_regret_on_the_needle_is_that_of_the_recursion(boxes: int, prize: float) -> None:
    y = metrics(Needle(boxes=boxes, prize=prize), BAIL(), 16, 4000)["regret"]
    assert apart(y, expected_on_needle(boxes, 16, prize)) < 4


def simulated(n: int, episodes: int, runs: int, *, chance: float = 0.0, gate: float = 0.0) -> NDArray[Any]:
    """Regret of exploring BAIL on the needle, [run], written out."""
    rng = np.random.default_rng(7)
    p, delta = 0.5, 0.5
    found = np.zeros(runs)
    for run in range(runs):
        z, weight = rng.integers(n), np.full(n, 1 / n)
        for _ in range(episodes):
            if (weight.max() < gate) if gate else (rng.random() < chance):
                found[run] += p
                sign = z if rng.random() < 1 - delta else rng.integers(n)
                likelihood = np.full(n, delta / n)
                likelihood[sign] += 1 - delta
            else:
                g = rng.choice(n, p=weight)
                found[run] += p * (g != z)
                likelihood = np.ones(n)
                if g == z and rng.random() < p:
                    likelihood[:] = 0.0
                likelihood[g] = p if likelihood[g] == 0 else 1 - p
            weight = weight * likelihood
            weight /= weight.sum()
    return found


@pytest.mark.parametrize("how", [{"chance": 0.2}, {"gate": 0.7}], ids=["constant", "gated"])
def test_exploring_is_that_of_a_plain_simulation(how: dict[str, float]) -> None:
    exploration = Constant(how["chance"]) if "chance" in how else Gated(how["gate"])
    y = metrics(Needle(boxes=12), BAIL(exploration=exploration), 30, 2000)["regret"]
    other = torch.from_numpy(simulated(12, 30, 400, **how))
    error = math.hypot(float(y.std()) / math.sqrt(2000), float(other.std()) / math.sqrt(400))
    assert abs(float(y.mean() - other.mean())) < 4 * error


def test_greedy_and_deluded_regret_on_the_needle_have_closed_forms() -> None:
    """Greedy: every box once, in any order, and again; deluded: the first box for ever."""
    n, runs = 32, 2000
    y = metrics(Needle(boxes=n), BAIL(temperature=0.0), n, runs)["regret"]
    assert apart(y, 0.375 * (n - 1)) < 4
    y = metrics(Needle(boxes=n), BAIL(planner=Bail(delusion=1.0)), n, runs)["regret"]
    assert apart(y, 0.5 * (n - 1)) < 4


@pytest.fixture(scope="module")
def needles() -> tuple[tuple[int, ...], Tensor, Tensor]:
    """T = |Z|, and regret[seed, T], naive and exploring."""
    sizes = (64, 128, 256)
    naive = torch.stack([regret_of(Needle(boxes=n), BAIL(), (n,), 128)[:, 0] for n in sizes], -1)
    exploring = [regret_of(Needle(boxes=n), BAIL(exploration=Theory(n)), (n,), 48)[:, 0] for n in sizes]
    return sizes, naive, torch.stack(exploring, -1)


def test_exponents_are_those_of_the_theory(needles: tuple[tuple[int, ...], Tensor, Tensor]) -> None:
    sizes, naive, exploring = needles
    found = exponent(sizes, naive)
    assert 0.9 < found.value < 1.1
    assert found.interval[0] < 1 < found.interval[1]
    found = exponent(sizes, exploring)
    assert 0.45 < found.interval[0] < found.interval[1] < 0.65


def test_bounds_hold(needles: tuple[tuple[int, ...], Tensor, Tensor]) -> None:
    sizes, naive, exploring = needles
    for i, n in enumerate(sizes):
        error = float(naive[:, i].std()) / math.sqrt(len(naive))
        assert float(naive[:, i].mean()) - 2 * error > naive_bound(n, n)
        eta = Needle(boxes=n).distinguishability()
        assert 0.2 < float(exploring[:, i].mean()) / exploring_bound(n, n, eta) < 0.5
    assert naive_bound(10**6, 10**6) == pytest.approx(10**6 / (2 * math.e), rel=1e-5)
    assert exploring_bound(100, 8, 0.0) == exploring_bound(100, 8, 0.5, coverage=math.inf) == math.inf


def test_the_anytime_schedule_needs_no_horizon() -> None:
    episodes = (64, 128, 256, 512)
    y = regret_of(Needle(boxes=64), BAIL(exploration=Anytime()), episodes, 64)
    found = exponent(episodes, y)
    assert 0.45 < found.interval[0] < found.interval[1] < 0.65


def test_the_theorys_chances_are_those_measured_elsewhere() -> None:
    sizes = (64, 128, 256, 512, 1024, 2048)
    found = [theory_epsilon(Needle(boxes=n), n) for n in sizes]
    np.testing.assert_allclose(found, (0.50, 0.37, 0.27, 0.20, 0.147, 0.108), atol=0.006)


@pytest.mark.parametrize("world", [Needle(boxes=8), Trap(), RandomHierarchy(redrawn=12, concentration=0.3)])
def test_who_burns_episodes_is_told(world: LatentWorld) -> None:
    """The chance is above 1/2 exactly below T = 4 H K log(c_Z |Z| sqrt T) / eta; a cap ends it."""
    eta = world.distinguishability()
    for episodes in (8, 32, 64, 128, 1024):
        size = math.log(world.coverage * len(world.prior) * math.sqrt(episodes))
        below = episodes < 4 * world.horizon * world.actors * size / eta
        assert (theory_epsilon(world, episodes) > 0.5) == below
        assert any("burns" in words for words in Theory(episodes).cautions(world)) == below
        assert not Theory(episodes, cap=0.2).cautions(world)
    with pytest.warns(Caution, match="burns"):
        gs.solve(world, BAIL(exploration=Theory(8)), iterations=8, seeds=2)


# --- few latents -----------------------------------------------------------------------------------------------------


def test_with_few_latents_naive_regret_saturates() -> None:
    y = regret_of(Needle(boxes=16), BAIL(), (256, 512, 768, 1024), 48)
    assert float((y[:, -1] - y[:, 0]).mean()) < 2
    world = RandomHierarchy(redrawn=12, concentration=0.3)
    for planner in (Bail(), PosteriorSampling()):
        y = regret_of(world, BAIL(planner=planner), (64, 128), 64)
        assert float((y[:, -1] - y[:, 0]).mean()) < 0.05
    exploring = regret_of(world, BAIL(exploration=Theory(128)), (64, 128), 64)
    assert float((exploring[:, -1] - exploring[:, 0]).mean()) > 5


def test_the_inverse_posterior_of_the_truth_is_a_martingale() -> None:
    """E[1 / P_t(z)] = 1 / P_Z(z) under z where reports have the same support in all worlds: the lemma's first step."""
    world = Trap(truth="bold", bold=0.7, timid=0.4)
    for solver in (BAIL(), BAIL(temperature=0.5), BAIL(exploration=Constant(0.5))):
        y = metrics(world, solver, 10, 4000)["posterior_on_truth"]
        assert apart(1 / y, 1 / 0.3) < 4


# --- the trap --------------------------------------------------------------------------------------------------------


def enumerated(episodes: int, temperature: float, top_p: float, chance: float) -> tuple[float, float]:
    """Mean and standard deviation of Reg in the bold world, by a list of all that may happen."""
    first = second = 0.0
    for outcome in itertools.product(("safe", "paid", "blank"), repeat=episodes):
        weight, odds = 1.0, 0.3 / 0.7
        for what in outcome:
            law = np.array([1, odds]) / (1 + odds)
            law = (law == law.max()) * 1.0 if temperature == 0 else law ** (1 / temperature)
            law /= law.sum()
            if law.max() >= top_p:
                law = (law == law.max()) * 1.0
            risky = chance + (1 - chance) * law[1]
            weight *= {"safe": 1 - risky, "paid": 0.9 * risky, "blank": 0.1 * risky}[what]
            odds *= {"safe": 1.0, "paid": 0.9 / 0.2, "blank": 0.1 / 0.8}[what]
        lost = 0.3 * outcome.count("safe")
        first, second = first + weight * lost, second + weight * lost**2
    return first, math.sqrt(max(0.0, second - first**2))


def test_the_recursion_on_the_trap_is_the_list_of_all_histories() -> None:
    found = expected_regret((3, 6))
    for name, how in DECODINGS.items():
        mean, deviation = enumerated(6, *how)
        assert float(found[name][0][-1]) == pytest.approx(mean, abs=1e-12)
        assert float(found[name][1][-1]) == pytest.approx(deviation, abs=1e-6)


def test_decoding_on_the_trap_loses_what_the_recursion_says() -> None:
    exact = expected_regret((64, 256, 512))
    world = Trap(truth="bold")
    sampled = {name: how for name, how in DECODINGS.items() if how[0] > 0}
    temperature, top_p, chance = (torch.tensor(x, dtype=torch.float64) for x in zip(*sampled.values(), strict=True))
    solver = BAIL(temperature=temperature, top_p=top_p, exploration=Constant(chance))
    y = metrics(world, solver, 64, 3000)["regret"]
    for i, name in enumerate(sampled):
        mean, deviation = (float(x[0]) for x in exact[name])
        assert abs(float(y[:, i].mean()) - mean) < 4 * deviation / math.sqrt(3000) + 1e-9
    naive = exact["temperature 1"][0]
    assert float(naive[-1]) < 6
    assert float(naive[-1] - naive[-2]) == pytest.approx(0.36, abs=0.01)  # at each doubling: log T
    for name, low, high in (("greedy", 1.0, 1.0), ("top-p .7", 1.0, 1.0), ("temperature .1", 0.9, 1.0)):
        assert low - 1e-9 <= math.log2(exact[name][0][-1] / exact[name][0][-2]) <= high + 1e-9


@pytest.mark.parametrize("planner", ["greedy", "nucleus", "deluded"])
def test_regret_on_the_trap_is_linear_for_who_never_tries(planner: str) -> None:
    solver = {
        "greedy": BAIL(temperature=0.0),
        "nucleus": BAIL(top_p=0.7),
        "deluded": BAIL(planner=Bail(delusion=1.0), exploration=Constant(0.1)),
    }[planner]
    episodes = (32, 64, 128, 256)
    y = regret_of(Trap(truth="bold"), solver, episodes, 64)
    found = exponent(episodes, y)
    assert 0.97 < found.interval[0] <= found.interval[1] < 1.03


# --- errors of pretraining, and how regret is counted -----------------------------------------------------------------


def test_the_slope_of_a_blurred_expert_is_what_its_value_lacks() -> None:
    world = RandomHierarchy(redrawn=12, concentration=0.3, instance=2)
    errors = (0.0, 0.1, 1.0)
    found = slopes_of(world, errors, truth=1)
    kernel, reward = world.transition[1].numpy(), world.reward.numpy()
    count = kernel.shape[1]
    for error, slope in zip(errors, found.tolist(), strict=True):
        lost = 0.0
        for paid in reward:
            best, blurred = np.zeros(len(kernel)), np.zeros(len(kernel))
            for _ in range(world.horizon):
                q, own = kernel @ (paid + best), kernel @ (paid + blurred)
                law = (1 - error) * np.eye(count)[q.argmax(-1)] + error / count
                best, blurred = q.max(-1), (law * own).sum(-1)
            lost += float((best - blurred).mean()) / len(reward)
        assert slope == pytest.approx(lost, abs=1e-12)


def test_errors_make_regret_grow_at_the_exact_slope() -> None:
    world = RandomHierarchy(redrawn=12, concentration=0.3, truth=0)
    errors = torch.tensor([0.03, 0.3], dtype=torch.float64)
    y = regret_of(world, BAIL(error=errors), (64, 256), 96)
    slope = (y[..., 1] - y[..., 0]) / 192
    for i, exact in enumerate(slopes_of(world, errors.tolist()).tolist()):
        assert apart(slope[:, i], exact) < 4


@pytest.mark.parametrize("solver", [BAIL(), BAIL(error=0.5), BAIL(planner=Bail(delusion=1.0))])
def test_regret_is_what_returns_lack(solver: BAIL) -> None:
    world = RandomHierarchy(redrawn=12, concentration=0.3, truth=3)
    found = metrics(world, solver, 20, 1000)
    lacks = 20 * (float(world.value[3]) - found["return"])
    assert apart(lacks - found["regret"], 0.0) < 4


# --- exponents -------------------------------------------------------------------------------------------------------


def test_exponents_of_runs_that_lose_nothing() -> None:
    x = [10.0, 20.0, 40.0]
    y = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0], [3.0, 6.0, 12.0]])
    found = exponent(x, y)
    assert found.value == pytest.approx(1)
    assert found.interval == pytest.approx((1, 1))
    assert exponent(x, y[1:2]).interval == (-math.inf, math.inf)
    with pytest.raises(InvalidInput, match="means above 0"):
        exponent(x, y[:1])
    with pytest.raises(InvalidInput, match="a column for each"):
        exponent(x[:2], y)
    with pytest.raises(InvalidInput, match="two different numbers"):
        exponent([1.0, 1.0, 2.0], y)


def test_the_interval_of_an_exponent_covers_it() -> None:
    """Means of 30 runs of T^0.5 times lognormal luck, 300 times over: 95% of the intervals, up to chance."""
    generator = torch.Generator().manual_seed(3)
    x = torch.tensor([16.0, 64.0, 256.0, 1024.0])
    luck = torch.randn(300, 30, 4, generator=generator, dtype=torch.float64)
    covered = [low < 0.5 < high for _, (low, high) in (exponent(x.tolist(), x.sqrt() * (0.5 * u).exp()) for u in luck)]
    assert 0.90 < sum(covered) / len(covered) <= 0.99
