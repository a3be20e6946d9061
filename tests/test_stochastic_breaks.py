"""Stochastic games and simulators under abuse: refused in one line beforehand, or the same bits in parts."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gamesim import catalog
from gamesim.algorithms.independent_ppo import IndependentPPO
from gamesim.algorithms.independent_q_learning import IndependentQLearning
from gamesim.algorithms.policy_gradient import PolicyGradient
from gamesim.errors import InvalidInput
from gamesim.feedback import Reinforce
from gamesim.feedback.perceptrons import product
from gamesim.games import Sparse, StochasticGame, TabularGame, parts
from gamesim.games.simulator import Moment, Simulator
from gamesim.games.transitions import DenseLaw
from gamesim.loop import Status, solve
from gamesim.parameters import build

REWARD, LAW = [[[1.0, 0.0]]], [[[0.5], [0.5]]]


def game(name: str, **given: Any) -> Any:
    return build(catalog.find("games", f"stochastic/{name}"), given)


def policies(played: Any, *batch: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    sizes = [(*batch, played.state_count, a) for a in played.action_counts]
    return tuple(torch.softmax(2 * torch.randn(size, generator=draw, dtype=torch.float64), -1) for size in sizes)


def flat(tree: Any) -> list[torch.Tensor]:
    return [tree] if isinstance(tree, torch.Tensor) else [x for part in tree for x in flat(part)]


def everything(played: Any, policy: Any) -> list[torch.Tensor]:
    warm = torch.linspace(0.1, 1, policy[0].shape[:-2].numel(), dtype=torch.float64).reshape(
        *policy[0].shape[:-2], 1, 1
    )
    return flat(
        (
            played.gains(policy),
            played.gains(policy, warm),
            played.occupancy(policy),
            played.state_values(policy, 0.3),
            played.gradients(policy),
            played.best_responses(policy),
        )
    )


@pytest.mark.parametrize(
    ("name", "given", "batch"),
    [
        ("random", {"player_count": 3}, (7,)),
        ("random", {"games": 3}, (5, 3)),
        ("random", {"games": 3}, (3,)),
        ("zero-sum", {"state_count": 67, "branching": 3}, (3, 2)),
        ("zero-sum", {"state_count": 70}, (3,)),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_many_policies_are_measured_in_parts_with_the_same_bits(
    name: str, given: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = game(name, **given)
    policy = policies(played, *batch)
    monkeypatch.setattr(parts, "AT_ONCE", 10**12)
    whole = everything(played, policy)
    monkeypatch.setattr(parts, "AT_ONCE", 1)
    assert all(map(torch.equal, whole, everything(played, policy)))


def test_no_part_is_larger_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 seeds of soccer would be systems of 9 GB."""
    played, sizes = game("random", state_count=20), list[int]()
    monkeypatch.setattr(parts, "AT_ONCE", 10_000)
    solved = torch.linalg.solve
    monkeypatch.setattr(torch.linalg, "solve", lambda a, b: (sizes.append(a.numel()), solved(a, b))[1])
    assert played.exploitability(policies(played, 50)).shape == (50,)
    assert len(sizes) > 10
    assert max(sizes) <= 2 * 10_000


@pytest.mark.parametrize("states", [5, 9, 17, 57, 101])
@pytest.mark.parametrize("branching", [None, 3], ids=["dense", "sparse"])
def test_a_policy_is_measured_alone_as_in_a_batch(states: int, branching: int | None) -> None:
    """Odd numbers of states: rounding of LAPACK depends on where in memory a matrix begins."""
    played = game("random", state_count=states, branching=branching)
    policy = policies(played, 4)
    whole = everything(played, policy)[:1] + flat((played.occupancy(policy), played.values(policy)))
    for i in range(4):
        one = tuple(x[i].clone() for x in policy)
        alone = [played.gains(one), *flat((played.occupancy(one), played.values(one)))]
        assert all(torch.equal(x, y[i]) for x, y in zip(alone, whole, strict=True))


def test_large_tables_sum_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    for states, joints in ((1, 1), (5, 7), (40, 9), (17, 200)):
        law = DenseLaw(torch.rand(states, joints, states, generator=draw, dtype=torch.float64))
        values = torch.randn(3, states, generator=draw, dtype=torch.float64)
        joint = torch.rand(3, states, joints, generator=draw, dtype=torch.float64)
        found = list[torch.Tensor]()
        for few in (10**9, 0):
            monkeypatch.setattr("gamesim.games.transitions.FEW", few)
            found += [law.expect(values), law.chain(joint)]
        assert torch.equal(found[0], found[2])
        assert torch.equal(found[1], found[3])


def test_networks_alone_as_in_a_batch() -> None:
    draw = torch.Generator().manual_seed(0)
    for states, inner, outputs in ((5, 32, 3), (13, 10, 7), (57, 32, 5)):
        x = torch.randn(3, states, inner, generator=draw, dtype=torch.float64)
        weight = torch.randn(3, inner, outputs, generator=draw, dtype=torch.float64)
        whole = product(x, weight)
        assert torch.allclose(whole, x @ weight)
        assert all(torch.equal(product(x[i].clone(), weight[i].clone()), whole[i]) for i in range(3))


@pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")
@pytest.mark.parametrize(
    ("field", "played", "solver", "every"),
    [
        ("episodes", "two-state", PolicyGradient(feedback=Reinforce(episodes=10**9)), 1),
        ("episodes", "two-state", IndependentQLearning(episodes=10**9), 1),
        ("episodes", "two-state", IndependentPPO(episodes=10**9, epochs=1, minibatches=1), 1),
        ("epochs", "two-state", IndependentPPO(epochs=10**9), 1),
        ("hidden", "two-state", IndependentPPO(hidden=(10**5, 10**5)), 1),
        ("discount", "endless", PolicyGradient(feedback=Reinforce()), 1),
        ("discount", "endless", PolicyGradient(feedback=Reinforce()), 2),
        ("discount", "endless", IndependentQLearning(), 1),
    ],
    ids=lambda x: type(x).__name__ if hasattr(x, "step") else str(x),
)
def test_what_no_memory_holds_and_nobody_waits_for_is_refused(field: str, played: str, solver: Any, every: int) -> None:
    one = game("two-state", stop=2e-9) if played == "endless" else game(played)
    fields = ("episodes", "epochs") if field == "episodes" else (field,)
    with pytest.raises(InvalidInput) as error:
        solve(one, solver, iterations=2, every=every)
    assert str(error.value).startswith(fields)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")
def test_loops_are_prepared_with_one_episode_of_a_game_that_ends() -> None:
    PolicyGradient(feedback=Reinforce(episodes=10**9)).prepare(game("two-state"))
    with pytest.raises(InvalidInput, match=r"^stopping"):
        PolicyGradient(feedback=Reinforce()).prepare(game("two-state", stop=1e-9))


def test_episodes_that_turn_out_too_many_are_refused_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.games.episodic.ROOM", 40_000)
    with pytest.raises(InvalidInput, match=r"^episodes: .* steps or more"):
        solve(game("two-state", stop=0.1), IndependentQLearning(episodes=500), iterations=1)


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("initial", lambda: StochasticGame(REWARD, LAW, initial=1)),
        ("players", lambda: StochasticGame(REWARD, LAW, players=1)),
        ("players", lambda: StochasticGame(REWARD, LAW, players="a")),
        ("players[0]", lambda: StochasticGame(REWARD, LAW, players=[1])),
        ("actions", lambda: StochasticGame(REWARD, LAW, actions=1)),
        ("actions", lambda: StochasticGame(REWARD, LAW, actions=None)),
        ("states", lambda: StochasticGame(REWARD, LAW, states=1.0)),
        ("player_count", lambda: StochasticGame(REWARD, LAW, player_count="a")),
        ("player_count", lambda: StochasticGame(REWARD, LAW, player_count=[1])),
        ("reward", lambda: StochasticGame(torch.ones(1, 1, 2).half(), LAW)),
        ("reward", lambda: StochasticGame([[[1.7e308, 0.0]]], LAW)),
        ("transition", lambda: StochasticGame(REWARD, 1)),
        ("transition.successors", lambda: StochasticGame(REWARD, Sparse(None, None))),
        ("transition.successors", lambda: StochasticGame(REWARD, Sparse([[[0], [0, 1]]], LAW))),
        ("transition.probabilities", lambda: StochasticGame(REWARD, Sparse([[[0], [0]]], [[[0], [0]]]))),
        (
            "transition.successors",
            lambda: StochasticGame(REWARD, Sparse(np.zeros((2, 1, 2, 1), int), np.full((3, 1, 2, 1), 0.5))),
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_game_that_is_none_is_refused(field: str, make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInput) as error:
        make()
    assert str(error.value).startswith(field.split("[")[0])
    assert "\n" not in str(error.value)


def test_sparse_takes_arrays_and_lists() -> None:
    for to, p in (([[[0], [0]]], LAW), (np.zeros((1, 2, 1), int), np.full((1, 2, 1), 0.5))):
        played = StochasticGame(REWARD, Sparse(to, p))
        assert played.exploitability(played.start()) == 1.0


class Written(TabularGame):
    """As a user writes one."""

    reward = torch.tensor(REWARD, dtype=torch.float64)
    transition = torch.tensor(LAW, dtype=torch.float64)
    initial = torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reward", REWARD),
        ("reward", None),
        ("reward", torch.ones(1, 1, 2).half()),
        ("reward", torch.ones(1, 1, 2).long()),
        ("transition", None),
        ("transition", LAW),
        ("transition", np.array(LAW)),
        ("initial", None),
        ("initial", [1.0]),
        ("initial", torch.tensor(1.0)),
        ("discount", "a"),
        ("discount", torch.tensor([0.5, 0.6])),
        ("discount", float("nan")),
    ],
    ids=lambda x: str(x)[:20],
)
def test_a_users_game_that_is_none_is_refused(field: str, value: Any) -> None:
    for solver in (PolicyGradient(), IndependentQLearning()):
        with pytest.raises(InvalidInput, match=rf"^{field}: "):
            solve(type("Bad", (Written,), {field: value})(), solver, iterations=1)


class Counting(Simulator):
    """Three steps, and a point for everyone who takes the first action."""

    action_counts = (2, 2)
    observation_counts = (3, 3)
    answer: Any = None

    def reset(self, seeds: Any) -> Any:
        self.k = 0
        return np.zeros((len(seeds), 2), int)

    def step(self, actions: Any) -> Any:
        self.k += 1
        n = len(actions)
        good = {
            "observations": np.full((n, 2), min(self.k, 2)),
            "rewards": (actions == 0).numpy(),
            "terminated": [self.k >= 3] * n,
            "truncated": np.zeros(n, bool),
        }
        if self.answer is not None and not isinstance(self.answer, dict):
            return self.answer
        return Moment(**(good | {name: make(n) for name, make in (self.answer or {}).items()}))


def test_a_simulator_may_answer_arrays_and_lists() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = solve(Counting(), PolicyGradient(feedback=Reinforce()), iterations=2)
    assert result.status is Status.OUT_OF_ITERATIONS
    assert 0 < result.metric("return")[0, 0] < 3


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("rewards", {"answer": {"rewards": lambda n: torch.zeros(n)}}),
        ("rewards", {"answer": {"rewards": lambda n: torch.zeros(n, 3)}}),
        ("rewards", {"answer": {"rewards": lambda n: "x"}}),
        ("observations", {"answer": {"observations": lambda n: "x"}}),
        ("observations", {"reset": lambda self, seeds: None}),
        ("terminated", {"answer": {"terminated": lambda n: torch.ones(n)}}),
        ("terminated", {"answer": {"terminated": lambda n: True}}),
        ("truncated", {"answer": {"truncated": lambda n: torch.ones(n, 2, dtype=torch.bool)}}),
        ("step", {"answer": (1, 2)}),
        ("longest", {"longest": 0}),
        ("longest", {"longest": "x"}),
        ("width", {"width": -1}),
        ("action_counts", {"action_counts": ()}),
        ("action_counts", {"action_counts": (0, 2)}),
        ("action_counts", {"action_counts": 5}),
        ("observation_counts", {"action_counts": (2, 2, 2)}),
        ("observation_counts", {"observation_counts": (0, 3)}),
    ],
    ids=lambda x: x if isinstance(x, str) else "-".join(x),
)
def test_a_simulator_that_breaks_its_contract_is_refused(field: str, given: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^{field}: "):
        solve(type("Bad", (Counting,), given)(), IndependentQLearning(), iterations=1)
