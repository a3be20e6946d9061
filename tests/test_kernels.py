"""The compiled loops against the plain torch code they stand in for."""

import importlib
import linecache
import pickle  # noqa: TID251  a process pool does
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor
from torch.testing import assert_close

import gamesim as gs
import gamesim.kernels
from gamesim.envs import contagion
from gamesim.envs.graphon.beach import Beach
from gamesim.envs.graphon.cyber import Cyber
from gamesim.envs.graphon.heterogeneous_cyber import HeterogeneousCyber
from gamesim.envs.graphon.investment import Investment
from gamesim.envs.graphon.sis import SIS
from gamesim.envs.mean_field.beach_bar import BeachBar
from gamesim.envs.mean_field.crowd_modelling import CrowdModelling
from gamesim.envs.mean_field.susceptible_infected import SusceptibleInfected
from gamesim.games import GraphonGame
from gamesim.graphons import Empirical, Exponential, PowerLaw, StochasticBlock, UniformAttachment
from gamesim.kernels import graphon, rows, simplex
from gamesim.kernels.rows import Rows

GAMES = [SIS, Beach, Investment, Cyber, HeterogeneousCyber, BeachBar, CrowdModelling, SusceptibleInfected]


def network() -> Empirical:
    edges = np.triu(np.random.default_rng(0).random((23, 23)) < 0.3, 1).astype(float)
    edges[0] = 0.0  # node 0 knows nobody
    return Empirical(scipy.sparse.csr_array(edges + edges.T))


OPERATORS: dict[str, dict[str, Any]] = {
    "dense": {"graphon": UniformAttachment(), "operator": "dense"},
    "low-rank": {"graphon": Exponential(), "operator": "low-rank"},
    "prefix-sum": {"graphon": UniformAttachment(), "operator": "prefix-sum"},
    "step": {"graphon": StochasticBlock(), "operator": "step"},
    "sparse": {"graphon": network(), "operator": "sparse", "quadrature": "block", "positions": None, "normalize": True},
    "clip": {"graphon": PowerLaw(), "operator": "dense", "clip": True},
    "normalize": {"graphon": PowerLaw(), "operator": "low-rank", "normalize": True},
}


def make(kind: type[GraphonGame], operator: str = "prefix-sum", **fields: Any) -> GraphonGame:
    return kind(**{"horizon": 4, "positions": 37, **OPERATORS[operator], **fields})


def random_policy(game: GraphonGame, *batch: int, seed: int = 0) -> Tensor:
    """Some rows near the boundary and one on it."""
    (start,) = game.start()
    noise = torch.randn(*batch, *start.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pi = torch.softmax(8 * noise, -1)
    pi[..., 0, 0, 0, :] = torch.eye(pi.shape[-1], dtype=torch.float64)[0]
    return pi


def same(game: GraphonGame, ask: Any, policy: Tensor | None, *flows: Tensor, temperature: float = 0.0) -> None:
    """Both paths are taken and agree to 1e-12 of the largest number."""
    assert graphon.serves(game, policy, *flows, temperature=temperature)
    found = ask()
    with gamesim.kernels.fused(False):
        assert not graphon.serves(game, policy, *flows)
        wanted = ask()
    for a, b in zip(found, wanted, strict=True):
        assert_close(a, b, rtol=1e-12, atol=1e-12 * float(b.abs().max()))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("kind", GAMES)
def test_loops_agree_with_torch(kind: type[GraphonGame], operator: str) -> None:
    game = make(kind, operator)
    for batch in ((), (2, 1)) if operator in ("dense", "prefix-sum") else ((2, 1),):
        pi, other = random_policy(game, *batch), random_policy(game, seed=1)
        with gamesim.kernels.fused(False):
            elsewhere = game.flow((other,)).expand(*batch, -1, -1, -1)
        agree(game, pi, elsewhere)


def agree(game: GraphonGame, pi: Tensor, elsewhere: Tensor) -> None:
    same(game, lambda: [game.flow((pi,))], pi)
    same(game, lambda: [game.flow((pi,), frozen=elsewhere)], pi, elsewhere)
    same(game, lambda: [game.aggregate(elsewhere)], None, elsewhere)
    for lam in (0.0, 0.3):
        same(game, lambda: game.values((pi,), elsewhere, lam), pi, elsewhere, temperature=lam)  # noqa: B023
        same(game, lambda: game.optimal_values(elsewhere, lam), None, elsewhere, temperature=lam)  # noqa: B023
        same(game, lambda: game.feedback((pi,), lam), pi, temperature=lam)  # noqa: B023
        same(game, lambda: [game.gains((pi,), lam)], pi, temperature=lam)  # noqa: B023
        same(game, lambda: [game.gains((pi,), lam, elsewhere)], pi, elsewhere, temperature=lam)  # noqa: B023


@pytest.mark.parametrize("solver", ["fictitious-play", "fixed-point"])
@pytest.mark.parametrize("name", ["mean-field/beach-bar", "graphon/beach"])
def test_best_responses_of_symmetric_games_do_not_hang_on_rounding(name: str, solver: str) -> None:
    """Left and right of the bar are worth the same, and the loops sum in another order than torch."""
    game, found = gs.make(name), []
    for fused in (True, False):
        with gamesim.kernels.fused(fused):
            found.append(gs.solve(game, gs.make_solver(solver), iterations=60).exploitability)
    assert_close(*found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", GAMES)
def test_other_numbers_and_several_chunks(kind: type[GraphonGame]) -> None:
    game = make(kind, positions=2500, horizon=2)
    numbers = {name: getattr(game, name) for name in game.__dataclass_fields__}
    changed = {name: 0.7 * x for name, x in numbers.items() if isinstance(x, float)}
    game = replace(game, **changed)
    pi = random_policy(game)
    same(game, lambda: [game.flow((pi,)), *game.feedback((pi,), 0.5), game.gains((pi,), 0.5)], pi)


def test_policies_that_are_views() -> None:
    game = make(SIS)
    pi = random_policy(game, 3).movedim(0, 2).contiguous().movedim(2, 0)
    same(game, lambda: [game.flow((pi,)), *game.feedback((pi,))], pi)
    one = random_policy(game)[None].expand(3, -1, -1, -1, -1)
    same(game, lambda: [game.flow((one,)), *game.feedback((one,))], one)


@dataclass(frozen=True, kw_only=True)
class Positioned(GraphonGame):
    """mu_0 differs between positions; the rows are those of SIS."""

    @property
    def initial(self) -> Tensor:
        sick = self.grid.positions
        return torch.stack([1 - sick, sick], -1)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return torch.tensor([[0.0, -0.5], [-2.0, -2.5]], dtype=torch.float64)

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return SIS().expect(h, value, z)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return SIS().push(h, mass, policy, z)

    def rows(self) -> Rows:
        return SIS().rows()


class Plain(Positioned):
    def rows(self) -> None:
        return None


def test_initial_law_of_each_position() -> None:
    game = make(Positioned)
    pi = random_policy(game)
    same(game, lambda: [game.flow((pi,)), game.gains((pi,))], pi)


def test_when_the_loops_do_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    game = make(SIS)
    pi = random_policy(game)
    assert graphon.serves(game, pi)
    assert not graphon.serves(game, pi.clone().requires_grad_())
    assert not graphon.serves(game, pi.float())
    assert not graphon.serves(game, pi[1:])
    assert not graphon.serves(game, game.flow((pi,))[None])
    assert not graphon.serves(game, pi, temperature=torch.tensor(0.5))
    assert not graphon.serves(make(Plain), pi)
    assert not graphon.serves(make(SIS, infection=torch.tensor([0.5, 0.8], dtype=torch.float64)), pi)
    assert not graphon.serves(make(SIS, infection=torch.tensor(0.5, dtype=torch.float64).requires_grad_()), pi)
    assert not graphon.serves(make(SIS, graphon=(UniformAttachment(),) * 4), pi)
    assert not graphon.serves(make(SIS, dtype="float32"), pi)
    monkeypatch.setattr(gamesim.kernels, "_numba", False)
    assert not graphon.serves(game, pi)
    assert not simplex.serves(pi)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own, at the first dual tensor
def test_derivatives_go_through_torch() -> None:
    game = make(SIS)
    pi = random_policy(game)
    with torch.autograd.forward_ad.dual_level():
        assert not graphon.serves(game, torch.autograd.forward_ad.make_dual(pi, torch.ones_like(pi)))
    slope = torch.func.grad(lambda p: game.flow((p,)).square().sum())(pi)
    assert float(slope.abs().max()) > 0
    each = torch.func.vmap(lambda p: game.flow((p,)))(torch.stack([pi, pi]))
    assert_close(each[1], game.flow((pi,)))


def test_a_game_that_was_played_can_be_pickled() -> None:
    game = make(Beach)
    pi = random_policy(game)
    assert_close(pickle.loads(pickle.dumps((game, game.flow((pi,)))))[0].flow((pi,)), game.flow((pi,)))


def test_row_functions_are_python_too() -> None:
    out = np.full((2, 2, 3), np.nan)
    contagion.reward_row(0, np.zeros((2, 3)), out, np.array([0.8, 0.2, 0.0, -2.5, -10.0, -12.5]))
    assert out[1, 1].tolist() == [-12.5] * 3


@pytest.mark.parametrize("shape", [(3,), (5, 1), (7, 4, 2), (2000, 3), (40, 64)])
def test_softmax(shape: tuple[int, ...]) -> None:
    y = 30 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y.view(-1)[0] = -1e4
    assert simplex.serves(y)
    assert_close(simplex.softmax(y), torch.softmax(y, -1), rtol=1e-14, atol=1e-300)
    columns_first = y.movedim(-1, 0).contiguous().movedim(0, -1)
    assert_close(simplex.softmax(columns_first), torch.softmax(y, -1), rtol=1e-14, atol=1e-300)
    assert not simplex.serves(y.clone().requires_grad_())


def test_softmax_at_the_edges() -> None:
    inf, nan = float("inf"), float("nan")
    y = torch.tensor([[0.0, -inf], [nan, 1.0], [1.0, nan], [-inf, -inf], [inf, 0.0], [0.0, 800.0]], dtype=torch.float64)
    assert_close(simplex.softmax(y), torch.softmax(y, -1), equal_nan=True, rtol=0, atol=0)


def test_what_is_compiled_for_games_and_for_a_softmax() -> None:
    code = """
import importlib, os, sys, torch
import gamesim.envs.graphon.sis, gamesim.kernels.simplex
assert "numba" not in sys.modules and gamesim.kernels.allowed()
gamesim.kernels.simplex.softmax(torch.zeros(2, 2, dtype=torch.float64))
assert [name for name in sys.modules if name.endswith("loops")] == ["gamesim.kernels.simplex_loops"]
os.environ["GAMESIM_FUSED"] = "0"
assert not importlib.reload(gamesim.kernels).allowed()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba refuses to cache a function that no locator can place; it is then compiled for this process alone."""
    import numba.core.caching

    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(contagion.reward_row.function)
    assert rows.reward(contagion.reward_row.function).address


def test_a_borrowed_function_that_changed_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's cache asks only whether the file of the outermost function is as it was."""
    (tmp_path / "borrower.py").write_text("""
from lender import inner
from numba import float64, njit
from gamesim.kernels.rows import cached

@cached(njit, float64(float64))
def outer(x):
    return 10 * inner(x)
""")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for number, hits in ((1, 0), (1, 1), (2, 0)):
        (tmp_path / "lender.py").write_text(f"import numba\n\n@numba.njit\ndef inner(x):\n    return {number} * x\n")
        linecache.clearcache()
        importlib.invalidate_caches()
        outer = importlib.import_module("borrower").outer
        assert (outer(1.0), sum(outer.stats.cache_hits.values())) == (10 * number, hits)
        del sys.modules["borrower"], sys.modules["lender"]
