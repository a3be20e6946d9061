"""The oracles of suboptimality-in-n against simpler ways to the same numbers; its measures of growth."""

import math

import pytest
import torch

from gamesim.envs.sets.tabular import Tabular
from gamesim.experiments.offline_oracles import EVEN, Counts, Judged, LinearDynamics, quadratics, substituted
from gamesim.experiments.suboptimality_in_n import FLAT, Series, growth, joined, pieces
from gamesim.offline.exact.counted import Crowd
from gamesim.offline.exact.pairs import worth
from gamesim.offline.exact.tables import state_values


def test_returns_of_the_oracle_are_those_of_tables_over_multisets() -> None:
    counts = Counts(6, range(3), "own")
    crowd, truth = Crowd(6, 2, 2), counts.truth()
    begun = int(crowd.states.number(6 * EVEN))
    for seed in range(3):
        kernel = counts.problem.kernel[seed, 0]
        law = crowd.law(kernel[None], "own")
        reward = worth(counts.problem.reward[seed, 0], crowd.plays.double() / 6)
        values = state_values(crowd.acting(counts.policies[:, None]), reward, law, 0.8)
        torch.testing.assert_close(truth[seed], values[:, begun])
    torch.testing.assert_close(Counts(6, range(1, 2), "own").truth()[0], truth[1])  # seeds alone or together
    torch.testing.assert_close(Tabular(agents=6, seed=2, luck="own").local.kernel, counts.problem.kernel[2, 0])


def test_the_quadratic_class_of_linear_dynamics_holds_the_values() -> None:
    """With so many data that eps is nothing, least values are the returns in closed form."""
    task = LinearDynamics(4, range(2))
    assert float(task.model_free(50_000).bound.max()) < 0.35
    bounds = [float(task.model_free(n).bound.mean()) for n in (500, 8000)]
    assert bounds[1] == pytest.approx(bounds[0] / 4, rel=0.2)  # like a root of n
    s, ratio = torch.sin(torch.arange(12.0)).double().reshape(3, 4), torch.tensor([-0.3, -0.1]).double()
    a = ratio[0] * s + ratio[1] * s.mean(-1, keepdim=True)
    base = torch.stack([(s * s).mean(-1), s.mean(-1) ** 2, torch.ones(3).double()], -1)
    torch.testing.assert_close(quadratics(s, a), base @ substituted(*ratio[:, None])[0].mT)


def test_bounds_fall_with_data_and_hold() -> None:
    counts = Counts(8, range(20))
    for method in (counts.model_free, counts.model_based):
        few, many = method(200), method(3200)
        assert float(many.bound.mean()) < 0.5 * float(few.bound.mean())
        assert bool(many.holds.all())
        assert bool((many.gap <= many.bound + 1e-9).all())
        assert float(many.gap.mean()) <= float(few.gap.mean()) + 1e-12
    tables = Counts(4, range(3), behaviour="spread").tables(20_000)
    assert bool(tables.holds.all())
    task = Tabular(agents=4, samples=20_000)  # the class of tables, one at a time
    assert task.data.counts.shape[0] == 5


def test_judging_takes_the_gap_of_the_most_promising_policy() -> None:
    truth = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    found = Judged.of(truth, torch.tensor([[0.5, 1.5, 1.0], [2.0, 2.5, 0.0]]))
    assert found.gap.tolist() == [1.0, 1.0]
    assert found.bound.tolist() == [2.0, 1.0]
    assert found.holds.tolist() == [True, False]


def test_growth_is_recovered_with_an_interval_that_covers() -> None:
    agents = (4, 8, 16, 32)
    generator, hits = torch.Generator().manual_seed(0), 0
    u = torch.tensor(agents).double().log()
    for _ in range(200):
        scale = 1 + 0.3 * torch.randn(40, 1, generator=generator, dtype=torch.float64)
        y = scale * (1 + 0.1 * (u - u.mean())) + 0.2 * torch.randn(40, 4, generator=generator, dtype=torch.float64)
        _, (low, high) = growth(agents, y)
        hits += low <= 0.1 * math.log(8) <= high
    assert 180 <= hits <= 199
    flat, interval = growth(agents, torch.ones(5, 4).double())
    assert abs(flat) < 1e-12
    assert interval[1] < FLAT


def test_claims_of_a_series_fail_where_numbers_grow() -> None:
    def series(method: str, power: float) -> Series:
        found = [
            Judged(y := (1 + 0.01 * torch.arange(30.0).double()) * n**power, 2 * y, y > 0) for n in (4, 8, 16, 32, 64)
        ]
        return Series("counts, shared luck", method, (4, 8, 16, 32, 64), 100, found)

    assert [c.verdict for c in series("model-free", 0.0).claims()][:2] == ["holds", "holds"]
    assert [c.verdict for c in series("model-free", 0.5).claims()][:2] == ["fails", "fails"]
    assert [c.verdict for c in series("model-based", 0.5).claims()][:2] == ["fails", "fails"]
    assert series("model-based", 0.0).claims()[0].id == "counts-shared-luck-model-based-gap"
    assert pieces(5, 2**23) == [range(0, 2), range(2, 4), range(4, 5)]
    parts = [Counts(4, p).model_free(100) for p in (range(0, 2), range(2, 3))]
    torch.testing.assert_close(joined(parts).bound, Counts(4, range(3)).model_free(100).bound)
